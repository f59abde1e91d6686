"""The registry as JSON: the shapes of `GET /nodes`, `/topology` and `/validators/active`."""

from __future__ import annotations

from typing import Any

from tana.mesh.records import Consensus, Node

Json = dict[str, Any]


def view_node(node: Node) -> Json:
    """A row of `GET /nodes`. Beyond the fields of the first mesh:

    `registration_body_signed` and `heartbeat_signed` say whether the node's signature covers the services, keys,
    address and health shown; `reported_ip` and `consensus` are what the last heartbeat said, for display only.
    """
    heartbeat = node.heartbeat
    return {
        "id": node.id,
        "public_key": node.public_key,
        "tailscale_hostname": node.tailscale_hostname,
        "tailscale_ip": node.tailscale_ip,
        "status": node.status,
        "registered_at": node.registered_ms,
        "approved_at": node.approved_ms,
        "approved_by": node.approved_by,
        "denied_at": node.denied_ms,
        "denied_by": node.denied_by,
        "last_heartbeat": heartbeat.received_ms if heartbeat else None,
        "heartbeat_timestamp": heartbeat.timestamp_ms if heartbeat else None,
        "heartbeat_signed": heartbeat.body_signed if heartbeat else None,
        "reported_ip": heartbeat.reported_ip if heartbeat else None,
        "consensus": view_consensus(heartbeat.consensus) if heartbeat and heartbeat.consensus else None,
        "registration_signature": node.registration_signature,
        "registration_body_signed": node.body_signature is not None,
        "services": [
            {
                "service_type": service.type,
                "port": service.port,
                "public_key": service.public_key,
                "healthy": service.healthy,
                "last_check": service.last_check,
            }
            for service in node.services
        ],
    }


def view_consensus(consensus: Consensus) -> Json:
    """`{height, blockHash, stateRoot, state}` as the heartbeat sent it."""
    return {
        "height": consensus.height,
        "blockHash": consensus.block_hash,
        "stateRoot": consensus.state_root,
        "state": consensus.state,
    }


def view_topology_node(node: Node) -> Json:
    return {
        "id": node.id,
        "publicKey": node.public_key,
        "tailscaleHostname": node.tailscale_hostname,
        "tailscaleIP": node.tailscale_ip,
        "services": [
            {"type": service.type, "port": service.port, "publicKey": service.public_key} for service in node.services
        ],
    }


def view_validator(node: Node, port: int) -> Json:
    """An active node with the address of its peer link: its IP where known, else its hostname."""
    host = node.tailscale_ip or node.tailscale_hostname.rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    return {
        "id": node.id,
        "publicKey": node.public_key,
        "wsUrl": f"ws://{host}:{port}",
        "lastSeen": node.heartbeat.received_ms if node.heartbeat else None,
    }
