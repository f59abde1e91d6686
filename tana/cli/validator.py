"""`tana validator`: run one validator in this process, and bring one back that lost its sign-state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tana.cli.options import AsJson, make_group, show_example
from tana.cli.sovereign import find_sovereign

app = make_group(
    "Run a validator, and bring it back where it lost its sign-state.", "tana validator run --node-id validator-1"
)

# Settings are read in tana.node.settings: a flag first, then the environment variable in brackets, then the default.


@app.command(
    epilog=show_example(
        "tana validator run --node-id validator-1",
        "tana validator run --node-id validator-2 --port-offset 1000 --mesh-url http://mesh:8190 --sovereign ed25519_…",
    )
)
def run(
    *,
    node_id: Annotated[str | None, typer.Option(help="The node's id. [TANA_NODE_ID]")] = None,
    sovereign: Annotated[
        str | None,
        typer.Option(
            metavar="PUBLIC_KEY",
            help="The sovereign to trust: public key, key name or file; default its key file. [TANA_SOVEREIGN]",
        ),
    ] = None,
    mesh_url: Annotated[str | None, typer.Option(help="Where the mesh answers. [MESH_URL]")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default ~/.local/share/tana/NODE. [TANA_DATA_DIR]")
    ] = None,
    config_dir: Annotated[Path | None, typer.Option(help="The folder of key files. [TANA_CONFIG_DIR]")] = None,
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
    if sovereign is not None or not os.environ.get("TANA_SOVEREIGN"):
        flags["sovereign"] = find_sovereign(sovereign)
    # Only now: a wrong flag is told without paying for the node's imports.
    from tana.node.settings import load_settings

    settings = load_settings(flags, os.environ)
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
    node_id: Annotated[str | None, typer.Option(help="The node's id. [TANA_NODE_ID]")] = None,
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
    sovereign: Annotated[
        str | None,
        typer.Option(
            metavar="PUBLIC_KEY",
            help="The sovereign to trust: public key, key name or file; default its key file. [TANA_SOVEREIGN]",
        ),
    ] = None,
    mesh_url: Annotated[str | None, typer.Option(help="Where the mesh answers. [MESH_URL]")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default ~/.local/share/tana/NODE. [TANA_DATA_DIR]")
    ] = None,
    config_dir: Annotated[Path | None, typer.Option(help="The folder of key files. [TANA_CONFIG_DIR]")] = None,
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
    if sovereign is not None or not os.environ.get("TANA_SOVEREIGN"):
        flags["sovereign"] = find_sovereign(sovereign)
    from tana.cli.recovery import recover as recover_sign_state
    from tana.node.settings import load_settings

    settings = load_settings(flags, os.environ)
    slot = None if height is None or round is None else (height, round)
    recover_sign_state(settings, slot, ask or (), accept_silence=accept_silence, as_json=as_json)
