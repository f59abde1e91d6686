"""A mesh in memory with a sovereign and a clock, for tests of its rules without sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tana.client.registration import (
    Body,
    build_approval,
    build_denial,
    build_heartbeat,
    build_registration,
    build_service,
    build_signed_genesis,
)
from tana.crypto.keys import KeyPair
from tana.mesh.events import Event
from tana.mesh.memory import MemoryStore, MeshStore
from tana.mesh.registry import MeshRules
from tana.mesh.service import MeshService
from tana.types.genesis import SignedGenesis, parse_genesis
from tana.types.mesh import body_text

VECTORS = Path(__file__).parents[1] / "vectors" / "wire.json"
START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
Answer = tuple[int, dict[str, Any]]


def make_key(name: str) -> KeyPair:
    """The same key for the same name in every run."""
    return KeyPair.from_seed(name.encode().ljust(32, b"."))


SOVEREIGN = make_key("sovereign")


def read_vectors(section: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(VECTORS.read_text())[section]
    return rows


def make_registration(name: str = "validator-0", key: KeyPair | None = None) -> Body:
    """A signed registration of three services, as our own client sends it."""
    services = [
        build_service(kind, port, make_key(f"{name} {kind}").public_text)
        for kind, port in (("ledger", 8080), ("t4", 8180), ("consensus", 9000))
    ]
    return build_registration(key or make_key(name), name, f"{name}.local.ts.net", "100.64.0.7", services)


def make_unsigned_body(body: Body) -> Body:
    """The body as an older client sends it: only the short text is signed."""
    return {name: value for name, value in body.items() if name != "bodySignature"}


def sign_body_again(body: Body, key: KeyPair) -> Body:
    """A changed body with a right `bodySignature`."""
    return body | {"bodySignature": key.sign_text(body_text(body))}


def make_genesis(sovereign: KeyPair = SOVEREIGN, created_ms: int = START_MS) -> SignedGenesis:
    genesis = parse_genesis(
        {
            "version": 1,
            "createdAt": created_ms,
            "sovereign": sovereign.public_text,
            "currencies": [{"code": "USD", "decimals": 2}],
            "validators": [{"nodeId": "validator-0", "publicKey": make_key("validator-0").public_text, "power": 1}],
            "accounts": [],
            "parameters": {},
        }
    )
    return build_signed_genesis(sovereign, genesis)


class World:
    """A service over a store, its clock, and everything it told."""

    def __init__(self, store: MeshStore | None = None, rules: MeshRules | None = None) -> None:
        self.store = store or MemoryStore()
        self.rules = rules
        self.now_ms = START_MS
        self.events: list[Event] = []
        self.restart()

    def restart(self) -> None:
        """Forget everything but the store."""
        self.service = MeshService(self.store, SOVEREIGN.public_text, self.rules, now_ms=self.now_ms)
        self.service.subscribe(self.events.append)

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        return self.service.handle(method, path, query, body, self.now_ms)

    def register(self, name: str = "validator-0") -> Answer:
        return self.call("POST", "/register", make_registration(name))

    def approve(self, name: str = "validator-0", sovereign: KeyPair = SOVEREIGN) -> Answer:
        return self.call("POST", f"/approve/{name}", build_approval(sovereign, name))

    def deny(self, name: str = "validator-0", sovereign: KeyPair = SOVEREIGN) -> Answer:
        return self.call("POST", f"/deny/{name}", build_denial(sovereign, name))

    def beat(self, name: str = "validator-0", **details: Any) -> Answer:
        """A heartbeat one millisecond later than anything before."""
        self.now_ms += 1
        return self.call("POST", "/heartbeat", build_heartbeat(make_key(name), name, self.now_ms, **details))

    def admit(self, name: str = "validator-0") -> None:
        """Registered and approved."""
        assert self.register(name)[0] == 201
        assert self.approve(name)[0] == 200

    def get_node(self, name: str = "validator-0") -> dict[str, Any]:
        status, answer = self.call("GET", f"/nodes/{name}")
        assert status == 200
        node: dict[str, Any] = answer["node"]
        return node

    def list_told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == kind]
