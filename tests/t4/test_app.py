"""t4 over HTTP: codes, headers and tokens, through the whole ASGI application."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tana.auth.keys import KeyRegistry
from tana.auth.token import CLOCK_SKEW_MS, TOKEN_LIFE_MS, issue_request_token, issue_token
from tana.crypto.keys import KeyPair
from tana.t4.app import create_t4_app
from tana.t4.store import CHUNK_BYTES, ContentStore

NOW_MS = 1_763_424_000_000
LEDGER_KEY = KeyPair.from_seed(b"l" * 32)
T4_KEY = KeyPair.from_seed(b"t" * 32)
DATA = b"forty-two" * 100
HASH = hashlib.sha256(DATA).hexdigest()
URL = f"/content/{HASH}"
MAX_BYTES = 4 * CHUNK_BYTES


def token(method: str, path: str = URL, now_ms: int = NOW_MS) -> dict[str, str]:
    issued = issue_request_token(LEDGER_KEY, "validator-1", "ledger", now_ms, method=method, path=path)
    return {"Authorization": issued.to_header()}


class Node:
    """t4 of one node; `ask` sends one request through the application."""

    def __init__(self, root: Path, strict: bool = False) -> None:
        self.registry = KeyRegistry()
        self.approve()
        self.store = ContentStore(root, MAX_BYTES)
        self.app = create_t4_app(self.store, self.registry, lambda: NOW_MS, strict)

    def approve(self, status: str = "active") -> None:
        services = [
            {"service_type": "ledger", "port": 8080, "public_key": LEDGER_KEY.public_text},
            {"service_type": "t4", "port": 8180, "public_key": T4_KEY.public_text},
        ]
        self.registry.update([{"id": "validator-1", "status": status, "services": services}])

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://t4")

    def ask(self, method: str, path: str = URL, **options: Any) -> httpx.Response:
        async def run() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **options)

        return asyncio.run(run())

    def put(self) -> None:
        assert self.ask("PUT", content=DATA, headers=token("PUT")).status_code == 201

    def files(self) -> list[str]:
        return [path.name for path in self.store.root.rglob("*") if path.is_file()]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["error"]


def test_put_then_get_and_head(node: Node) -> None:
    stored = node.ask("PUT", content=DATA, headers=token("PUT"))
    assert stored.status_code == 201
    assert stored.json() == {"success": True, "hash": HASH, "size": len(DATA)}
    got, head = node.ask("GET"), node.ask("HEAD")
    assert got.status_code == head.status_code == 200
    assert got.content == DATA
    assert head.content == b""
    for answer in (stored, got, head):
        assert answer.headers["X-Content-Hash"] == HASH
        assert answer.headers["X-Content-Size"] == str(len(DATA))
    for answer in (got, head):
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Length"] == str(len(DATA))
        assert answer.headers["Content-Type"] == "application/octet-stream"


def test_content_of_many_pieces(node: Node) -> None:
    data = os.urandom(3 * CHUNK_BYTES + 7)
    path = f"/content/{hashlib.sha256(data).hexdigest()}"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    assert node.ask("PUT", path, content=pieces(), headers=token("PUT", path)).status_code == 201
    assert node.ask("GET", path).content == data


def test_delete(node: Node) -> None:
    node.put()
    answer = node.ask("DELETE", headers=token("DELETE"))
    assert (answer.status_code, answer.json()) == (200, {"success": True, "hash": HASH})
    refused(node.ask("GET"), 404, "not_found")
    refused(node.ask("DELETE", headers=token("DELETE")), 404, "not_found")
    assert node.ask("HEAD").status_code == 404


def test_health(node: Node) -> None:
    answer = node.ask("GET", "/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_token_without_a_request_in_it(tmp_path: Path) -> None:
    headers = {"Authorization": issue_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS).to_header()}
    assert Node(tmp_path / "a").ask("PUT", content=DATA, headers=headers).status_code == 201
    refused(Node(tmp_path / "b", strict=True).ask("PUT", content=DATA, headers=headers), 401, "token_unbound")


def test_a_node_whose_heartbeat_is_late_may_write(node: Node) -> None:
    node.approve("offline")
    node.put()


def test_two_uploads_of_one_hash_whose_pieces_alternate(node: Node) -> None:
    async def run() -> list[int]:
        turns = [asyncio.Event(), asyncio.Event()]
        turns[0].set()

        async def pieces(own: int) -> AsyncIterator[bytes]:
            for start in range(0, len(DATA), 300):
                await turns[own].wait()
                turns[own].clear()
                turns[1 - own].set()
                yield DATA[start : start + 300]

        async with node.client() as client:
            puts = (client.put(URL, content=pieces(own), headers=token("PUT")) for own in range(2))
            return [answer.status_code for answer in await asyncio.gather(*puts)]

    assert asyncio.run(run()) == [201, 201]
    assert node.files() == [HASH]
    assert node.ask("GET").content == DATA


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_invalid_no_token(node: Node, method: str) -> None:
    answer = node.ask(method, content=DATA)
    refused(answer, 401, "token_missing")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert node.files() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_invalid_token_of_other_service(node: Node, method: str) -> None:
    other = issue_request_token(T4_KEY, "validator-1", "t4", NOW_MS, method=method, path=URL)
    refused(node.ask(method, headers={"Authorization": other.to_header()}), 403, "wrong_service")


def test_invalid_token_replayed(node: Node) -> None:
    node.put()
    refused(node.ask("DELETE", headers=token("PUT")), 401, "token_for_other_request")
    refused(node.ask("PUT", headers=token("PUT", "/content/" + "00" * 32)), 401, "token_for_other_request")
    assert node.files() == [HASH]


def test_invalid_token_expired(node: Node) -> None:
    headers = token("PUT", now_ms=NOW_MS - TOKEN_LIFE_MS - CLOCK_SKEW_MS - 1)
    refused(node.ask("PUT", content=DATA, headers=headers), 401, "token_expired")


@pytest.mark.parametrize("status", ["denied", "pending"])
def test_invalid_token_of_a_node_without_approval(node: Node, status: str) -> None:
    node.approve(status)
    refused(node.ask("PUT", content=DATA, headers=token("PUT")), 401, "unknown_key")


def test_invalid_token_is_refused_before_the_body_is_read(node: Node) -> None:
    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    refused(node.ask("PUT", content=never()), 401, "token_missing")


def test_invalid_hash_mismatch(node: Node) -> None:
    refused(node.ask("PUT", content=b"other", headers=token("PUT")), 400, "hash_mismatch")
    assert node.files() == []


def test_invalid_announced_too_large(node: Node) -> None:
    headers = {**token("PUT"), "Content-Length": str(MAX_BYTES + 1)}
    refused(node.ask("PUT", content=b"", headers=headers), 413, "content_too_large")


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "9" * 5000])
def test_invalid_content_length(node: Node, length: str) -> None:
    answer = node.ask("PUT", content=b"", headers={**token("PUT"), "Content-Length": length})
    refused(answer, 400, "invalid_input")


def test_invalid_too_large_without_an_announcement(node: Node) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * CHUNK_BYTES

    refused(node.ask("PUT", content=endless(), headers=token("PUT")), 413, "content_too_large")
    assert node.files() == []


@pytest.mark.parametrize("path", ["/content/abc", f"/content/{HASH.upper()}", "/content/..%5c..%5cetc", "/content/%00"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_invalid_hash(node: Node, method: str, path: str) -> None:
    headers = token(method, httpx.URL(f"http://t4{path}").path)
    refused(node.ask(method, path, headers=headers), 400, "malformed_hash")


@pytest.mark.parametrize("path", ["/content/../../etc/passwd", "/content/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/other"])
def test_invalid_path(node: Node, path: str) -> None:
    refused(node.ask("GET", path), 404, "not_found")


def test_invalid_method(node: Node) -> None:
    answer = node.ask("POST")
    refused(answer, 405, "method_not_allowed")
    assert {"GET", "HEAD", "PUT", "DELETE"} <= {name.strip() for name in answer.headers["Allow"].split(",")}


def test_invalid_full_disk(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    answer = node.ask("PUT", content=DATA, headers=token("PUT"))
    refused(answer, 503, "disk_full")
    assert answer.json()["remedy"]
    assert node.files() == []


def test_invalid_damaged_content(node: Node) -> None:
    node.put()
    node.store.get_path(HASH).write_bytes(b"rot")
    answer = node.ask("GET")
    refused(answer, 500, "content_damaged")
    assert "Cache-Control" not in answer.headers


def test_invalid_client_that_goes_away_in_the_middle(node: Node) -> None:
    scope = {
        "type": "http",
        "method": "PUT",
        "path": URL,
        "query_string": b"",
        "headers": [(b"authorization", token("PUT")["Authorization"].encode())],
    }
    piece: dict[str, Any] = {"type": "http.request", "body": DATA[:100], "more_body": True}
    incoming: Iterator[dict[str, Any]] = iter([piece, {"type": "http.disconnect"}])
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(incoming)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    run: Callable[..., Awaitable[None]] = node.app

    async def main() -> None:
        await run(scope, receive, send)

    asyncio.run(main())
    assert sent[0]["status"] == 400
    assert node.files() == []
