"""The client of a mesh: ours, and the TypeScript one where their calls are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Self
from urllib.parse import quote

import httpx
import msgspec

from tana.client.http import HttpClient
from tana.client.registration import (
    Body,
    build_approval,
    build_denial,
    build_sovereign_addition,
)
from tana.crypto.keys import Signer
from tana.types.errors import Conflict, InvalidInput, NotFound, Unavailable
from tana.types.genesis import SignedGenesis, parse_signed_genesis

DEFAULT_MESH_URL = "http://localhost:8190"
STATUSES = ("pending", "active", "offline", "denied")

# The TypeScript mesh may print times as text.
_Time = int | float | str | None


class MeshService(msgspec.Struct, frozen=True):
    """A service of a node as `GET /nodes` shows it. `healthy` is None until a heartbeat told."""

    service_type: str
    port: int
    public_key: str
    healthy: bool | int | None = None
    last_check: _Time = None


class MeshNode(msgspec.Struct, frozen=True):
    """A node as `GET /nodes` shows it; times are Unix milliseconds of the mesh's clock."""

    id: str
    public_key: str
    tailscale_hostname: str
    status: str
    tailscale_ip: str | None = None
    registered_at: _Time = None
    approved_at: _Time = None
    approved_by: str | None = None
    last_heartbeat: _Time = None
    registration_signature: str | None = None
    registration_body_signed: bool | None = None
    heartbeat_timestamp: int | None = None
    heartbeat_signed: bool | None = None
    reported_ip: str | None = None
    consensus: dict[str, Any] | None = None
    services: tuple[MeshService, ...] = ()

    def get_service(self, service_type: str) -> MeshService | None:
        return next((service for service in self.services if service.service_type == service_type), None)


class MeshEvent(msgspec.Struct, frozen=True):
    """One event of `GET /events`. `id` rises, also over restarts of the mesh; `type` "reset": some events are gone."""

    id: int
    type: str
    data: dict[str, Any]


class MeshClient:
    """Synchronous; one keep-alive connection. Every method raises the `TanaError` of the answer's status."""

    def __init__(self, url: str = DEFAULT_MESH_URL, timeout_ms: int = 10_000) -> None:
        remedy = "start it with `tana mesh serve`, or set MESH_URL to where it is"
        self.url = url.rstrip("/")
        self._http = HttpClient(url, service="mesh", remedy=remedy, timeout_ms=timeout_ms)

    def register(self, body: Body) -> dict[str, Any]:
        """Send a body of `build_registration`. Raises `Conflict` where the id or the key is taken."""
        answer: dict[str, Any] = self._http.post("/register", body)
        return answer

    def ensure_registered(self, body: Body) -> MeshNode:
        """Register, or find that exactly this registration is there already. Raises `Conflict` where it is another."""
        try:
            self.register(body)
        except Conflict as conflict:
            node = self.find_node(body["nodeId"])
            if node is None or not is_same_registration(node, body):
                raise conflict from None
            return node
        return self.get_node(body["nodeId"])

    def approve(self, node_id: str, sovereign: Signer) -> dict[str, Any]:
        """Approve a node with a sovereign's key. Raises `Forbidden`, `NotFound`, `Conflict` (denied is final)."""
        answer: dict[str, Any] = self._http.post(
            f"/approve/{quote(node_id, safe='')}", build_approval(sovereign, node_id)
        )
        return answer

    def deny(self, node_id: str, sovereign: Signer) -> dict[str, Any]:
        """Deny a node, for good."""
        answer: dict[str, Any] = self._http.post(f"/deny/{quote(node_id, safe='')}", build_denial(sovereign, node_id))
        return answer

    def heartbeat(self, body: Body) -> dict[str, Any]:
        """Send a body of `build_heartbeat`."""
        answer: dict[str, Any] = self._http.post("/heartbeat", body)
        return answer

    def list_nodes(self, status: str = "active") -> list[MeshNode]:
        """The nodes of one status; "all" only on our own mesh (see `list_all_nodes`)."""
        return self._read_nodes(self._http.get("/nodes", {"status": status})["nodes"])

    def list_all_nodes(self) -> list[MeshNode]:
        """Every node, also from a mesh that lists only one status at a time."""
        try:
            nodes = self.list_nodes("all")
        except InvalidInput:
            nodes = []
        if not nodes:
            # Asked one after the other, a node may change between two answers: its later status counts.
            found = {node.id: node for status in STATUSES for node in self.list_nodes(status)}
            nodes = list(found.values())
        return nodes

    def get_node(self, node_id: str) -> MeshNode:
        """One node. Raises `NotFound`."""
        return self._read_nodes([self._http.get(f"/nodes/{quote(node_id, safe='')}")["node"]])[0]

    def find_node(self, node_id: str) -> MeshNode | None:
        """One node, None where the mesh has no such id."""
        try:
            return self.get_node(node_id)
        except NotFound:
            return None

    def get_topology(self) -> list[dict[str, Any]]:
        """Active nodes with their services: `[{id, publicKey, tailscaleHostname, tailscaleIP, services}]`."""
        nodes: list[dict[str, Any]] = self._http.get("/topology")["nodes"]
        return nodes

    def get_active_validators(self) -> list[dict[str, Any]]:
        """`[{id, publicKey, wsUrl, lastSeen}]` of active nodes that have a consensus service."""
        validators: list[dict[str, Any]] = self._http.get("/validators/active")["validators"]
        return validators

    def add_sovereign(self, public_key: str, approver: Signer) -> dict[str, Any]:
        """Add another sovereign's printed public key with an existing sovereign's signature."""
        answer: dict[str, Any] = self._http.post("/sovereign/add", build_sovereign_addition(approver, public_key))
        return answer

    def verify_sovereign(self, message: str, signature: str, public_key: str | None = None) -> dict[str, Any]:
        """Whether a sovereign signed a message: `{valid, publicKey}`."""
        body: Body = {"message": message, "signature": signature}
        if public_key is not None:
            body["publicKey"] = public_key
        answer: dict[str, Any] = self._http.post("/sovereign/verify", body)
        return answer

    def put_genesis(self, signed: SignedGenesis) -> dict[str, Any]:
        """Publish the genesis. The same one again is no error; raises `Conflict` where there is another."""
        answer: dict[str, Any] = self._http.put("/genesis", signed.to_json())
        return answer

    def get_genesis(self) -> SignedGenesis | None:
        """The published genesis, None before there is one. Its signature is NOT verified here: do it against the
        sovereign's key that you were given."""
        try:
            body = self._http.get("/genesis")
        except NotFound:
            return None
        return parse_signed_genesis(body)

    def get_health(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get("/health")
        return answer

    def get_info(self) -> dict[str, Any]:
        """`{service, version, nodes: {pending, active, offline, denied}, sovereigns, chainId, …}`."""
        answer: dict[str, Any] = self._http.get("/info")
        return answer

    def stream_events(self, last_event_id: int | None = None) -> Iterator[MeshEvent]:
        """Events as they happen, from behind `last_event_id` where one is given. Ends when the mesh stops.

        Blocks between events; closing the iterator closes the stream. Raises `Unavailable` when the link breaks.
        """
        headers = {} if last_event_id is None else {"last-event-id": str(last_event_id)}
        try:
            with self._http.stream("/events", headers) as response:
                if not response.is_success:
                    response.read()
                    self._http.read(response)
                yield from parse_events(response.iter_lines())
        except httpx.HTTPError as error:
            raise Unavailable(f"the event stream of {self.url} broke: {error}", remedy="connect again") from None

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _read_nodes(self, rows: Any) -> list[MeshNode]:
        try:
            return msgspec.convert(rows, list[MeshNode])
        except msgspec.ValidationError as error:
            raise Unavailable(f"{self.url} answers, but not as a Tana mesh: {error}", remedy="check the URL") from None


def is_same_registration(node: MeshNode, body: Body) -> bool:
    """Whether a node of the mesh is what this registration asked for: same key, hostname and services."""
    offered = {(row["type"], row["port"], row["publicKey"]) for row in body["services"]}
    known = {(service.service_type, service.port, service.public_key) for service in node.services}
    return (
        node.public_key == body["publicKey"]
        and node.tailscale_hostname == body["tailscaleHostname"]
        and known == offered
    )


def parse_events(lines: Iterator[str]) -> Iterator[MeshEvent]:
    """Server-sent events (WHATWG HTML, 9.2) with an id and JSON data; comments and `retry` are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields and "id" in fields:
            yield MeshEvent(int(fields["id"]), fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}
