"""`tana validator`: run one validator in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tana.cli.options import make_group, show_example
from tana.cli.sovereign import find_sovereign

app = make_group("Run a validator.", "tana validator run --node-id validator-1")

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
