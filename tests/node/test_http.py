"""The listeners: bodies, paths and ports that are wrong, and waiting for a commit."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tana.node.api import NodeApi, NodeInfo
from tana.node.http import MAX_BODY_BYTES, HttpListener, NodeApp, open_listener
from tana.node.waiting import CommitWaiters
from tana.types.errors import SettingsError
from tests.node.chain import VALIDATOR
from tests.node.cluster import make_transfer, wait_until
from tests.node.test_api import Fixture


class _BrokenApi(NodeApi):
    def handle(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")


@contextlib.asynccontextmanager
async def serve_app(app: NodeApp) -> AsyncIterator[httpx.AsyncClient]:
    listener = open_listener("ledger", "127.0.0.1", 0)
    server = HttpListener(app, listener)
    server.start()
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
    finally:
        await server.stop()


def _make_app(node: Fixture) -> NodeApp:
    app = NodeApp("ledger", node.api)
    app.waiters = CommitWaiters(node.blocks)
    return app


def _commit(app: NodeApp, node: Fixture, *bodies: dict[str, Any]) -> None:
    step = node.chain.grow(*bodies)
    node.blocks.append(*step)
    assert app.waiters is not None
    app.waiters.on_commit(step[0], step[2].transaction_ids)


async def _wait_for_waiter(app: NodeApp) -> None:
    async def look() -> bool:
        assert app.waiters is not None
        return bool(app.waiters._waiters)

    await wait_until(look)


def test_wait_for_commit() -> None:
    async def play() -> None:
        node = Fixture()
        app = _make_app(node)
        async with serve_app(app) as client:
            request = asyncio.create_task(client.post("/transactions?wait=commit", json=make_transfer(3)))
            await _wait_for_waiter(app)
            _commit(app, node, make_transfer(3))
            response = await request
            answer = response.json()
            assert (response.status_code, answer["status"], answer["height"]) == (200, "committed", 3)
            assert answer["blockHash"] == node.chain.ledger.block_hash.hex()
            again = (await client.post("/transactions?wait=commit", json=make_transfer(3))).json()
            assert again == answer
            many = await client.post("/transactions?wait=commit", json=[make_transfer(3), {}])
            assert [row["status"] for row in many.json()["results"]] == ["committed", "refused"]
            assert app.waiters is not None
            assert app.waiters._waiters == {}

    asyncio.run(play())


def test_wait_ends_when_the_time_is_up() -> None:
    async def play() -> None:
        app = _make_app(Fixture())
        async with serve_app(app) as client:
            response = await client.post("/transactions?wait=commit&timeout_ms=1", json=make_transfer(3))
            assert (response.status_code, response.json()["status"]) == (202, "accepted")
            assert app.waiters is not None
            assert app.waiters._waiters == {}

    asyncio.run(play())


def test_wait_ends_when_the_transaction_is_dropped() -> None:
    async def play() -> None:
        app = _make_app(Fixture())
        assert app.waiters is not None
        async with serve_app(app) as client:
            request = asyncio.create_task(client.post("/transactions?wait=commit", json=make_transfer(3)))
            await _wait_for_waiter(app)
            app.waiters.on_dropped([(next(iter(app.waiters._waiters)), "expired")])
            response = await request
            assert (response.status_code, response.json()["code"]) == (409, "expired")

    asyncio.run(play())


def test_wait_ends_when_the_node_stops() -> None:
    async def play() -> None:
        app = _make_app(Fixture())
        assert app.waiters is not None
        async with serve_app(app) as client:
            request = asyncio.create_task(client.post("/transactions?wait=commit", json=make_transfer(3)))
            await _wait_for_waiter(app)
            app.waiters.close()
            assert (await request).json()["status"] == "accepted"

    asyncio.run(play())


def test_answers_may_hold_lone_surrogates() -> None:
    async def play() -> None:
        node = Fixture()
        node.api.info.reason = "\ud800"
        node.api._running = None
        async with serve_app(_make_app(node)) as client:
            assert json.loads((await client.get("/health")).content)["reason"] == "\ud800"

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("/transactions", b"", 400, "malformed_json"),
        ("/transactions", b"{", 400, "malformed_json"),
        ("/transactions", b"\xff\xfe", 400, "malformed_json"),
        ("/transactions", b"[" * 100_000, 400, "malformed_json"),
        ("/transactions", b" " * (MAX_BODY_BYTES + 1), 413, "too_large"),
        ("/transactions?wait=forever", b"{}", 400, "invalid_input"),
        ("/transactions?wait=commit&timeout_ms=0", b"{}", 400, "invalid_input"),
        ("/transactions?wait=commit&timeout_ms=x", b"{}", 400, "invalid_input"),
        ("/peers", b"{}", 404, "not_found"),
        ("//", b"{}", 404, "not_found"),
    ],
)
def test_invalid_request(path: str, content: bytes, status: int, code: str) -> None:
    async def play() -> None:
        async with serve_app(_make_app(Fixture())) as client:
            response = await client.post(path, content=content)
            assert (response.status_code, response.json()["code"]) == (status, code)
            assert (await client.get("/health")).status_code == 200

    asyncio.run(play())


def test_invalid_oversized_stream() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 65536 + 1):
            yield b" " * 65536

    async def play() -> None:
        async with serve_app(_make_app(Fixture())) as client:
            response = await client.post("/transactions", content=pieces())
            assert response.status_code == 413

    asyncio.run(play())


def test_bug_is_answered_without_a_stack_trace() -> None:
    async def play() -> None:
        api = _BrokenApi(NodeInfo("validator-1", VALIDATOR.public_key))
        async with serve_app(NodeApp("ledger", api)) as client:
            response = await client.get("/health")
            assert response.status_code == 500
            assert "Traceback" not in response.text
            assert response.json()["code"] == "internal"

    asyncio.run(play())


def test_invalid_port_taken() -> None:
    first = open_listener("ledger", "127.0.0.1", 0)
    port = first.getsockname()[1]
    with pytest.raises(SettingsError) as caught:
        open_listener("ledger", "127.0.0.1", port)
    first.close()
    assert str(port) in caught.value.message
    assert "--port-offset" in caught.value.remedy


def test_invalid_listen_host() -> None:
    with pytest.raises(SettingsError, match="cannot listen on"):
        open_listener("ledger", "no.such.host.invalid", 0)
