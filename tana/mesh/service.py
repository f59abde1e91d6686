"""The mesh without sockets: every call of its HTTP surface as a function of JSON values and the time.

Served over HTTP by `tana.mesh.app`, called directly by simulations. Synchronous, for one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from tana import __version__
from tana.crypto.keys import Verifier, format_public_key, parse_public_key, verify
from tana.mesh import bodies
from tana.mesh.events import Event, EventLog, Listener
from tana.mesh.memory import MeshStore
from tana.mesh.records import ACTIVE, STATUSES, Decision, InsertSovereign, Sovereign
from tana.mesh.registry import MeshRules, Registry
from tana.mesh.route import Answer, Call, Route
from tana.mesh.views import view_node, view_topology_node, view_validator
from tana.types.errors import InvalidInput, NotFound, StorageError, TanaError

MAX_GENESIS_BYTES = 4 * 1024 * 1024
"""A genesis may list many accounts; every other body is bounded by the settings."""


class MeshService:
    """Registry, store and events behind the calls of `ROUTES`.

    `sovereign` is the printed public key of the first sovereign. Raises `StorageError` where the store was made with
    another one.
    """

    def __init__(
        self,
        store: MeshStore,
        sovereign: str,
        rules: MeshRules | None = None,
        *,
        now_ms: int = 0,
        verifier: Verifier = verify,
    ) -> None:
        first = format_public_key(parse_public_key(sovereign, "sovereign"))
        snapshot = store.load()
        if not snapshot.sovereigns:
            store.write((InsertSovereign(Sovereign(first, None, now_ms)),), snapshot.last_event_id)
            snapshot = store.load()
        if snapshot.sovereigns[0].public_key != first:
            raise StorageError(
                f"the mesh database was made with the sovereign {snapshot.sovereigns[0].public_key}, "
                f"but the settings say {first}",
                remedy="start with the sovereign it was made with, or give another file with --db or MESH_DB_PATH",
                code="other_sovereign",
            )
        self.registry = Registry(rules or MeshRules(), snapshot, verifier)
        self.events = EventLog(snapshot.last_event_id)
        self._store = store
        self._watching_since_ms: int | None = None

    def handle(self, method: str, path: str, query: Mapping[str, str], body: Any, now_ms: int) -> Answer:
        """Answer one request: HTTP status and JSON. Never raises for what a request says."""
        allowed = False
        for route in ROUTES:
            node_id = route.match(path)
            if node_id is None:
                continue
            allowed = True
            if route.method == method:
                return self.answer(route.perform, Call(now_ms, body, query, unquote(node_id)))
        if allowed:
            return 405, {"error": f"{path} does not take {method}", "code": "method_not_allowed"}
        missing = NotFound(f"the mesh has no {path[:80]!a}", code="no_such_path")
        return missing.http_status, missing.to_json()

    def answer(self, perform: Callable[[MeshService, Call], Answer], call: Call) -> Answer:
        """The answer of one call, with errors as the JSON that clients read."""
        try:
            return perform(self, call)
        except TanaError as error:
            return error.http_status, error.to_json()

    def register(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_registration(call.body, call.now_ms), call.now_ms)

    def approve(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_approval(call.node_id, call.body, call.now_ms), call.now_ms)

    def deny(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_denial(call.node_id, call.body, call.now_ms), call.now_ms)

    def heartbeat(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_heartbeat(call.body, call.now_ms), call.now_ms)

    def add_sovereign(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_sovereign_addition(call.body, call.now_ms), call.now_ms)

    def verify_sovereign(self, call: Call) -> Answer:
        return 200, self.registry.verify_sovereign(call.body)

    def put_genesis(self, call: Call) -> Answer:
        return self._commit(self.registry.decide_genesis(call.body), call.now_ms)

    def get_genesis(self, call: Call) -> Answer:
        if self.registry.genesis is None:
            raise NotFound(
                "there is no genesis yet", remedy="the sovereign makes it: `tana genesis create`", code="no_genesis"
            )
        return 200, self.registry.genesis.to_json()

    def list_nodes(self, call: Call) -> Answer:
        status = call.query.get("status", ACTIVE)
        if status != "all" and status not in STATUSES:
            raise InvalidInput(
                f"status {status[:40]!a} is unknown", remedy=f"one of {', '.join(STATUSES)}, all", field="status"
            )
        nodes = self.registry.list_nodes(None if status == "all" else status)
        return 200, {"nodes": [view_node(node) for node in nodes]}

    def get_node(self, call: Call) -> Answer:
        return 200, {"node": view_node(self.registry.get_node(call.node_id))}

    def get_topology(self, call: Call) -> Answer:
        return 200, {"nodes": [view_topology_node(node) for node in self.registry.list_nodes(ACTIVE)]}

    def list_active_validators(self, call: Call) -> Answer:
        found = [(node, node.get_service("consensus")) for node in self.registry.list_nodes(ACTIVE)]
        return 200, {"validators": [view_validator(node, service.port) for node, service in found if service]}

    def get_health(self, call: Call) -> Answer:
        return 200, {"status": "ok", "service": "mesh"}

    def get_info(self, call: Call) -> Answer:
        registry = self.registry
        return 200, {
            "service": "mesh",
            "version": __version__,
            "nodes": {status: registry.count_by_status(status) for status in STATUSES},
            "sovereigns": list(registry.sovereigns),
            "chainId": registry.genesis.chain_id.hex() if registry.genesis else None,
            "offlineAfterMs": registry.rules.offline_after_ms,
            "clockWindowMs": registry.rules.clock_window_ms,
            "lastEventId": self.events.last_id,
        }

    def check_liveness(self, now_ms: int) -> tuple[Event, ...]:
        """Take the silent nodes offline; returns what was told. Call it regularly; counting begins with the first call.

        Raises `StorageError` where that cannot be written; the next call tries again.
        """
        if self._watching_since_ms is None:
            self._watching_since_ms = now_ms
        return self._write(self.registry.decide_liveness(now_ms, self._watching_since_ms), now_ms)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each `Event` from now on, once it is durable; the returned function ends that."""
        return self.events.subscribe(listener)

    def close(self) -> None:
        self._store.close()

    def _commit(self, decision: Decision, now_ms: int) -> Answer:
        self._write(decision, now_ms)
        return decision.status, decision.answer

    def _write(self, decision: Decision, now_ms: int) -> tuple[Event, ...]:
        """Durable before visible: store, then memory, then listeners; what follows is the answer."""
        if not decision.changes:
            return ()
        self._store.write(decision.changes, self.events.last_id + len(decision.events))
        self.registry.apply(decision.changes)
        return self.events.publish(decision.events, now_ms)


ROUTES: tuple[Route, ...] = (
    Route("POST", "/register", MeshService.register, "A node asks to be listed", bodies.Registration),
    Route("GET", "/nodes", MeshService.list_nodes, "Nodes of one status (default active), or all"),
    Route("GET", "/nodes/{id}", MeshService.get_node, "One node"),
    Route("GET", "/topology", MeshService.get_topology, "Active nodes with their services"),
    Route("POST", "/approve/{id}", MeshService.approve, "A sovereign admits a node", bodies.SovereignDecision),
    Route("POST", "/deny/{id}", MeshService.deny, "A sovereign refuses a node, for good", bodies.SovereignDecision),
    Route("POST", "/heartbeat", MeshService.heartbeat, "An admitted node says that it lives", bodies.HeartbeatBody),
    Route("GET", "/validators/active", MeshService.list_active_validators, "Peer links of active nodes"),
    Route(
        "POST", "/sovereign/add", MeshService.add_sovereign, "A sovereign vouches for another", bodies.SovereignAddition
    ),
    Route(
        "POST",
        "/sovereign/verify",
        MeshService.verify_sovereign,
        "Did a sovereign sign this?",
        bodies.SovereignQuestion,
    ),
    Route(
        "PUT",
        "/genesis",
        MeshService.put_genesis,
        "The sovereign publishes {genesis, signature}, once",
        max_body_bytes=MAX_GENESIS_BYTES,
    ),
    Route("GET", "/genesis", MeshService.get_genesis, "The published genesis"),
    Route("GET", "/health", MeshService.get_health, "Is the mesh up?"),
    Route("GET", "/info", MeshService.get_info, "Counts by status, sovereigns, chain"),
)
