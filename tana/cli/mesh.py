"""`tana mesh`: run a mesh, join it, decide who may, and look at it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tana.cli.accounts import read_signing_key
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
from tana.cli.output import format_time, print_fields, print_json, print_table
from tana.cli.sovereign import find_sovereign
from tana.client import keyfiles

if TYPE_CHECKING:
    from tana.client.mesh import MeshClient, MeshNode

_Answer = TypeVar("_Answer")

# The client's imports are paid for by the commands that use it: `tana mesh serve` does not.

app = make_group("Run a mesh, join it, decide who may, and look at it.", "tana mesh list --all")

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's id.")]


@app.command(epilog=show_example("tana mesh serve --sovereign ed25519_… --port 8190 --db mesh.db"))
def serve(
    *,
    sovereign: Annotated[
        str | None,
        typer.Option(
            metavar="PUBLIC_KEY",
            help="The first sovereign: public key, key name or file; default its key file. [MESH_SOVEREIGN]",
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Default 8190. [MESH_PORT]")] = None,
    db: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default ~/.local/share/tana/mesh.db. [MESH_DB_PATH]")
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on; default all. [MESH_HOST]")] = None,
    tailscale_socket: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Tailscale's socket: nodes must be who they are. [MESH_TAILSCALE_SOCKET]"),
    ] = None,
    offline_after_ms: Annotated[
        int | None, typer.Option(help="Default 300000: silence that makes a node offline. [MESH_OFFLINE_AFTER_MS]")
    ] = None,
    clock_window_ms: Annotated[
        int | None, typer.Option(help="Default 60000: how wrong a heartbeat's clock may be. [MESH_CLOCK_WINDOW_MS]")
    ] = None,
    log_format: Annotated[str, typer.Option(envvar="TANA_LOG_FORMAT", help="auto, json or text.")] = "auto",
    log_level: Annotated[str, typer.Option(envvar="TANA_LOG_LEVEL", help="debug, info, warning or error.")] = "info",
) -> None:
    """Run a mesh until Ctrl-C or SIGTERM."""
    if sovereign is not None or not os.environ.get("MESH_SOVEREIGN"):
        sovereign = find_sovereign(sovereign)
    from tana.mesh.server import run_mesh
    from tana.mesh.settings import load_settings
    from tana.node.logging import configure_logging

    settings = load_settings(
        sovereign=sovereign,
        port=port,
        db_path=db,
        host=host,
        tailscale_socket=tailscale_socket,
        offline_after_ms=offline_after_ms,
        clock_window_ms=clock_window_ms,
    )
    configure_logging(log_format, log_level)
    guard = None
    if settings.tailscale_socket:
        import asyncio
        import threading

        from tana.mesh.tailnet import Guard
        from tana.node.tailnet import make_doorkeeper, read_gateway, report_place
        from tana.node.tailscale import Tailscale

        guard = Guard(make_doorkeeper(read_gateway()), Tailscale(settings.tailscale_socket).who_is)
        # Beside serving: the mesh answers its host also while it is not on the tailnet.
        threading.Thread(target=asyncio.run, args=[report_place(settings.tailscale_socket)], daemon=True).start()
    run_mesh(settings, guard=guard)


@app.command(
    epilog=show_example(
        "MESH_URL=http://localhost:8190 tana mesh register --dev --node-id validator-2 --port-offset 100",
        "tana mesh register --node-id validator-2 --hostname validator-2.my-tailnet.ts.net --ip 100.64.0.2",
    )
)
def register(
    *,
    node_id: Annotated[str, typer.Option("--node-id", help="The node's id, such as validator-2.")],
    dev: Annotated[bool, typer.Option("--dev", help="Every node is on this machine (localhost).")] = False,
    hostname: Annotated[str | None, typer.Option(help="The node's name on the tailnet.")] = None,
    ip: Annotated[str | None, typer.Option(help="The node's address on the tailnet.")] = None,
    port_offset: Annotated[int, typer.Option("--port-offset", min=0, help="Added to each of the node's ports.")] = 0,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The node's data folder.")] = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    as_json: AsJson = False,
) -> None:
    """Make the node's keys and its sign-state, and ask the mesh to let it in."""
    from tana.cli.joining import join, locate, make_settings

    location = locate(dev, hostname, ip)
    settings = make_settings(node_id, mesh_url=mesh_url, location=location, port_offset=port_offset, data=data)
    node = join(settings)
    if as_json:
        print_json(_to_json(node))
        return
    print(f"{node_id} is registered at {mesh_url}: {node.status}")
    if node.status == "pending":
        print(f"next: the sovereign lets it in with `tana mesh approve {node_id}`")
    flags = f" --port-offset {port_offset}" if port_offset else ""
    print(f"then: tana validator run --node-id {node_id}{flags}")


@app.command(
    epilog=show_example(
        "tana mesh approve validator-2",
        "tana mesh approve validator-5 --power 10   (on a running chain: waits, then gives it a vote)",
        "tana mesh approve follower-1 --power 0   (it follows the chain and has no vote)",
    )
)
def approve(
    node_id: NodeName,
    *,
    power: Annotated[
        int | None,
        typer.Option(min=0, help="Its power on a running chain; default that of the weakest validator. 0: no vote."),
    ] = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    ledger_url: FoundLedgerUrl = None,
    sovereign_key: SovereignKeyFile = None,
    timeout_ms: ChangeTimeoutMs = DEFAULT_CHANGE_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Let a pending node in, with the sovereign's key. On a running chain it also gets a vote, once it has caught up.

    May be repeated, and goes on where it was interrupted.
    """
    sovereign = _read_sovereign(sovereign_key)
    answer = _ask(mesh_url, lambda mesh: mesh.approve(node_id, sovereign))
    from tana.cli.membership import Chain, Wanted, open_chain, print_change, wait_caught_up

    client = open_chain(mesh_url, ledger_url) if power != 0 else None
    if client is None:
        _print_decision(node_id, answer, as_json)
        if not as_json:
            print("next: once everyone is in, `tana genesis create`; a node approved later follows the chain")
        return
    with client:
        chain = Chain(client, sovereign, timeout_ms)
        key = _ask(mesh_url, lambda mesh: mesh.get_node(node_id)).public_key.lower()
        members = chain.list_upcoming()
        if power is None:
            own = members.get(key)
            power = own["power"] if own is not None else min(row["power"] for row in members.values())
        if key not in members:
            wait_caught_up(mesh_url, node_id, client, timeout_ms)
        outcome = chain.reach(Wanted(node_id, key, power))
    if as_json:
        print_json({**answer, **outcome.to_json()})
    else:
        _print_decision(node_id, answer, as_json)
        print_change(outcome, as_json)


@app.command(epilog=show_example("tana mesh deny validator-9"))
def deny(
    node_id: NodeName,
    *,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    ledger_url: FoundLedgerUrl = None,
    sovereign_key: SovereignKeyFile = None,
    timeout_ms: ChangeTimeoutMs = DEFAULT_CHANGE_TIMEOUT_MS,
    as_json: AsJson = False,
) -> None:
    """Shut a node out for good, with the sovereign's key. On a running chain it also loses its vote.

    May be repeated, and goes on where it was interrupted.
    """
    sovereign = _read_sovereign(sovereign_key)
    answer = _ask(mesh_url, lambda mesh: mesh.deny(node_id, sovereign))
    from tana.cli.membership import Chain, Wanted, open_chain, print_change

    client = open_chain(mesh_url, ledger_url)
    if client is None:
        _print_decision(node_id, answer, as_json)
        return
    with client:
        chain = Chain(client, sovereign, timeout_ms)
        key = _ask(mesh_url, lambda mesh: mesh.get_node(node_id)).public_key.lower()
        member = chain.list_upcoming().get(key)
        outcome = chain.reach(Wanted(member["id"] if member else node_id, key, 0))
    if as_json:
        print_json({**answer, **outcome.to_json()})
    else:
        _print_decision(node_id, answer, as_json)
        print_change(outcome, as_json)


@app.command(
    "list", epilog=show_example("tana mesh list", "tana mesh list --all", "tana mesh list --status pending --json")
)
def list_nodes(
    show_all: Annotated[bool, typer.Option("--all", help="Nodes of every status.")] = False,
    wanted: Annotated[
        str | None, typer.Option("--status", help="pending, active, offline or denied; default active.")
    ] = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    as_json: AsJson = False,
) -> None:
    """List the active nodes, those of one status, or all."""
    from tana.client.mesh import STATUSES

    if show_all and wanted is not None:
        raise typer.BadParameter("give either --all or --status")
    if wanted is not None and wanted not in STATUSES:
        raise typer.BadParameter(f"{wanted!r} is none of {', '.join(STATUSES)}", param_hint="--status")
    statuses = STATUSES if show_all else (wanted or "active",)
    nodes = _ask(mesh_url, lambda mesh: list_by_status(mesh, statuses))
    if as_json:
        print_json({"nodes": [_to_json(node) for node in nodes]})
    elif nodes:
        print_table(("NODE", "STATUS", "LAST HEARTBEAT", "HOSTNAME", "ADDRESS", "PUBLIC KEY"), map(_row, nodes))
    else:
        words = "is there" if show_all else f"is {statuses[0]}"
        print(f"no node {words}" + ("" if show_all else "; see everyone with `tana mesh list --all`"))


@app.command(epilog=show_example("tana mesh status", "tana mesh status validator-2 --json"))
def status(
    node_id: Annotated[str | None, typer.Argument(metavar="[NODE]", help="One node; default the mesh itself.")] = None,
    mesh_url: MeshUrl = DEFAULT_MESH_URL,
    as_json: AsJson = False,
) -> None:
    """Show the mesh with its counts, or what it knows of one node."""
    if node_id is None:
        info = _ask(mesh_url, lambda mesh: {"url": mesh_url, **mesh.get_health(), **mesh.get_info()})
        print_json(info) if as_json else print_fields(_flatten(info))
        return
    node = _ask(mesh_url, lambda mesh: mesh.get_node(node_id))
    if as_json:
        print_json(_to_json(node))
        return
    print_fields(
        {
            "node": node.id,
            "status": node.status,
            "public key": node.public_key,
            "hostname": node.tailscale_hostname,
            "address": node.tailscale_ip,
            "registered": format_time(node.registered_at),
            "approved": format_time(node.approved_at),
            "approved by": node.approved_by,
            "last heartbeat": format_time(node.last_heartbeat),
        }
    )
    print()
    print_table(
        ("SERVICE", "PORT", "HEALTHY", "PUBLIC KEY"),
        ((item.service_type, item.port, _say_healthy(item.healthy), item.public_key) for item in node.services),
    )


@app.command(epilog=show_example("tana mesh topology", "tana mesh topology --json"))
def topology(mesh_url: MeshUrl = DEFAULT_MESH_URL, as_json: AsJson = False) -> None:
    """Show where each active node's services are."""
    nodes = _ask(mesh_url, lambda mesh: mesh.get_topology())
    if as_json:
        print_json({"nodes": nodes})
        return
    rows = [
        (
            node.get("id"),
            service.get("type"),
            node.get("tailscaleHostname"),
            node.get("tailscaleIP"),
            service.get("port"),
        )
        for node in nodes
        for service in node.get("services", [])
    ]
    if rows:
        print_table(("NODE", "SERVICE", "HOSTNAME", "ADDRESS", "PORT"), rows)
    else:
        print("no node is active; see everyone with `tana mesh list --all`")


def list_by_status(mesh: MeshClient, statuses: tuple[str, ...]) -> list[MeshNode]:
    """The nodes of some statuses, by id. Each status is asked for: an older mesh never lists more than one."""
    found = {node.id: node for status in statuses for node in mesh.list_nodes(status)}
    return sorted(found.values(), key=lambda node: node.id)


def _ask(mesh_url: str, question: Callable[[MeshClient], _Answer]) -> _Answer:
    from tana.client.mesh import MeshClient

    with MeshClient(mesh_url) as mesh:
        return question(mesh)


def _read_sovereign(file: str | None) -> Any:
    return read_signing_key(file if file is not None else keyfiles.SOVEREIGN)


def _print_decision(node_id: str, answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print(f"{node_id} is {answer.get('status', 'decided')}")


def _row(node: MeshNode) -> tuple[Any, ...]:
    return (
        node.id,
        node.status,
        format_time(node.last_heartbeat),
        node.tailscale_hostname,
        node.tailscale_ip,
        node.public_key,
    )


def _to_json(node: MeshNode) -> dict[str, Any]:
    import msgspec

    value: dict[str, Any] = msgspec.to_builtins(node)
    return value


def _flatten(info: dict[str, Any]) -> dict[str, Any]:
    return {name: _join(value) for name, value in info.items()}


def _join(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{count} {word}" for word, count in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _say_healthy(healthy: bool | int | None) -> str:
    return "-" if healthy is None else ("yes" if healthy else "no")
