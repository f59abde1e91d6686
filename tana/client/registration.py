"""The bodies that nodes and sovereigns sign for the mesh: registration, heartbeat, approval, genesis.

Pure functions. Each body carries the signature that every mesh checks; registrations and heartbeats also carry
`bodySignature` over the canonical text of the whole body, so that services, keys, address and health are covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tana.crypto.keys import Signer, format_public_key, format_signature
from tana.types.canonical import to_utf8
from tana.types.genesis import Genesis, SignedGenesis
from tana.types.mesh import approval_text, body_text, denial_text, heartbeat_text, registration_text, sovereign_text

Body = dict[str, Any]


def build_service(service_type: str, port: int, public_key: str) -> Body:
    """One row of a registration's `services`: type (ledger, t4, consensus, …), port, printed public key."""
    return {"type": service_type, "port": port, "publicKey": public_key}


def build_registration(
    signer: Signer, node_id: str, hostname: str, ip: str | None, services: Sequence[Mapping[str, Any]]
) -> Body:
    """The body of `POST /register`, signed with the node's own key. `services` are rows of `build_service`."""
    public_key = format_public_key(signer.public_key)
    body: Body = {"nodeId": node_id, "publicKey": public_key, "tailscaleHostname": hostname}
    if ip is not None:
        body["tailscaleIP"] = ip
    body["services"] = [dict(service) for service in services]
    body["signature"] = _sign(signer, registration_text(node_id, public_key, hostname))
    return _sign_body(signer, body)


def build_heartbeat(
    signer: Signer,
    node_id: str,
    timestamp_ms: int,
    ip: str | None = None,
    services: Sequence[Mapping[str, Any]] = (),
    *,
    consensus: Mapping[str, Any] | None = None,
) -> Body:
    """The body of `POST /heartbeat`, signed with the node's own key.

    `timestamp_ms` must rise from one heartbeat to the next; it is the node's clock. `services` are rows
    `{type, healthy, lastCheck}`, `consensus` is `{height, blockHash, stateRoot, state}` for display.
    """
    body: Body = {"nodeId": node_id, "timestamp": timestamp_ms}
    if ip is not None:
        body["tailscaleIP"] = ip
    body["services"] = [dict(service) for service in services]
    if consensus is not None:
        body["consensus"] = dict(consensus)
    body["signature"] = _sign(signer, heartbeat_text(node_id, timestamp_ms))
    return _sign_body(signer, body)


def build_approval(sovereign: Signer, node_id: str) -> Body:
    """The body of `POST /approve/{id}`."""
    return _build_decision(sovereign, approval_text(node_id))


def build_denial(sovereign: Signer, node_id: str) -> Body:
    """The body of `POST /deny/{id}`."""
    return _build_decision(sovereign, denial_text(node_id))


def build_sovereign_addition(approver: Signer, public_key: str) -> Body:
    """The body of `POST /sovereign/add`: an existing sovereign vouches for another printed public key."""
    return {"publicKey": public_key} | _build_decision(approver, sovereign_text(public_key))


def build_signed_genesis(sovereign: Signer, genesis: Genesis) -> SignedGenesis:
    """The genesis with the sovereign's signature; `to_json()` of it is the body of `PUT /genesis`."""
    return SignedGenesis(genesis, _sign(sovereign, genesis.to_text()))


def _build_decision(sovereign: Signer, text: str) -> Body:
    return {"approverPublicKey": format_public_key(sovereign.public_key), "signature": _sign(sovereign, text)}


def _sign_body(signer: Signer, body: Body) -> Body:
    return body | {"bodySignature": _sign(signer, body_text(body))}


def _sign(signer: Signer, text: str) -> str:
    return format_signature(signer.sign(to_utf8(text)))
