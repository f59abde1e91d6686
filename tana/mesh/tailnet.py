"""A mesh on a tailnet: who may speak to it at all, and whether a node is who it says it is.

The tailnet knows whose address a connection comes from. What a registration or a heartbeat claims must agree with it:
the name, and the address where one is given. Reads, and what a sovereign signs, are proven otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tana.mesh.records import DENIED
from tana.mesh.registry import Registry
from tana.types.errors import Conflict, Forbidden

log = structlog.get_logger("mesh")

REGISTER_PATH = "/register"
CLAIMING_PATHS = (REGISTER_PATH, "/heartbeat")
"""Calls in which a node speaks of itself."""


class Visitor(Protocol):
    """Who an address of the tailnet belongs to. `dns_name` is the full name, `name` its first label; lower-case."""

    @property
    def name(self) -> str: ...
    @property
    def dns_name(self) -> str: ...
    @property
    def ips(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Guard:
    """What a mesh on a tailnet asks of the daemon beside it.

    `is_welcome` says of an address whether it is answered at all; `who_is` whose address and port it is, None for one
    that is nobody's on the tailnet, and may raise `Unavailable`.
    """

    is_welcome: Callable[[str], bool]
    who_is: Callable[[str, int], Awaitable[Visitor | None]]

    async def check_claim(self, registry: Registry, path: str, body: Any, ip: str, port: int) -> None:
        """Raises `Forbidden` where a registration or heartbeat speaks of another node than the one that sends it, and
        `Conflict` for a registration from a place that another node has."""
        visitor = await self.who_is(ip, port)
        if visitor is None:
            raise Forbidden(
                "registrations and heartbeats must come over the tailnet",
                remedy="give the mesh's address on the tailnet as MESH_URL",
                code="not_on_tailnet",
            )
        try:
            check_claim(registry, body, visitor)
            if path == REGISTER_PATH:
                check_place_free(registry, body, visitor)
        except (Forbidden, Conflict) as error:
            log.warning("mesh_claim_refused", visitor=visitor.dns_name, ip=ip, reason=error.message)
            raise


def check_claim(registry: Registry, body: Any, visitor: Visitor) -> None:
    """Raises `Forbidden` for a name or address that is not the visitor's. What is malformed is refused elsewhere."""
    if not isinstance(body, dict):
        return
    node_id = body.get("nodeId")
    node = registry.nodes.get(node_id) if isinstance(node_id, str) else None
    hostname = body.get("tailscaleHostname", node.tailscale_hostname if node is not None else None)
    if isinstance(hostname, str) and hostname.lower() not in (visitor.name, visitor.dns_name):
        raise Forbidden(
            f"this comes from {visitor.name} on the tailnet and speaks of {hostname[:80]!a}",
            remedy="each node registers, and sends heartbeats, from its own place on the tailnet",
            code="wrong_identity",
            field="tailscaleHostname",
        )
    address = body.get("tailscaleIP")
    if isinstance(address, str) and address not in visitor.ips:
        raise Forbidden(
            f"{address[:40]!a} is not an address of {visitor.name} on the tailnet",
            remedy=f"it has {', '.join(visitor.ips)}",
            code="wrong_identity",
            field="tailscaleIP",
        )


def check_place_free(registry: Registry, body: Any, visitor: Visitor) -> None:
    """Raises `Conflict` where the visitor's place on the tailnet is that of another node which is not denied."""
    node_id = body.get("nodeId") if isinstance(body, dict) else None
    for node in registry.nodes.values():
        if node.id == node_id or node.status == DENIED:
            continue
        has_name = node.tailscale_hostname.lower() in (visitor.name, visitor.dns_name)
        if has_name or node.tailscale_ip in visitor.ips:
            taken = visitor.name if has_name else node.tailscale_ip
            raise Conflict(
                f"{taken} on the tailnet is the place of {node.id} ({node.status}) already",
                remedy=f"one machine of the tailnet is one node: use another, or deny {node.id} first",
                code="place_taken",
                field="tailscaleHostname" if has_name else "tailscaleIP",
            )
