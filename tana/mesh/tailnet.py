"""A mesh on a tailnet: who may speak to it at all, and whether a node is who it says it is.

The tailnet knows whose address a connection comes from. What a registration or a heartbeat claims must agree with it:
the name, and the address where one is given. Reads, and what a sovereign signs, are proven otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tana.mesh.registry import Registry
from tana.types.errors import Forbidden

log = structlog.get_logger("mesh")

CLAIMING_PATHS = ("/register", "/heartbeat")
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

    async def check_claim(self, registry: Registry, body: Any, ip: str, port: int) -> None:
        """Raises `Forbidden` where a registration or heartbeat speaks of another node than the one that sends it."""
        visitor = await self.who_is(ip, port)
        if visitor is None:
            raise Forbidden(
                "registrations and heartbeats must come over the tailnet",
                remedy="give the mesh's address on the tailnet as MESH_URL",
                code="not_on_tailnet",
            )
        try:
            check_claim(registry, body, visitor)
        except Forbidden as error:
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
