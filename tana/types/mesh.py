"""The texts that nodes and sovereigns sign when they speak to the mesh."""

from __future__ import annotations

from typing import Any

from tana.types import canonical


def registration_text(node_id: str, public_key: str, tailscale_hostname: str) -> str:
    """What `signature` of `POST /register` covers."""
    return canonical.dumps({"nodeId": node_id, "publicKey": public_key, "tailscaleHostname": tailscale_hostname})


def approval_text(node_id: str) -> str:
    """What a sovereign signs to approve a node."""
    return f"approve:{node_id}"


def denial_text(node_id: str) -> str:
    """What a sovereign signs to deny a node."""
    return f"deny:{node_id}"


def sovereign_text(public_key: str) -> str:
    """What an existing sovereign signs to add another sovereign's printed key."""
    return f"sovereign:{public_key}"


def heartbeat_text(node_id: str, timestamp_ms: int) -> str:
    """What `signature` of `POST /heartbeat` covers."""
    return f"heartbeat:{node_id}:{timestamp_ms}"


def body_text(body: dict[str, Any]) -> str:
    """What `bodySignature` covers: the canonical text of the body without it, keys in the order sent."""
    return canonical.dumps({key: value for key, value in body.items() if key != "bodySignature"})
