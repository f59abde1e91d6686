"""What the mesh remembers, and the changes to it: frozen values that the store writes and the registry applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tana.types.genesis import SignedGenesis

PENDING = "pending"
ACTIVE = "active"
OFFLINE = "offline"
DENIED = "denied"
STATUSES = (PENDING, ACTIVE, OFFLINE, DENIED)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as registered (type, port, public key never change), with its health as last reported."""

    type: str
    port: int
    public_key: str
    healthy: bool | None = None
    last_check: int | str | None = None


@dataclass(frozen=True, slots=True)
class Consensus:
    """Where a node says its chain stands, for display: nobody decides by it. Hashes are hex, None before any."""

    height: int
    block_hash: str | None
    state_root: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last heartbeat of a node.

    `received_ms` is the mesh's clock (liveness counts from it), `timestamp_ms` the node's (it must rise).
    `body_signed` says whether the node's signature covers everything else here and the health of its services.
    """

    received_ms: int
    timestamp_ms: int
    body_signed: bool
    reported_ip: str | None = None
    consensus: Consensus | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A registered node. `id`, `public_key` and the services' keys are bound for good; times are Unix milliseconds.

    `tailscale_ip` is the address to use: as registered, or as a body-signed heartbeat said later.
    """

    id: str
    public_key: str
    tailscale_hostname: str
    tailscale_ip: str | None
    services: tuple[Service, ...]
    registration_signature: str
    body_signature: str | None
    registered_ms: int
    status: str = PENDING
    approved_ms: int | None = None
    approved_by: str | None = None
    denied_ms: int | None = None
    denied_by: str | None = None
    heartbeat: Heartbeat | None = None

    def get_service(self, service_type: str) -> Service | None:
        return next((service for service in self.services if service.type == service_type), None)


@dataclass(frozen=True, slots=True)
class Sovereign:
    """A key that may approve, deny, add sovereigns and sign the genesis. `added_by` is None for the first."""

    public_key: str
    added_by: str | None
    added_ms: int


@dataclass(frozen=True, slots=True)
class InsertNode:
    node: Node


@dataclass(frozen=True, slots=True)
class UpdateNode:
    """A node in its new state; what is bound for good is the same as before."""

    node: Node


@dataclass(frozen=True, slots=True)
class InsertSovereign:
    sovereign: Sovereign


@dataclass(frozen=True, slots=True)
class InsertGenesis:
    signed: SignedGenesis


Change = InsertNode | UpdateNode | InsertSovereign | InsertGenesis


@dataclass(frozen=True, slots=True)
class EventDraft:
    """Something that happened, before it has a number. Types: registration, approval, denial, status, heartbeat,
    sovereign, genesis."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a valid request leads to: changes to write and then apply, events to tell, and the answer."""

    status: int
    answer: dict[str, Any]
    changes: tuple[Change, ...] = ()
    events: tuple[EventDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a store holds. The first of `sovereigns` is the one of the settings."""

    sovereigns: tuple[Sovereign, ...] = ()
    nodes: tuple[Node, ...] = ()
    genesis: SignedGenesis | None = None
    last_event_id: int = 0
