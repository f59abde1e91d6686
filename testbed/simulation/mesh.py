"""The mesh of a simulated run: the real rules over a store in memory, and what nodes remember of it while it is down.

It admits and discovers, it never decides who votes. A node links to whoever the mesh has approved and to whoever is in
the chain's set; a node that is denied and has left the set is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tana.client.registration import (
    build_approval,
    build_denial,
    build_heartbeat,
    build_registration,
    build_service,
    build_signed_genesis,
)
from tana.crypto.keys import Signer, Verifier, format_public_key
from tana.mesh.memory import MemoryStore
from tana.mesh.service import MeshService
from tana.types.genesis import Genesis
from testbed.simulation.node import Identity

TRUSTED = ("active", "offline")
HOST = "127.0.0.1"
PEER_PORT = 9000


class SimulatedMesh:
    """`is_up` False: it answers nobody. `approved` are the keys that nodes know to be approved."""

    def __init__(self, sovereign: Signer, verifier: Verifier, now_ms: int) -> None:
        self.is_up = True
        self.approved: frozenset[bytes] = frozenset()
        self.unanswered = 0
        """How many calls came while it was down."""
        self._sovereign = sovereign
        public_key = format_public_key(sovereign.public_key)
        self._service = MeshService(MemoryStore(), public_key, now_ms=now_ms, verifier=verifier)

    def bring_up(self, identities: Sequence[Identity], genesis: Genesis, now_ms: int) -> None:
        """Every node registers, the sovereign approves each and puts the genesis."""
        for identity in identities:
            text = format_public_key(identity.key)
            services = [build_service("consensus", PEER_PORT, text)]
            body = build_registration(identity.signer, identity.name, identity.name, HOST, services)
            self._require("POST", "/register", body, now_ms)
            self._require("POST", f"/approve/{identity.name}", build_approval(self._sovereign, identity.name), now_ms)
        signed = build_signed_genesis(self._sovereign, genesis)
        self._require("PUT", "/genesis", signed.to_json(), now_ms)
        self._read_approved()

    def beat(self, identity: Identity, node_ms: int, now_ms: int) -> None:
        """A heartbeat of a node, with its own clock's time. What the mesh shows of it decides nothing."""
        self._call("POST", "/heartbeat", build_heartbeat(identity.signer, identity.name, node_ms, HOST), now_ms)

    def deny(self, name: str, now_ms: int) -> bool:
        """The sovereign denies a node for good; False where the mesh does not answer."""
        status, _ = self._call("POST", f"/deny/{name}", build_denial(self._sovereign, name), now_ms)
        return status == 200

    def _require(self, method: str, path: str, body: Any, now_ms: int) -> None:
        status, answer = self._call(method, path, body, now_ms)
        assert status in (200, 201), f"{path}: {answer}"

    def _call(self, method: str, path: str, body: Any, now_ms: int) -> tuple[int, Any]:
        if not self.is_up:
            self.unanswered += 1
            return 0, "connection refused"
        answer = self._service.handle(method, path, {}, body, now_ms)
        if method == "POST" and not path.startswith("/heartbeat"):
            self._read_approved()
        return answer

    def _read_approved(self) -> None:
        nodes = self._service.registry.list_nodes()
        self.approved = frozenset(bytes.fromhex(node.public_key[8:]) for node in nodes if node.status in TRUSTED)
