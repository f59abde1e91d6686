"""What validators and the mesh answer, read into the plain facts that events hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tana.crypto.keys import parse_signature
from tana.types.errors import TanaError
from tana.types.transaction import sign_body

Facts = dict[str, Any]

HEADER_FIELDS = ("version", "chainId", "txRoot", "txCount", "validatorsHash", "nextValidatorsHash", "evidenceRoot")
"""What a block's hash covers beside the fields that events name themselves."""


def read_health(body: Mapping[str, Any]) -> Facts:
    """The facts of a validator's `GET :9001/health`."""
    step = body.get("consensus") or body
    return {
        "state": str(body.get("state", "")),
        "reason": str(body.get("reason") or ""),
        "height": int(body.get("currentHeight") or 0),
        "block_hash": body.get("blockHash") or "",
        "state_root": body.get("stateRoot") or "",
        "chain_id": body.get("chainId") or "",
        "peers": _count(body.get("peers")),
        "deciding_height": int(step.get("decidingHeight") or 0),
        "round": int(step.get("round") or 0),
        "step": str(step.get("step") or ""),
        "step_power": int(step.get("stepPower") or 0),
        "quorum_power": int(step.get("quorumPower") or 0),
        "missing": list(step.get("missing") or ()),
        "announcements": int(step.get("announcements") or 0),
    }


def read_block(body: Mapping[str, Any]) -> Facts:
    """The facts of one block of `GET /blocks` or `GET /blocks/{height}`."""
    certificate = body.get("certificate")
    return {
        "height": int(body["height"]),
        "hash": body["hash"],
        "parent": body["previousHash"],
        "state_root": body["stateRoot"],
        "time_ms": int(body["timestamp"]),
        "producer": body["producer"],
        "header": {key: body.get(key) for key in HEADER_FIELDS},
        "transactions": list(body["transactions"]),
        "evidence": [_read_evidence(item) for item in body["evidence"]],
        "certificate": _read_certificate(certificate) if certificate else None,
    }


def read_transaction_id(body: Mapping[str, Any]) -> str:
    """The id of a transaction in a block, computed from its fields; empty where they are malformed."""
    try:
        fields = {key: value for key, value in body.items() if key not in ("signature", "id")}
        return sign_body(fields, parse_signature(str(body.get("signature")))).id
    except TanaError:
        return ""


def read_mesh_node(row: Mapping[str, Any]) -> Facts:
    """The facts of one row of the mesh's `GET /nodes`."""
    return {
        key: row.get(key)
        for key in ("id", "status", "public_key", "approved_at", "last_heartbeat", "heartbeat_timestamp")
    }


def read_topology_node(row: Mapping[str, Any]) -> Facts:
    """The facts of one row of the mesh's `GET /topology`."""
    services = sorted(service["type"] for service in row.get("services", ()))
    return {"id": row["id"], "public_key": row["publicKey"], "services": services}


def _read_certificate(body: Mapping[str, Any]) -> Facts:
    return {
        "height": int(body["height"]),
        "round": int(body["round"]),
        "block_hash": body["blockHash"],
        "signatures": [[item["validator"], item["signature"]] for item in body["signatures"]],
    }


def _read_evidence(body: Mapping[str, Any]) -> Facts:
    return {key: body[key] for key in ("kind", "height", "round", "validator")}


def _count(peers: Any) -> int:
    return len(peers) if isinstance(peers, list) else int(peers or 0)
