"""The validator's HTTP listeners: `NodeApi` served over Starlette and uvicorn, with `wait=commit` and `/metrics`.

Requests are answered by one ASGI function per listener: no router and no middleware stand in a transaction's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import structlog
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tana.node.api import NodeApi
from tana.node.submission import to_answer
from tana.node.waiting import CommitWaiters, Outcome
from tana.types import canonical
from tana.types.errors import Forbidden, InvalidInput, SettingsError, TanaError, TooLarge

MAX_BODY_BYTES = 8 * 1024 * 1024
DEFAULT_WAIT_MS = 30_000
MAX_WAIT_MS = 120_000
_MAX_CONNECTIONS = 1024
_BACKLOG = 1024
_STOP_TIMEOUT_S = 0.5

_log = structlog.get_logger()

SURFACES = {
    "ledger": ("health", "transactions", "users", "blocks", "balances", "validators", "state"),
    "status": ("health", "peers", "quorum", "metrics"),
}
"""Which first parts of a path each listener answers."""


class NodeApp:
    """The ASGI application of one listener. `waiters` is None until the node has a chain; `is_welcome` says which
    addresses are answered, None: all."""

    def __init__(
        self,
        surface: str,
        api: NodeApi,
        render_metrics: Callable[[], bytes] | None = None,
        is_welcome: Callable[[str], bool] | None = None,
    ) -> None:
        self.waiters: CommitWaiters | None = None
        self._surface = SURFACES[surface]
        self._api = api
        self._render_metrics = render_metrics
        self._is_welcome = is_welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "uvicorn is told to serve nothing else"
        try:
            response = await self._respond(Request(scope, receive))
        except TanaError as error:
            response = _make_response(*to_answer(error))
        except ClientDisconnect:
            return
        except Exception:
            _log.exception("request_failed", method=scope["method"], path=scope["path"])
            body = {"error": "this node failed on the request", "code": "internal", "remedy": "see the node's log"}
            response = _make_response(500, body)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if self._is_welcome is not None and (request.client is None or not self._is_welcome(request.client.host)):
            raise Forbidden(
                "this port answers on the tailnet and to its own host only",
                remedy="ask from another node of the tailnet",
                code="not_on_tailnet",
            )
        path: str = request.scope["path"]
        first = path.split("/", 2)[1] if "/" in path else ""
        if first not in self._surface:
            names = ", ".join(f"/{name}" for name in self._surface)
            error = {"error": f"there is no {path} on this port", "code": "not_found", "remedy": f"it has {names}"}
            return _make_response(404, error)
        if first == "metrics" and self._render_metrics is not None:
            return Response(self._render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
        query = dict(request.query_params)
        body = canonical.loads(await _read_body(request)) if request.method == "POST" else None
        wait_ms = _parse_wait(query)
        status, answer = self._api.handle(request.method, path, query, body)
        if wait_ms is not None and status == 202 and self.waiters is not None:
            status, answer = await self._wait(self.waiters, answer, wait_ms)
        return _make_response(status, answer)

    async def _wait(self, waiters: CommitWaiters, answer: dict[str, Any], wait_ms: int) -> tuple[int, dict[str, Any]]:
        """The answer to a submission once its transactions are final, or as far as they are when the time is up."""
        rows = answer.get("results", [answer])
        ids = [row["id"] for row in rows if row["status"] != "refused"]
        outcomes = await waiters.wait(ids, wait_ms)
        shown = [_show_outcome(row, outcomes.get(row["id"])) for row in rows]
        if "results" in answer:
            return 200, {"results": shown}
        (row,) = shown
        return {"committed": 200, "refused": 409}.get(row["status"], 202), row


class HttpListener:
    """One uvicorn server on a socket that is already bound."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            backlog=_BACKLOG,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._socket = listener
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """Take no more requests, let those under way finish, for half a second at most."""
        if self._task is None:
            self._socket.close()
            return
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, _STOP_TIMEOUT_S)
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the runtime has one for all listeners."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def open_listener(name: str, host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises `SettingsError` naming the port that is taken and what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(
            f"the {name} port cannot listen on {host}: {error.strerror}",
            remedy="correct --listen-host or TANA_LISTEN_HOST",
            field="listen_host",
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"the {name} port {port} on {host} cannot be used: {error.strerror}",
            remedy=f"stop what has it (`ss -ltnp 'sport = :{port}'` shows), or use another --port-offset",
            field=f"{name}_port",
        ) from None
    listener.setblocking(False)
    return listener


async def _read_body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is over {MAX_BODY_BYTES} bytes", remedy="send fewer transactions at once", field="body")


def _parse_wait(query: dict[str, str]) -> int | None:
    """The time a client is ready to wait, None where it does not wait. Raises `InvalidInput`."""
    wait = query.pop("wait", None)
    timeout = query.pop("timeout_ms", str(DEFAULT_WAIT_MS))
    if wait is None:
        return None
    if wait != "commit":
        raise InvalidInput(f"wait={wait} is unknown", remedy="use wait=commit", field="wait")
    if not (timeout.isascii() and timeout.isdigit() and len(timeout) < 10 and 1 <= int(timeout) <= MAX_WAIT_MS):
        raise InvalidInput(f"timeout_ms must be from 1 to {MAX_WAIT_MS}", field="timeout_ms")
    return int(timeout)


def _show_outcome(row: dict[str, Any], outcome: Outcome | None) -> dict[str, Any]:
    if outcome is None:
        return row
    if outcome.height:
        return {"id": row["id"], "status": "committed", "height": outcome.height, "blockHash": outcome.block_hash}
    message = "the transaction can no longer be executed"
    return {"id": row["id"], "status": "refused", "code": outcome.reason, "error": message}


def _make_response(status: int, body: Any) -> Response:
    try:
        content = orjson.dumps(body)
    except TypeError:
        # A text may hold lone surrogates, which UTF-8 has not: they leave escaped, as they came.
        content = json.dumps(body).encode("ascii")
    return Response(content, status_code=status, media_type="application/json")
