"""The mesh over HTTP: FastAPI routes made from the table of `tana.mesh.service`, the event stream, and the watch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tana import __version__
from tana.mesh.route import Call, Route
from tana.mesh.service import ROUTES, MeshService
from tana.mesh.sse import EventStreams
from tana.mesh.tailnet import CLAIMING_PATHS, Guard
from tana.types import canonical
from tana.types.errors import Forbidden, StorageError, TanaError, TooLarge

log = structlog.get_logger("mesh")


def read_clock_ms() -> int:
    return time.time_ns() // 1_000_000


def create_app(
    service: MeshService,
    *,
    max_body_bytes: int = 256 * 1024,
    liveness_interval_ms: int = 500,
    clock: Callable[[], int] = read_clock_ms,
    guard: Guard | None = None,
) -> FastAPI:
    """The application around one service. `app.state.streams` holds its event streams; `clock` is in Unix ms.

    With a `guard` the mesh is on a tailnet: see `tana.mesh.tailnet`.
    """
    streams = EventStreams(service)

    @asynccontextmanager
    async def run_watch(app: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(_watch_liveness(service, clock, liveness_interval_ms))
        try:
            yield
        finally:
            streams.close()
            watch.cancel()

    app = FastAPI(
        title="Tana mesh", version=__version__, lifespan=run_watch, openapi_url="/openapi.json", redoc_url=None
    )
    app.state.streams = streams
    if guard is not None:
        app.add_middleware(_Door, is_welcome=guard.is_welcome)
    for route in ROUTES:
        endpoint = partial(
            _answer, service=service, route=route, max_body_bytes=max_body_bytes, clock=clock, guard=guard
        )
        app.add_api_route(
            route.path.replace("{id}", "{node_id}"),
            _as_endpoint(endpoint),
            methods=[route.method],
            summary=route.summary,
            name=route.perform.__name__,
            openapi_extra=_describe_body(route),
        )

    @app.get("/events", summary="Registrations, approvals, status changes and heartbeats as server-sent events")
    async def stream_events(request: Request) -> Response:
        last_event_id = request.headers.get("last-event-id") or request.query_params.get("lastEventId")
        try:
            stream = streams.open(last_event_id)
        except TanaError as error:
            return _to_response(error.http_status, error.to_json())
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    @app.exception_handler(HTTPException)
    async def explain_http(request: Request, error: HTTPException) -> Response:
        code = {404: "no_such_path", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        reason = f"{request.method} {request.url.path[:80]!a}: {error.detail}"
        return _to_response(error.status_code, {"error": reason, "code": code})

    return app


async def _answer(
    request: Request,
    *,
    service: MeshService,
    route: Route,
    max_body_bytes: int,
    clock: Callable[[], int],
    guard: Guard | None,
) -> Response:
    try:
        body = None
        if route.method != "GET":
            body = canonical.loads(await _read_body(request, route.max_body_bytes or max_body_bytes))
        if guard is not None and route.path in CLAIMING_PATHS and request.client is not None:
            host, port = request.client
            await guard.check_claim(service.registry, route.path, body, host, port)
    except TanaError as error:
        return _to_response(error.http_status, error.to_json())
    except ClientDisconnect:
        # Nobody is there to read this.
        return Response(status_code=400)
    call = Call(clock(), body, request.query_params, request.path_params.get("node_id", ""))
    status, answer = service.answer(route.perform, call)
    if status >= 500:
        log.error("mesh_request_failed", path=route.path, **answer)
    return _to_response(status, answer)


class _Door:
    """Answers only whom a guard welcomes."""

    def __init__(self, app: ASGIApp, is_welcome: Callable[[str], bool]) -> None:
        self._app = app
        self._is_welcome = is_welcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not (scope["client"] and self._is_welcome(scope["client"][0])):
            error = Forbidden(
                "the mesh answers on the tailnet and to its own host only",
                remedy="ask from another node of the tailnet",
                code="not_on_tailnet",
            )
            await _to_response(error.http_status, error.to_json())(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The body, never more of it in memory than the bound. Raises `TooLarge`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"the body is over {max_bytes} bytes", remedy="send a smaller one")
    return bytes(body)


async def _watch_liveness(service: MeshService, clock: Callable[[], int], interval_ms: int) -> None:
    while True:
        try:
            service.check_liveness(clock())
        except StorageError as error:
            log.error("mesh_liveness_not_written", error=str(error))
        await asyncio.sleep(interval_ms / 1000)


def _to_response(status: int, answer: dict[str, Any]) -> Response:
    # ASCII with escapes: an error may repeat a lone surrogate, which has no UTF-8.
    content = json.dumps(answer, separators=(",", ":")).encode("ascii")
    return Response(content, status, media_type="application/json")


def _as_endpoint(endpoint: Callable[..., Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """A plain function of a request, so that FastAPI reads no parameters out of it."""

    async def handle(request: Request) -> Response:
        return await endpoint(request)

    return handle


def _describe_body(route: Route) -> dict[str, Any] | None:
    """The OpenAPI description of what a call takes; the bodies are checked by msgspec, not by FastAPI."""
    extra: dict[str, Any] = {}
    if "{id}" in route.path:
        extra["parameters"] = [{"name": "node_id", "in": "path", "required": True, "schema": {"type": "string"}}]
    if route.method != "GET":
        schema: dict[str, Any] = {"type": "object"}
        if route.body is not None:
            (schema,), components = msgspec.json.schema_components([route.body], ref_template="{name}")
            schema = components[route.body.__name__]
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return extra or None
