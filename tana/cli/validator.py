"""`tana validator`: run one, bring one back that lost its sign-state, and change who votes with what power."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tana.cli.options import (
    DEFAULT_CHANGE_TIMEOUT_MS,
    DEFAULT_MESH_URL,
    AsJson,
    ChangeTimeoutMs,
    FoundLedgerUrl,
    MeshUrl,
    SovereignKeyFile,
    make_group,
    show_example,
)
from tana.cli.sovereign import find_sovereign
from tana.types.errors import NotFound

if TYPE_CHECKING:
    from tana.client.validator import ValidatorClient
    from tana.crypto.keys import KeyPair
    from tana.node.settings import ValidatorSettings

app = make_group(
    "Run a validator, and bring it back where it lost its sign-state.", "tana validator run --node-id validator-1"
)

# Settings are read in tana.node.settings: a flag first, then the environment variable in brackets, then the default.

NodeIdSetting = Annotated[str | None, typer.Option(help="The node's id. [TANA_NODE_ID]")]
TrustedSovereign = Annotated[
    str | None,
    typer.Option(
        metavar="PUBLIC_KEY",
        help="The sovereign to trust: public key, key name or file; default its key file. [TANA_SOVEREIGN]",
    ),
]
MeshUrlSetting = Annotated[str | None, typer.Option(help="Where the mesh answers. [MESH_URL]")]
DataFolderSetting = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Default ~/.local/share/tana/NODE. [TANA_DATA_DIR]")
]
ConfigFolderSetting = Annotated[Path | None, typer.Option(help="The folder of key files. [TANA_CONFIG_DIR]")]


@app.command(
    epilog=show_example(
        "tana validator run --node-id validator-1",
        "tana validator run --node-id validator-2 --port-offset 1000 --mesh-url http://mesh:8190 --sovereign ed25519_…",
    )
)
def run(
    *,
    node_id: NodeIdSetting = None,
    sovereign: TrustedSovereign = None,
    mesh_url: MeshUrlSetting = None,
    data: DataFolderSetting = None,
    config_dir: ConfigFolderSetting = None,
    content_dir: Annotated[Path | None, typer.Option(help="The folder of t4's content. [CONTENT_DIR]")] = None,
    listen_host: Annotated[str | None, typer.Option(help="The address to listen on. [TANA_LISTEN_HOST]")] = None,
    peer_host: Annotated[
        str | None, typer.Option(help="Where peers and t4 listen; default the same. [TANA_PEER_HOST]")
    ] = None,
    tailscale_socket: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Tailscale's socket: names and addresses are its own. [TANA_TAILSCALE_SOCKET]"
        ),
    ] = None,
    hostname: Annotated[str | None, typer.Option(help="The name others reach it by. [TANA_HOSTNAME]")] = None,
    ip: Annotated[str | None, typer.Option(help="The address others reach it at. [TANA_IP]")] = None,
    port_offset: Annotated[int | None, typer.Option(help="Added to each port. [TANA_PORT_OFFSET]")] = None,
    ledger_port: Annotated[int | None, typer.Option(help="Default 8080. [LEDGER_PORT]")] = None,
    t4_port: Annotated[int | None, typer.Option(help="Default 8180. [T4_PORT]")] = None,
    peer_port: Annotated[int | None, typer.Option(help="Default 9000. [TANA_PEER_PORT]")] = None,
    status_port: Annotated[int | None, typer.Option(help="Default 9001. [TANA_STATUS_PORT]")] = None,
    public_peer_port: Annotated[
        int | None, typer.Option(help="The peer port as others see it. [TANA_PUBLIC_PEER_PORT]")
    ] = None,
    heartbeat_interval_ms: Annotated[
        int | None, typer.Option(help="Default 120000. [TANA_HEARTBEAT_INTERVAL_MS]")
    ] = None,
    empty_block_interval_ms: Annotated[
        int | None, typer.Option(help="Default 1000; 0: no empty blocks. [TANA_EMPTY_BLOCK_INTERVAL_MS]")
    ] = None,
    min_block_interval_ms: Annotated[
        int | None, typer.Option(help="Default 15: how long a block gathers transactions. [TANA_MIN_BLOCK_INTERVAL_MS]")
    ] = None,
    propose_timeout_ms: Annotated[int | None, typer.Option(help="Default 1000. [TANA_PROPOSE_TIMEOUT_MS]")] = None,
    prevote_timeout_ms: Annotated[int | None, typer.Option(help="Default 500. [TANA_PREVOTE_TIMEOUT_MS]")] = None,
    precommit_timeout_ms: Annotated[int | None, typer.Option(help="Default 500. [TANA_PRECOMMIT_TIMEOUT_MS]")] = None,
    timeout_delta_ms: Annotated[
        int | None, typer.Option(help="Default 250: what each round adds. [TANA_TIMEOUT_DELTA_MS]")
    ] = None,
    announce_interval_ms: Annotated[int | None, typer.Option(help="Default 100. [TANA_ANNOUNCE_INTERVAL_MS]")] = None,
    log_format: Annotated[str | None, typer.Option(help="auto, json or text. [TANA_LOG_FORMAT]")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error. [TANA_LOG_LEVEL]")] = None,
) -> None:
    """Run a validator until Ctrl-C or SIGTERM. It registers where needed, waits to be approved, then validates."""
    flags = dict(locals())
    flags["data_dir"] = flags.pop("data")
    settings = _load_settings(flags)
    # Only now: a wrong flag is told without paying for the node's imports.
    from tana.node.main import run_validator_process

    run_validator_process(settings)


@app.command(
    epilog=show_example(
        "tana validator recover --node-id validator-1   (says what the others have seen, and changes nothing)",
        "tana validator recover --node-id validator-1 --height 1200 --round 3",
        "tana validator recover --node-id validator-1 --height 1200 --round 3 --ask http://10.0.0.2:8080 --json",
    )
)
def recover(
    *,
    node_id: NodeIdSetting = None,
    height: Annotated[int | None, typer.Option(min=1, help="Sign nothing up to this height and --round.")] = None,
    round: Annotated[int | None, typer.Option(min=0, help="The highest round of it that anyone has seen.")] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Also ask the validator whose ledger answers there; may be repeated."),
    ] = None,
    accept_silence: Annotated[
        bool,
        typer.Option(
            "--accept-silence",
            help="Go on without the answers of some validators: you know that none of them has seen more.",
        ),
    ] = False,
    sovereign: TrustedSovereign = None,
    mesh_url: MeshUrlSetting = None,
    data: DataFolderSetting = None,
    config_dir: ConfigFolderSetting = None,
    as_json: AsJson = False,
) -> None:
    """Make a new sign-state for a stopped validator that lost its own, above everything that it may have signed.

    Every other validator is asked for the highest height and round that it has seen. A lower one is refused: the node
    could sign twice.
    """
    if (height is None) != (round is None):
        raise typer.BadParameter("give both --height and --round, or neither")
    flags = {
        "node_id": node_id,
        "sovereign": sovereign,
        "mesh_url": mesh_url,
        "data_dir": data,
        "config_dir": config_dir,
    }
    settings = _load_settings(flags)
    from tana.cli.recovery import recover as recover_sign_state

    slot = None if height is None or round is None else (height, round)
    recover_sign_state(settings, slot, ask or (), accept_silence=accept_silence, as_json=as_json)


def _load_settings(flags: dict[str, Any]) -> ValidatorSettings:
    """The settings of these flags; a sovereign may be given by the name of its key. Raises `SettingsError`."""
    from tana.node.settings import load_settings

    if flags["sovereign"] is not None or not os.environ.get("TANA_SOVEREIGN"):
        flags["sovereign"] = find_sovereign(flags["sovereign"])
    return load_settings(flags, os.environ)


NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The id of a validator of the chain.")]


@app.command("list", epilog=show_example("tana validator list", "tana validator list --json"))
def list_validators(
    mesh_url: MeshUrl = DEFAULT_MESH_URL, ledger_url: FoundLedgerUrl = None, as_json: AsJson = False
) -> None:
    """List who votes on the next height, and what changes with the one after it."""
    from tana.cli.output import print_json, print_table

    with _open_chain(mesh_url, ledger_url) as client:
        answer = client.list_validators()
    if as_json:
        print_json(answer)
        return
    now = {row["publicKey"]: row for row in answer["validators"]}
    then = {row["publicKey"]: row for row in answer["upcoming"]}
    rows = [
        (row["id"], now.get(key, {}).get("power", 0), then.get(key, {}).get("power", 0), key)
        for key, row in (then | now).items()
    ]
    heights = (f"POWER AT {answer['decidingHeight']}", f"AT {answer['upcomingHeight']}")
    print_table(("VALIDATOR", *heights, "PUBLIC KEY"), sorted(rows))


@app.command(
    epilog=show_example(
        "tana validator set-power validator-2 20", "tana validator set-power validator-2 0   (it leaves)"
    )
)
def set_power(
    node_id: NodeName,
    power: Annotated[int, typer.Argument(min=0, help="Its new power; 0 takes its vote away.")],
    *,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    ledger_url: FoundLedgerUrl = None,
    sovereign_key: SovereignKeyFile = None,
    timeout_ms: ChangeTimeoutMs = DEFAULT_CHANGE_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Give a validator another power, with the sovereign's key. In several blocks where one may not change so much.

    May be repeated, and goes on where it was interrupted. A node that is no validator yet: `tana mesh approve`.
    """
    from tana.cli.membership import Chain, Wanted, print_change

    sovereign = _read_sovereign(sovereign_key)
    with _open_chain(mesh_url, ledger_url) as client:
        chain = Chain(client, sovereign, timeout_ms)
        member = chain.find_member(node_id)
        print_change(chain.reach(Wanted(node_id, member["publicKey"], power)), as_json)


@app.command(
    epilog=show_example(
        "tana validator replace-key validator-2 validator-2b   (the key of the approved node validator-2b)"
    )
)
def replace_key(
    node_id: NodeName,
    new_node: Annotated[
        str,
        typer.Argument(metavar="NEW_NODE", help="The approved node whose key takes over; it follows the chain."),
    ],
    *,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    ledger_url: FoundLedgerUrl = None,
    sovereign_key: SovereignKeyFile = None,
    timeout_ms: ChangeTimeoutMs = DEFAULT_CHANGE_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Let a new key vote in the place of a validator's old one, in one step and with the same power.

    A key is bound to its id at the mesh for good: the new one registers as a node of its own. On the chain the
    validator keeps its id. May be repeated.
    """
    from tana.cli.membership import Chain, Wanted, print_change, read_new_key, wait_caught_up

    sovereign = _read_sovereign(sovereign_key)
    new_key = read_new_key(mesh_url, new_node)
    with _open_chain(mesh_url, ledger_url) as client:
        chain = Chain(client, sovereign, timeout_ms)
        member = chain.find_member(node_id)
        replaces = member["publicKey"] if member["publicKey"] != new_key else None
        if replaces is not None:
            wait_caught_up(mesh_url, new_node, client, timeout_ms)
        print_change(chain.reach(Wanted(node_id, new_key, member["power"], replaces)), as_json)


def _open_chain(mesh_url: str, ledger_url: str | None) -> ValidatorClient:
    from tana.cli.membership import open_chain

    client = open_chain(mesh_url, ledger_url)
    if client is None:
        raise NotFound(
            f"the mesh at {mesh_url} has no genesis: there is no chain yet",
            remedy="make one with `tana genesis create`",
            code="no_chain",
        )
    return client


def _read_sovereign(file: str | None) -> KeyPair:
    from tana.cli.accounts import read_signing_key
    from tana.client.keyfiles import SOVEREIGN

    return read_signing_key(file if file is not None else SOVEREIGN)
