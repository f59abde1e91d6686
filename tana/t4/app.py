"""The HTTP surface of t4: `PUT|GET|HEAD|DELETE /content/{hash}` and `GET /health`.

Reading is public; writing and deleting need the token of an approved node's ledger service. A token is checked
before the first byte of the body is read, and bodies pass through in pieces. Disk calls run in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import BinaryIO, cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tana.auth.token import KeySource, verify_request
from tana.t4.store import CHUNK_BYTES, ContentStore, check_hash, check_size
from tana.types.errors import InvalidInput, TanaError

WRITER_SERVICE = "ledger"
_MEDIA_TYPE = "application/octet-stream"
_FOREVER = "public, max-age=31536000, immutable"

log = structlog.get_logger(__name__)


class T4Api:
    """The handlers over one store. `clock_ms` gives the time that tokens are judged by, in ms since 1970."""

    def __init__(self, store: ContentStore, key_source: KeySource, clock_ms: Callable[[], int], strict: bool) -> None:
        self._store = store
        self._key_source = key_source
        self._clock_ms = clock_ms
        self._strict = strict

    async def on_content(self, request: Request) -> Response:
        content_hash: str = request.path_params["hash"]
        match request.method:
            case "PUT":
                return await self._put(request, content_hash)
            case "DELETE":
                return await self._delete(request, content_hash)
            case "HEAD":
                return await self._head(content_hash)
            case _:
                return await self._get(content_hash)

    async def on_health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "service": "t4"})

    async def _get(self, content_hash: str) -> Response:
        file, size_bytes = await asyncio.to_thread(self._store.open, content_hash)
        headers = _content_headers(content_hash, size_bytes)
        return StreamingResponse(_read_pieces(file), headers=headers, media_type=_MEDIA_TYPE)

    async def _head(self, content_hash: str) -> Response:
        size_bytes = await asyncio.to_thread(self._store.get_size, content_hash)
        return Response(headers=_content_headers(content_hash, size_bytes), media_type=_MEDIA_TYPE)

    async def _put(self, request: Request, content_hash: str) -> Response:
        self._authorize(request)
        check_hash(content_hash)
        check_size(_announced_size(request), self._store.max_bytes)
        with await asyncio.to_thread(self._store.begin, content_hash) as upload:
            async for piece in request.stream():
                if piece:
                    await asyncio.to_thread(upload.write, piece)
            await asyncio.to_thread(upload.commit)
        return JSONResponse(
            {"success": True, "hash": content_hash, "size": upload.size_bytes},
            status_code=201,
            headers={"X-Content-Hash": content_hash, "X-Content-Size": str(upload.size_bytes)},
        )

    async def _delete(self, request: Request, content_hash: str) -> Response:
        self._authorize(request)
        await asyncio.to_thread(self._store.delete, content_hash)
        return JSONResponse({"success": True, "hash": content_hash}, headers={"X-Content-Hash": content_hash})

    def _authorize(self, request: Request) -> None:
        verify_request(
            request.headers.get("Authorization"),
            self._key_source,
            self._clock_ms(),
            service_id=WRITER_SERVICE,
            method=request.method,
            path=request.scope["path"],
            strict=self._strict,
        )


def create_t4_app(
    store: ContentStore, key_registry: KeySource, clock_ms: Callable[[], int], strict: bool = False
) -> Starlette:
    """The ASGI application of t4. `strict` refuses tokens that do not name the method and path they are for."""
    api = T4Api(store, key_registry, clock_ms, strict)
    return Starlette(
        routes=[
            Route("/content/{hash}", api.on_content, methods=["GET", "HEAD", "PUT", "DELETE"]),
            Route("/health", api.on_health, methods=["GET"]),
        ],
        exception_handlers={TanaError: _on_error, HTTPException: _on_http_error, ClientDisconnect: _on_disconnect},
    )


async def _read_pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield piece


def _content_headers(content_hash: str, size_bytes: int) -> dict[str, str]:
    return {
        "X-Content-Hash": content_hash,
        "X-Content-Size": str(size_bytes),
        "Content-Length": str(size_bytes),
        "Cache-Control": _FOREVER,
    }


def _announced_size(request: Request) -> int:
    length = request.headers.get("Content-Length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise InvalidInput("Content-Length must be a number of bytes", field="Content-Length")
    return int(length)


async def _on_error(request: Request, exception: Exception) -> Response:
    error = cast("TanaError", exception)
    if error.http_status >= 500:
        log.error("t4_request_failed", path=request.scope["path"], code=error.code, reason=error.message)
    headers = {"WWW-Authenticate": "Bearer"} if error.http_status == 401 else None
    return JSONResponse(error.to_json(), status_code=error.http_status, headers=headers)


async def _on_http_error(request: Request, exception: Exception) -> Response:
    error = cast("HTTPException", exception)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
    body = {"error": error.detail, "code": code, "remedy": "use PUT, GET, HEAD or DELETE on /content/{sha256 hex}"}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _on_disconnect(request: Request, exception: Exception) -> Response:
    # Nobody is left to read it; without an answer the server would log a crash.
    return Response(status_code=400)
