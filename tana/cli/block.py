"""`tana block`: show blocks, and check that they are final without believing the node that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tana.cli.blockcheck import ChainWalk, check_block, parse_block
from tana.cli.options import (
    DEFAULT_LEDGER_URL,
    DEFAULT_MESH_URL,
    AsJson,
    LedgerUrl,
    MeshUrl,
    SovereignPublicKey,
    make_group,
    show_example,
)
from tana.cli.output import format_time, print_fields, print_json, print_table
from tana.cli.sovereign import find_sovereign
from tana.cli.trust import load_genesis, verify_genesis
from tana.client.validator import ValidatorClient
from tana.types.errors import NotFound, TanaError, Unavailable
from tana.types.genesis import Genesis

PAGE = 100

app = make_group("Show blocks, and check them.", "tana block verify --all")

Height = Annotated[str, typer.Argument(metavar="[HEIGHT]", help='A height, or "latest".')]


@app.command(epilog=show_example("tana block show latest", "tana block show 12 --json"))
def show(height: Height = "latest", ledger_url: LedgerUrl = DEFAULT_LEDGER_URL, as_json: AsJson = False) -> None:
    """Show a block with its transactions and certificate. Checks nothing: see `tana block verify`."""
    check_height(height)
    with ValidatorClient(ledger_url) as client:
        block = get_block(client, height)
    if as_json:
        print_json(block)
        return
    print_fields(
        {
            "height": block["height"],
            "hash": block["hash"],
            "parent": block["previousHash"],
            "time": format_time(block["timestamp"]),
            "producer": block["producer"],
            "state root": block["stateRoot"],
            "precommits": len(block["certificate"]["signatures"]),
            "transactions": block["txCount"],
        }
    )
    rows = [(row["id"], row["type"], row.get("amount"), row.get("currencyCode")) for row in block["transactions"]]
    if rows:
        print()
        print_table(("ID", "TYPE", "AMOUNT", "CURRENCY"), rows)


@app.command(
    epilog=show_example("tana block verify", "tana block verify 12", "tana block verify --all --sovereign ed25519_…")
)
def verify(
    height: Height = "latest",
    *,
    whole_chain: Annotated[
        bool, typer.Option("--all", help="Every block from the genesis on, executing the transactions.")
    ] = False,
    genesis_file: Annotated[
        Path | None, typer.Option("--genesis", help="The signed genesis; default the one that the mesh publishes.")
    ] = None,
    sovereign: SovereignPublicKey = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Check hash, transactions, and certificate against the validators of the genesis. Exit code 1 if it is wrong."""
    check_height(height)
    trusted = find_sovereign(sovereign)
    signed = load_genesis(genesis_file, mesh_url)
    try:
        verify_genesis(signed, trusted)
        with ValidatorClient(ledger_url) as client:
            facts = walk(client, signed.genesis) if whole_chain else check_one(client, signed.genesis, height)
    except TanaError as error:
        if as_json:
            print_json({"valid": False, **error.to_json()})
        raise
    facts = {"valid": True, "trusted": trusted is not None, "chainId": signed.chain_id.hex(), **facts}
    if as_json:
        print_json(facts)
        return
    print(describe(facts))
    if trusted is None:
        print(f"note: nothing says that {signed.genesis.sovereign} is your sovereign; give its key with --sovereign")


def get_block(client: ValidatorClient, height: str) -> Any:
    """A block as the node shows it. Raises `NotFound`."""
    try:
        return client.get_block(height)
    except NotFound as error:
        remedy = error.remedy or "wait for it (`tana status` tells the height), or ask for a lower one"
        raise NotFound(error.message, remedy=remedy, code=error.code) from None


def check_one(client: ValidatorClient, genesis: Genesis, height: str) -> dict[str, Any]:
    """Check one block by itself. Raises `InvalidInput`."""
    block, certificate = parse_block(get_block(client, height))
    validators = genesis.to_validator_set()
    check_block(block, certificate, genesis.compute_chain_id(), validators)
    power = sum(validators.get_power(item.validator) for item in certificate.signatures)
    return {
        "height": block.height,
        "hash": block.hash.hex(),
        "power": power,
        "totalPower": validators.total_power,
        "transactions": len(block.transactions),
    }


def walk(client: ValidatorClient, genesis: Genesis) -> dict[str, Any]:
    """Check every block from 1 to the height that the chain has now. Raises `InvalidInput`."""
    chain = ChainWalk(genesis)
    # A chain that grows faster than it is checked must not keep us for ever.
    last_height = int(client.get_health()["currentHeight"])
    while chain.ledger.height < last_height:
        page = client.list_blocks(chain.ledger.height + 1, PAGE)
        if not page:
            raise Unavailable(f"the node ends its listing at {chain.ledger.height}", remedy="ask another node")
        for body in page:
            chain.advance(body)
    return {
        "blocks": chain.ledger.height,
        "height": chain.ledger.height,
        "hash": chain.ledger.block_hash.hex(),
        "stateRoot": chain.ledger.state_root.hex(),
        "transactions": chain.transaction_count,
    }


def check_height(text: str) -> None:
    """Raises `BadParameter` for what is neither a height nor `latest`."""
    if text != "latest" and not (text.isascii() and text.isdigit() and int(text[:19]) > 0):
        raise typer.BadParameter(f'{text!r} is neither a height from 1 nor "latest"', param_hint="HEIGHT")


def describe(facts: dict[str, Any]) -> str:
    """The facts of a good check in one line."""
    if "blocks" in facts:
        return (
            f"the chain is valid up to block {facts['height']} ({facts['hash']}): "
            f"{facts['transactions']} transactions executed, state root {facts['stateRoot']}"
        )
    return (
        f"block {facts['height']} is valid ({facts['hash']}): {facts['transactions']} transactions, "
        f"precommits with power {facts['power']} of {facts['totalPower']}"
    )
