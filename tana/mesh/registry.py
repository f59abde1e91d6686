"""The rules of the mesh: who may be listed, and by whose word. Pure: time comes in, changes come out.

Theory of operation. `decide_…` checks a request against what is known and returns a `Decision` without touching
anything; the service writes its changes to the store and only then calls `apply`. So what is in memory, what is
answered and what is told to listeners is always on disk already.

Rules, which hold for every state that `apply` reaches:
1. An id and a node key are bound to each other once and for good, whatever becomes of the node.
2. pending → active or denied; active ↔ offline; any → denied; denied is final.
3. Only a registered sovereign's signature approves, denies, adds a sovereign or sets the genesis.
4. A node's heartbeat timestamps rise strictly.
5. There is at most one genesis, ever.

Doubt: approvals sign only `approve:{id}`, as existing sovereigns do. Rule 1 makes a replay harmless within one
registry; a sovereign that starts a new registry with the same key should not reuse the ids of the old one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tana.crypto.keys import Verifier, format_public_key, parse_public_key, parse_signature, verify
from tana.mesh import bodies
from tana.mesh.records import (
    ACTIVE,
    DENIED,
    OFFLINE,
    PENDING,
    Change,
    Consensus,
    Decision,
    EventDraft,
    Heartbeat,
    InsertGenesis,
    InsertNode,
    InsertSovereign,
    Node,
    Service,
    Snapshot,
    Sovereign,
    UpdateNode,
)
from tana.mesh.views import view_consensus
from tana.types.canonical import to_utf8
from tana.types.errors import Conflict, Forbidden, InvalidInput, NotFound, RateLimited, Unauthorized
from tana.types.genesis import SignedGenesis, parse_signed_genesis
from tana.types.mesh import approval_text, body_text, denial_text, heartbeat_text, registration_text, sovereign_text


@dataclass(frozen=True)
class MeshRules:
    """Bounds. A node without a heartbeat for `offline_after_ms` goes offline; a heartbeat's timestamp may be
    `clock_window_ms` away from the mesh's clock; more than `max_pending_nodes` waiting nodes are refused."""

    offline_after_ms: int = 300_000
    clock_window_ms: int = 60_000
    max_pending_nodes: int = 10_000


class Registry:
    """All that the mesh knows, in memory. Reads are attributes; writes are `decide_…`, store, `apply`."""

    def __init__(self, rules: MeshRules, snapshot: Snapshot, verifier: Verifier = verify) -> None:
        self.rules = rules
        self.sovereigns = {sovereign.public_key: sovereign for sovereign in snapshot.sovereigns}
        self.nodes = {node.id: node for node in snapshot.nodes}
        self.genesis: SignedGenesis | None = snapshot.genesis
        self._ids_by_key = {node.public_key: node.id for node in snapshot.nodes}
        self._verifier = verifier

    def get_node(self, node_id: str) -> Node:
        """A node by id. Raises `NotFound`."""
        node = self.nodes.get(node_id)
        if node is None:
            raise NotFound(
                f"no node {node_id[:63]!a} is registered",
                remedy="register it first: `tana mesh register`",
                code="unknown_node",
            )
        return node

    def list_nodes(self, status: str | None = None) -> list[Node]:
        """Nodes of one status, or all, in order of registration."""
        return [node for node in self.nodes.values() if status is None or node.status == status]

    def count_by_status(self, status: str) -> int:
        return sum(node.status == status for node in self.nodes.values())

    def decide_registration(self, body: Any, now_ms: int) -> Decision:
        """A new node asks to be listed: it is pending until a sovereign decides. 400, 401, 409, 429."""
        request = bodies.parse_body(body, bodies.Registration)
        text = registration_text(request.nodeId, request.publicKey, request.tailscaleHostname)
        self._check_signature(request.publicKey, text, request.signature, "signature")
        self._check_body_signature(request.publicKey, body, request.bodySignature)
        self._check_free(request.nodeId, request.publicKey)
        node = Node(
            id=request.nodeId,
            public_key=request.publicKey,
            tailscale_hostname=request.tailscaleHostname,
            tailscale_ip=request.tailscaleIP,
            services=tuple(Service(item.type, item.port, item.publicKey) for item in request.services),
            registration_signature=request.signature,
            body_signature=request.bodySignature,
            registered_ms=now_ms,
        )
        return Decision(
            201,
            {
                "success": True,
                "nodeId": node.id,
                "status": node.status,
                "message": "Registration received; a sovereign must approve it",
            },
            (InsertNode(node),),
            (EventDraft("registration", {"nodeId": node.id, "publicKey": node.public_key, "status": node.status}),),
        )

    def decide_approval(self, node_id: str, body: Any, now_ms: int) -> Decision:
        """A sovereign admits a node. Again for an admitted one changes nothing. 400, 401, 403, 404, 409."""
        approver = self._check_sovereign_decision(body, approval_text(node_id))
        node = self.get_node(node_id)
        if node.status == DENIED:
            raise Conflict(
                f"node {node_id} is denied, and that is final",
                remedy="register under a new id with a new key",
                code="denied",
            )
        if node.status != PENDING:
            return Decision(200, _describe(node))
        approved = replace(node, status=ACTIVE, approved_ms=now_ms, approved_by=approver)
        event = EventDraft("approval", {"nodeId": node_id, "approvedBy": approver})
        return Decision(
            200, _describe(approved), (UpdateNode(approved),), (event, _status_event(node_id, PENDING, ACTIVE))
        )

    def decide_denial(self, node_id: str, body: Any, now_ms: int) -> Decision:
        """A sovereign refuses a node, or revokes one that was admitted, for good. 400, 401, 403, 404."""
        approver = self._check_sovereign_decision(body, denial_text(node_id))
        node = self.get_node(node_id)
        if node.status == DENIED:
            return Decision(200, _describe(node))
        denied = replace(node, status=DENIED, denied_ms=now_ms, denied_by=approver)
        event = EventDraft("denial", {"nodeId": node_id, "deniedBy": approver})
        return Decision(
            200, _describe(denied), (UpdateNode(denied),), (event, _status_event(node_id, node.status, DENIED))
        )

    def decide_heartbeat(self, body: Any, now_ms: int) -> Decision:
        """An admitted node says that it lives; an offline one is active again. 400, 401, 403, 404.

        Without `bodySignature` only id and time are proven: the address in use stays, the rest is for display.
        """
        request = bodies.parse_body(body, bodies.HeartbeatBody)
        node = self.get_node(request.nodeId)
        text = heartbeat_text(request.nodeId, request.timestamp)
        self._check_signature(node.public_key, text, request.signature, "signature")
        self._check_body_signature(node.public_key, body, request.bodySignature)
        if node.status not in (ACTIVE, OFFLINE):
            raise Forbidden(
                f"node {node.id} is {node.status}",
                remedy="wait for a sovereign's approval" if node.status == PENDING else "denied is final",
                code="not_approved" if node.status == PENDING else "denied",
            )
        self._check_heartbeat_time(node, request.timestamp, now_ms)
        beating = self._apply_heartbeat(node, request, now_ms)
        told = beating.heartbeat
        assert told is not None
        data: dict[str, Any] = {
            "nodeId": node.id,
            "timestamp": request.timestamp,
            "signed": told.body_signed,
            "services": [{"type": service.type, "healthy": service.healthy} for service in beating.services],
            "consensus": view_consensus(told.consensus) if told.consensus else None,
        }
        events = [EventDraft("heartbeat", data)]
        if node.status == OFFLINE:
            events.append(_status_event(node.id, OFFLINE, ACTIVE))
        return Decision(200, {"success": True, "timestamp": now_ms}, (UpdateNode(beating),), tuple(events))

    def decide_sovereign_addition(self, body: Any, now_ms: int) -> Decision:
        """An existing sovereign vouches for another. Again changes nothing. 400, 401, 403."""
        request = bodies.parse_body(body, bodies.SovereignAddition)
        approver = self._check_sovereign(request.approverPublicKey)
        parse_public_key(request.publicKey)
        self._check_signature(approver, sovereign_text(request.publicKey), request.signature, "signature")
        answer = {"success": True, "publicKey": request.publicKey}
        if request.publicKey in self.sovereigns:
            return Decision(200, answer)
        change = InsertSovereign(Sovereign(request.publicKey, approver, now_ms))
        event = EventDraft("sovereign", {"publicKey": request.publicKey, "addedBy": approver})
        return Decision(201, answer, (change,), (event,))

    def decide_genesis(self, body: Any) -> Decision:
        """A sovereign publishes the genesis, once; the same again changes nothing. 400, 401, 403, 409."""
        try:
            signed = parse_signed_genesis(body)
        except UnicodeEncodeError:
            raise InvalidInput(
                "the genesis is no UTF-8: a lone surrogate", code="invalid_text", field="genesis"
            ) from None
        sovereign = self._check_sovereign(signed.genesis.sovereign)
        self._check_signature(sovereign, signed.genesis.to_text(), signed.signature, "signature")
        chain_id = signed.chain_id.hex()
        answer = {"success": True, "chainId": chain_id}
        if self.genesis is None:
            event = EventDraft("genesis", {"chainId": chain_id})
            return Decision(201, answer, (InsertGenesis(signed),), (event,))
        if self.genesis.chain_id != signed.chain_id:
            raise Conflict(
                f"there is a genesis already, of chain {self.genesis.chain_id.hex()}",
                remedy="use that one, or start a new mesh with its own database for another chain",
                code="genesis_exists",
            )
        return Decision(200, answer)

    def decide_liveness(self, now_ms: int, watching_since_ms: int) -> Decision:
        """Active nodes whose last heartbeat came too long ago go offline.

        Counted from when the mesh received it, or from the approval; and at the earliest from when this mesh began
        to watch: while it was down nobody could reach it.
        """
        silent = []
        for node in self.nodes.values():
            heard_ms = node.heartbeat.received_ms if node.heartbeat else 0
            since_ms = max(heard_ms, node.approved_ms or 0, watching_since_ms)
            if node.status == ACTIVE and now_ms - since_ms >= self.rules.offline_after_ms:
                silent.append(node)
        changes = tuple(UpdateNode(replace(node, status=OFFLINE)) for node in silent)
        return Decision(200, {}, changes, tuple(_status_event(node.id, ACTIVE, OFFLINE) for node in silent))

    def verify_sovereign(self, body: Any) -> dict[str, Any]:
        """Whether a sovereign (the one named, or any) signed a message: `{valid, publicKey}`. 400."""
        request = bodies.parse_body(body, bodies.SovereignQuestion)
        candidates: Iterable[str] = self.sovereigns
        if request.publicKey is not None:
            named = format_public_key(parse_public_key(request.publicKey))
            candidates = [named] if named in self.sovereigns else []
        signer = next((key for key in candidates if self._is_signed(key, request.message, request.signature)), None)
        return {"valid": signer is not None, "publicKey": signer or request.publicKey}

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over changes that `decide_…` returned and that the store has written."""
        for change in changes:
            match change:
                case InsertNode(node):
                    assert node.id not in self.nodes
                    assert node.public_key not in self._ids_by_key
                    self.nodes[node.id] = node
                    self._ids_by_key[node.public_key] = node.id
                case UpdateNode(node):
                    assert self.nodes[node.id].public_key == node.public_key
                    self.nodes[node.id] = node
                case InsertSovereign(sovereign):
                    self.sovereigns[sovereign.public_key] = sovereign
                case InsertGenesis(signed):
                    assert self.genesis is None
                    self.genesis = signed

    def _check_free(self, node_id: str, public_key: str) -> None:
        if node_id in self.nodes:
            raise Conflict(
                f"the id {node_id} is taken ({self.nodes[node_id].status})",
                remedy=f"look at it with `tana mesh status {node_id}`, or choose another --node-id",
                code="already_registered",
                field="nodeId",
            )
        if public_key in self._ids_by_key:
            raise Conflict(
                f"the key is registered already, as {self._ids_by_key[public_key]}",
                remedy="use that id, or make a new key with `tana keys new`",
                code="already_registered",
                field="publicKey",
            )
        if self.count_by_status(PENDING) >= self.rules.max_pending_nodes:
            raise RateLimited("too many nodes wait for approval", remedy="a sovereign must approve or deny some first")

    def _check_heartbeat_time(self, node: Node, timestamp_ms: int, now_ms: int) -> None:
        if abs(timestamp_ms - now_ms) > self.rules.clock_window_ms:
            raise InvalidInput(
                f"timestamp is {timestamp_ms - now_ms} ms away from the mesh's clock, more than "
                f"{self.rules.clock_window_ms} ms",
                remedy="set the clocks of node and mesh (NTP)",
                code="clock_window",
                field="timestamp",
            )
        if node.heartbeat is not None and timestamp_ms <= node.heartbeat.timestamp_ms:
            raise InvalidInput(
                f"timestamp {timestamp_ms} does not rise: the last heartbeat had {node.heartbeat.timestamp_ms}",
                remedy="send each heartbeat once, with a later time",
                code="timestamp_not_rising",
                field="timestamp",
            )

    def _apply_heartbeat(self, node: Node, request: bodies.HeartbeatBody, now_ms: int) -> Node:
        body_signed = request.bodySignature is not None
        report = request.consensus
        consensus = Consensus(report.height, report.blockHash, report.stateRoot, report.state) if report else None
        health = {item.type: item for item in request.services or ()}
        services = tuple(
            replace(service, healthy=health[service.type].healthy, last_check=health[service.type].lastCheck)
            if service.type in health
            else service
            for service in node.services
        )
        return replace(
            node,
            status=ACTIVE,
            services=services,
            tailscale_ip=request.tailscaleIP if body_signed and request.tailscaleIP else node.tailscale_ip,
            heartbeat=Heartbeat(now_ms, request.timestamp, body_signed, request.tailscaleIP, consensus),
        )

    def _check_sovereign_decision(self, body: Any, text: str) -> str:
        """The printed key of the sovereign that signed `text` in an approve or deny body."""
        request = bodies.parse_body(body, bodies.SovereignDecision)
        approver = self._check_sovereign(request.approverPublicKey)
        self._check_signature(approver, text, request.signature, "signature")
        return approver

    def _check_sovereign(self, public_key: str) -> str:
        printed = format_public_key(parse_public_key(public_key, "approverPublicKey"))
        if printed not in self.sovereigns:
            raise Forbidden(
                f"{printed} is no sovereign of this mesh",
                remedy="use the sovereign's key, or let an existing sovereign add this one",
                code="not_sovereign",
            )
        return printed

    def _check_body_signature(self, public_key: str, body: dict[str, Any], signature: str | None) -> None:
        if signature is not None:
            self._check_signature(public_key, body_text(body), signature, "bodySignature")

    def _check_signature(self, public_key: str, text: str, signature: str, field: str) -> None:
        if not self._is_signed(public_key, text, signature):
            raise Unauthorized(
                f"{field} does not verify",
                remedy="sign with the private key of the public key that is named or registered",
                code="bad_signature",
                field=field,
            )

    def _is_signed(self, public_key: str, text: str, signature: str) -> bool:
        """Whether it verifies. What has not even the form of a signature is a signature that does not verify."""
        try:
            parsed = parse_signature(signature)
        except InvalidInput:
            return False
        return self._verifier(parse_public_key(public_key), to_utf8(text), parsed)


def _describe(node: Node) -> dict[str, Any]:
    return {"success": True, "nodeId": node.id, "status": node.status}


def _status_event(node_id: str, before: str, after: str) -> EventDraft:
    return EventDraft("status", {"nodeId": node_id, "from": before, "to": after})
