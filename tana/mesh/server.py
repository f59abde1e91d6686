"""The mesh as a process: take the port, open the database, serve until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn

from tana.mesh.app import create_app, read_clock_ms
from tana.mesh.events import Event
from tana.mesh.registry import MeshRules
from tana.mesh.service import MeshService
from tana.mesh.settings import MeshSettings
from tana.mesh.store import SqliteStore
from tana.mesh.tailnet import Guard
from tana.types.errors import SettingsError

GRACE_S = 1
MAX_CONNECTIONS = 512
log = structlog.get_logger("mesh")


def run_mesh(
    settings: MeshSettings, on_listening: Callable[[str], None] | None = None, guard: Guard | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, then return within a second, also with open event streams.

    `on_listening` is called with the URL once requests are answered (with port 0 it names the port taken).
    `guard` is what a mesh on a tailnet asks of the daemon beside it.
    Raises `SettingsError` for a port or database that cannot be used, `StorageError` for a database that is damaged or
    of another sovereign. Call it in the main thread.
    """
    listener = open_listener(settings.host, settings.port)
    try:
        service = open_service(settings)
    except BaseException:
        listener.close()
        raise
    service.subscribe(_log_event)
    try:
        asyncio.run(_serve(settings, service, listener, on_listening, guard))
    finally:
        service.close()
        listener.close()


def open_service(settings: MeshSettings) -> MeshService:
    """The service over the database of the settings. Raises `SettingsError`, `StorageError`."""
    store = SqliteStore(settings.db_path)
    rules = MeshRules(settings.offline_after_ms, settings.clock_window_ms, settings.max_pending_nodes)
    try:
        return MeshService(store, settings.sovereign, rules, now_ms=read_clock_ms())
    except BaseException:
        store.close()
        raise


def open_listener(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `SettingsError` where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(
            f"the mesh cannot listen on {host}: {error.strerror}", remedy="correct --host or MESH_HOST", field="host"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"the mesh cannot listen on {host} port {port}: {error.strerror}",
            remedy="stop what has the port, or give another with --port or MESH_PORT",
            field="port",
        ) from None
    return listener


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `_serve` sets its own, so that the process ends by returning."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    settings: MeshSettings,
    service: MeshService,
    listener: socket.socket,
    on_listening: Callable[[str], None] | None,
    guard: Guard | None,
) -> None:
    app = create_app(
        service,
        max_body_bytes=settings.max_body_bytes,
        liveness_interval_ms=settings.liveness_interval_ms,
        guard=guard,
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)

    def stop() -> None:
        server.should_exit = True
        app.state.streams.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    # The socket already listens: a client that connects before this is answered as soon as serving begins.
    host, port = listener.getsockname()[:2]
    url = f"http://{_name_host(host)}:{port}"
    log.info("mesh_listening", url=url, database=str(settings.db_path), sovereign=settings.sovereign)
    if on_listening is not None:
        on_listening(url)
    await serving
    log.info("mesh_stopped")


def _name_host(host: str) -> str:
    """A host that a client on this machine can use."""
    if host in ("0.0.0.0", "::"):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _log_event(event: Event) -> None:
    write = log.debug if event.type == "heartbeat" else log.info
    write(f"mesh_{event.type}", event_id=event.id, **event.data)
