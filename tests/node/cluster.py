"""A mesh and validators in one event loop, with ports from the system, for tests of the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import structlog

from tana.client.registration import build_approval, build_denial, build_signed_genesis
from tana.crypto.keys import KeyPair, format_signature
from tana.mesh.app import create_app
from tana.mesh.memory import MemoryStore
from tana.mesh.service import MeshService
from tana.node.hooks import Hooks
from tana.node.http import HttpListener, open_listener
from tana.node.runtime import run_validator
from tana.node.settings import ValidatorSettings
from tana.types.genesis import (
    Genesis,
    GenesisAccount,
    GenesisCurrency,
    GenesisParameters,
    GenesisValidator,
    SignedGenesis,
)
from tana.types.transaction import Transaction

DEADLINE_S = 60.0
_Value = TypeVar("_Value")


def make_key(name: str) -> KeyPair:
    """The same key for the same name in every run."""
    return KeyPair.from_seed(name.encode().ljust(32, b"."))


SOVEREIGN = make_key("sovereign")
ALICE = make_key("alice")
BOB = make_key("bob")


async def wait_until(look: Callable[[], Awaitable[_Value | None]], deadline_s: float = DEADLINE_S) -> _Value:
    """The first truthy result of `look`, asked again and again; fails the test at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = await look()
        if value:
            return value
        assert time.monotonic() < end, f"the condition {look} never held"
        await asyncio.sleep(0.01)


def make_genesis(validators: dict[str, bytes]) -> SignedGenesis:
    """A genesis of these validators with power 1 each; alice has 100.00 USD, bob has an empty account."""
    genesis = Genesis(
        version=1,
        createdAt=1_700_000_000_000,
        sovereign=SOVEREIGN.public_text,
        currencies=(GenesisCurrency("USD", 2),),
        validators=tuple(GenesisValidator(name, "ed25519_" + key.hex(), 1) for name, key in sorted(validators.items())),
        accounts=(
            GenesisAccount(ALICE.public_text, "@alice", "user", {"USD": "100.00"}),
            GenesisAccount(BOB.public_text, "@bob", "user", {}),
        ),
        parameters=GenesisParameters(),
    )
    return build_signed_genesis(SOVEREIGN, genesis)


def make_transfer(
    nonce: int, amount: str = "1.00", sender: KeyPair = ALICE, recipient: KeyPair = BOB
) -> dict[str, Any]:
    """The body of a signed transfer."""
    transaction = Transaction(
        "transfer", sender.public_text, recipient.public_text, 1_700_000_000_000, nonce, amount, "USD"
    )
    signature = sender.sign(transaction.to_text().encode())
    return {**transaction.to_json(), "signature": format_signature(signature)}


@dataclass
class Mesh:
    """A mesh in memory that answers on a port."""

    service: MeshService
    url: str

    def call(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        status, answer = self.service.handle(method, path, query or {}, body, time.time_ns() // 1_000_000)
        assert status < 400, answer
        return answer

    def list_nodes(self, status: str = "all") -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.call("GET", "/nodes", query={"status": status})["nodes"]
        return nodes

    def approve(self, node_id: str) -> None:
        self.call("POST", f"/approve/{node_id}", build_approval(SOVEREIGN, node_id))

    def deny(self, node_id: str) -> None:
        self.call("POST", f"/deny/{node_id}", build_denial(SOVEREIGN, node_id))

    def publish_genesis(self) -> SignedGenesis:
        """A genesis of all active nodes."""
        signed = make_genesis({node["id"]: bytes.fromhex(node["public_key"][8:]) for node in self.list_nodes("active")})
        self.call("PUT", "/genesis", signed.to_json())
        return signed


@contextlib.asynccontextmanager
async def run_mesh() -> AsyncIterator[Mesh]:
    service = MeshService(MemoryStore(), SOVEREIGN.public_text)
    listener = open_listener("mesh", "127.0.0.1", 0)
    server = HttpListener(create_app(service), listener)
    server.start()
    try:
        yield Mesh(service, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        await server.stop()


@dataclass
class Node:
    """One validator in this event loop, which can be stopped and started again on the same ports."""

    settings: ValidatorSettings
    hooks: Hooks = field(default_factory=Hooks)
    ports: dict[str, int] = field(default_factory=dict)
    stop_event: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def node_id(self) -> str:
        return self.settings.node_id

    async def start(self) -> None:
        """Return once all four listeners answer."""
        listening: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        self.stop_event = asyncio.Event()
        self.task = asyncio.create_task(
            run_validator(self.settings, self.hooks, stop=self.stop_event, on_listening=listening.set_result)
        )
        waiting: list[asyncio.Future[Any]] = [self.task, listening]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            await self.task
        self.ports = listening.result()
        # A node that comes back is where the mesh said it is.
        self.settings = _with_ports(self.settings, self.ports)

    async def stop(self) -> None:
        self.stop_event.set()
        assert self.task is not None, "it was started"
        await self.task

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"


def _with_ports(settings: ValidatorSettings, ports: dict[str, int]) -> ValidatorSettings:
    return msgspec.structs.replace(settings, **{f"{name}_port": port for name, port in ports.items()})


class Cluster:
    """A mesh and nodes; `get` and `post` are requests to a node."""

    def __init__(self, mesh: Mesh, root: Path) -> None:
        self.mesh = mesh
        self.root = root
        self.nodes: list[Node] = []
        self._http = httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S)

    def make_settings(self, node_id: str, **changes: Any) -> ValidatorSettings:
        values: dict[str, Any] = {
            "node_id": node_id,
            "sovereign": SOVEREIGN.public_text,
            "mesh_url": self.mesh.url,
            "data_dir": str(self.root / node_id),
            "config_dir": str(self.root / "config"),
            "ledger_port": 0,
            "t4_port": 0,
            "peer_port": 0,
            "status_port": 0,
            "heartbeat_interval_ms": 500,
            "empty_block_interval_ms": 50,
            "propose_timeout_ms": 200,
            "prevote_timeout_ms": 100,
            "precommit_timeout_ms": 100,
        }
        return ValidatorSettings(**(values | changes))

    async def start_node(self, node_id: str, hooks: Hooks | None = None, **changes: Any) -> Node:
        node = Node(self.make_settings(node_id, **changes), hooks or Hooks())
        await node.start()
        self.nodes.append(node)
        return node

    async def start_approved(self, count: int, *, height: int = 0, **changes: Any) -> SignedGenesis:
        """Start, approve and write the genesis, like a sovereign does; then wait until all have come to `height`."""
        for index in range(1, count + 1):
            node = await self.start_node(f"validator-{index}", **changes)
            await self.wait_registered(node.node_id)
            self.mesh.approve(node.node_id)
        signed = self.mesh.publish_genesis()
        for node in self.nodes if height else ():
            await self.wait_height(node, height)
        return signed

    async def wait_registered(self, node_id: str) -> None:
        async def look() -> bool:
            self.check_alive()
            return any(node["id"] == node_id for node in self.mesh.list_nodes())

        await wait_until(look)

    async def get(self, node: Node, port: str, path: str) -> Any:
        return (await self._http.get(node.url(port) + path)).json()

    async def post(self, node: Node, path: str, body: Any) -> tuple[int, Any]:
        response = await self._http.post(node.url("ledger") + path, json=body)
        return response.status_code, response.json()

    def check_alive(self) -> None:
        """Raise what ended a node that nobody stopped."""
        for node in self.nodes:
            if node.task is not None and node.task.done() and not node.stop_event.is_set():
                node.task.result()

    async def get_health(self, node: Node) -> dict[str, Any]:
        self.check_alive()
        health: dict[str, Any] = await self.get(node, "status", "/health")
        return health

    async def wait_state(self, node: Node, state: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            health = await self.get_health(node)
            return health if health["state"] == state else None

        return await wait_until(look)

    async def wait_height(self, node: Node, height: int) -> None:
        async def look() -> bool:
            return bool((await self.get_health(node))["currentHeight"] >= height)

        await wait_until(look)

    async def close(self) -> None:
        for node in self.nodes:
            if node.task is not None and not node.task.done():
                await node.stop()
        await self._http.aclose()


@contextlib.asynccontextmanager
async def run_cluster(root: Path) -> AsyncIterator[Cluster]:
    """A mesh, and a place for nodes, all gone at the end."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[lambda *_: ""])
    async with run_mesh() as mesh:
        cluster = Cluster(mesh, root)
        try:
            yield cluster
        finally:
            await cluster.close()
