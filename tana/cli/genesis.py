"""`tana genesis`: make, show and check the genesis of a chain."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from tana.cli.accounts import read_signing_key
from tana.cli.locating import APPROVED
from tana.cli.options import (
    DEFAULT_MESH_URL,
    AsJson,
    MeshUrl,
    SovereignKeyFile,
    SovereignPublicKey,
    make_group,
    show_example,
)
from tana.cli.output import format_time, print_fields, print_json, print_table
from tana.cli.sovereign import find_sovereign
from tana.cli.trust import load_genesis, read_json, verify_genesis
from tana.client import keyfiles
from tana.client.keyfiles import write_private_file
from tana.client.mesh import MeshClient, MeshNode
from tana.client.registration import build_signed_genesis
from tana.types.errors import Conflict, NotFound, TanaError
from tana.types.genesis import Genesis, SignedGenesis, parse_genesis

DEFAULT_POWER = 10
"""More than 1, so that a chain of one or two can grow: a block changes at most a third of the power."""
DEFAULT_CURRENCIES = ("USD:2", "EUR:2", "BTC:8")

app = make_group(
    "Make, show and check the genesis: who validates, which currencies, which rules.", "tana genesis create"
)

GenesisFile = Annotated[
    Path | None, typer.Option("--file", help="Read a signed genesis from a file instead of asking the mesh.")
]


@app.command(
    epilog=show_example(
        "tana genesis create",
        "tana genesis create --currency USD:2 --power validator-1=3",
        "tana genesis create --dry-run > genesis.json   (edit it, then: tana genesis create --from genesis.json)",
    )
)
def create(
    *,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    sovereign_key: SovereignKeyFile = None,
    currency: Annotated[
        list[str] | None, typer.Option(metavar="CODE:DECIMALS", help="A currency; default USD:2, EUR:2 and BTC:8.")
    ] = None,
    node: Annotated[list[str] | None, typer.Option(help="Only these of the approved nodes.")] = None,
    power: Annotated[list[str] | None, typer.Option(metavar="NODE=POWER", help="Voting power; default 10.")] = None,
    require_chain_id: Annotated[bool, typer.Option(help="Refuse transactions that do not name the chain.")] = False,
    draft: Annotated[Path | None, typer.Option("--from", help="Sign this edited draft instead.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the signed genesis to a file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the draft; sign and publish nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the approved nodes as validators, sign, and publish at the mesh. A mesh takes one genesis, ever."""
    path = keyfiles.get_sovereign_key_path() if sovereign_key is None else Path(sovereign_key)
    sovereign = read_signing_key(str(path))
    with MeshClient(mesh_url) as mesh:
        if draft is not None:
            genesis = parse_genesis(_get_draft(read_json(draft)))
        else:
            nodes = choose_nodes(list_approved(mesh), node or [])
            genesis = build_genesis(
                nodes,
                sovereign.public_text,
                currency or DEFAULT_CURRENCIES,
                parse_powers(power or [], nodes),
                require_chain_id,
            )
        if genesis.sovereign != sovereign.public_text:
            raise Conflict(
                f"the draft names the sovereign {genesis.sovereign}, and the key is {sovereign.public_text}",
                remedy="give the right key with --sovereign-key, or mend the draft",
            )
        if dry_run:
            print_json(msgspec.to_builtins(genesis))
            return
        signed = build_signed_genesis(sovereign, genesis)
        mesh.put_genesis(signed)
    if out is not None:
        write_private_file(out, msgspec.json.format(msgspec.json.encode(signed.to_json())), force=True)
    if as_json:
        print_json(signed.to_json())
    else:
        print(f"genesis published with {len(genesis.validators)} validators; chain id {signed.chain_id.hex()}")
        print("next: the validators begin by themselves; watch with tana block show latest")


@app.command(epilog=show_example("tana genesis show", "tana genesis show --json"))
def show(file: GenesisFile = None, mesh_url: MeshUrl = DEFAULT_MESH_URL, as_json: AsJson = False) -> None:
    """Show the genesis that the mesh publishes, or that of a file. Checks nothing: see `tana genesis verify`."""
    signed = load_genesis(file, mesh_url)
    if as_json:
        print_json(signed.to_json())
        return
    genesis = signed.genesis
    print_fields(
        {
            "chain id": signed.chain_id.hex(),
            "created": format_time(genesis.createdAt),
            "sovereign": genesis.sovereign,
            "currencies": ", ".join(f"{item.code} ({item.decimals} decimals)" for item in genesis.currencies),
            "accounts": len(genesis.accounts),
        }
    )
    print()
    print_table(
        ("VALIDATOR", "POWER", "PUBLIC KEY"), ((item.nodeId, item.power, item.publicKey) for item in genesis.validators)
    )


@app.command(
    epilog=show_example("tana genesis verify --sovereign ed25519_…", "tana genesis verify --file genesis.json")
)
def verify(
    file: GenesisFile = None,
    sovereign: SovereignPublicKey = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    as_json: AsJson = False,
) -> None:
    """Check the genesis: its form, its signature, and that the sovereign you trust made it. Exit code 1 if not."""
    trusted = find_sovereign(sovereign)
    signed = load_genesis(file, mesh_url)
    try:
        verify_genesis(signed, trusted)
    except TanaError as error:
        if as_json:
            print_json({"valid": False, **error.to_json()})
        raise
    if as_json:
        print_json({"valid": True, "trusted": trusted is not None, **_summarize(signed)})
        return
    print(f"the genesis is valid; chain id {signed.chain_id.hex()}")
    if trusted is None:
        print(f"note: nothing says that {signed.genesis.sovereign} is your sovereign; give its key with --sovereign")


def list_approved(mesh: MeshClient) -> list[MeshNode]:
    """The nodes that a sovereign approved, by id."""
    found = {node.id: node for status in APPROVED for node in mesh.list_nodes(status)}
    return sorted(found.values(), key=lambda node: node.id)


def choose_nodes(approved: list[MeshNode], wanted: list[str]) -> list[MeshNode]:
    """The approved nodes, or those of them that are wanted. Raises `NotFound` for none and for an unapproved one."""
    known = {node.id for node in approved}
    for node_id in wanted:
        if node_id not in known:
            raise NotFound(f"{node_id} is no approved node", remedy=f"approve it first: tana mesh approve {node_id}")
    chosen = [node for node in approved if not wanted or node.id in wanted]
    if not chosen:
        raise NotFound(
            "no node is approved, and a chain needs a validator",
            remedy="see who waits with `tana mesh list --all`, then `tana mesh approve NODE`",
        )
    return chosen


def build_genesis(
    nodes: Iterable[MeshNode],
    sovereign: str,
    currencies: Iterable[str] = DEFAULT_CURRENCIES,
    powers: dict[str, int] | None = None,
    require_chain_id: bool = False,
) -> Genesis:
    """A genesis of now. `currencies` are CODE:DECIMALS. Raises `BadParameter` or `InvalidInput`."""
    return parse_genesis(
        {
            "version": 1,
            "createdAt": int(time.time() * 1000),
            "sovereign": sovereign,
            "currencies": [_parse_currency(text) for text in currencies],
            "validators": [
                {
                    "nodeId": node.id,
                    "publicKey": node.public_key.lower(),
                    "power": (powers or {}).get(node.id, DEFAULT_POWER),
                }
                for node in nodes
            ],
            "accounts": [],
            "parameters": {"requireChainId": require_chain_id},
        }
    )


def parse_powers(texts: list[str], nodes: list[MeshNode]) -> dict[str, int]:
    """NODE=POWER texts as a dictionary. Raises `BadParameter`."""
    powers = {}
    for text in texts:
        node_id, _, power = text.partition("=")
        if node_id not in {node.id for node in nodes} or not power.isdecimal() or int(power) < 1:
            raise typer.BadParameter(f"{text!r} is not NODE=POWER with an approved node and a power of at least 1")
        powers[node_id] = int(power)
    return powers


def _parse_currency(text: str) -> dict[str, Any]:
    code, _, decimals = text.partition(":")
    if not decimals.isdecimal():
        raise typer.BadParameter(f"{text!r} is not CODE:DECIMALS, such as USD:2", param_hint="--currency")
    return {"code": code, "decimals": int(decimals)}


def _get_draft(body: Any) -> Any:
    # The file may be a draft, or a whole {genesis, signature} of an earlier --out.
    return body["genesis"] if isinstance(body, dict) and "genesis" in body else body


def _summarize(signed: SignedGenesis) -> dict[str, Any]:
    return {
        "chainId": signed.chain_id.hex(),
        "sovereign": signed.genesis.sovereign,
        "validators": len(signed.genesis.validators),
    }
