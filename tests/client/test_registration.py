"""The signed bodies, against the values of the first library and against the texts they must cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tana.client.registration import (
    build_approval,
    build_denial,
    build_heartbeat,
    build_registration,
    build_service,
    build_signed_genesis,
    build_sovereign_addition,
)
from tana.crypto.keys import KeyPair, verify_text
from tana.types.genesis import parse_genesis, parse_signed_genesis

ROWS = json.loads((Path(__file__).parents[1] / "vectors" / "wire.json").read_text())["registrations"]
KEY = KeyPair.from_seed(b"k" * 32)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["nodeId"]))
def test_registrations_of_the_first_library(row: dict[str, str]) -> None:
    key = KeyPair.from_text(row["privateKey"])
    body = build_registration(key, row["nodeId"], row["tailscaleHostname"], None, [])
    assert {name: body[name] for name in ("nodeId", "publicKey", "tailscaleHostname", "signature")} == {
        name: row[name] for name in ("nodeId", "publicKey", "tailscaleHostname", "signature")
    }


def check_body_signature(body: dict[str, Any]) -> None:
    """It covers the compact JSON of everything else, in the order sent."""
    signature = body.pop("bodySignature")
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    assert verify_text(KEY.public_text, text, signature)


def test_registration_body_signature() -> None:
    body = build_registration(KEY, "n", "n.ts.net", "100.64.0.1", [build_service("ledger", 8080, KEY.public_text)])
    assert list(body) == [
        *("nodeId", "publicKey", "tailscaleHostname", "tailscaleIP", "services", "signature", "bodySignature")
    ]
    check_body_signature(body)


def test_heartbeat() -> None:
    consensus = {"height": 1, "blockHash": None, "stateRoot": None, "state": "syncing"}
    services = [{"type": "ledger", "healthy": True, "lastCheck": 5}]
    body = build_heartbeat(KEY, "n", 1234, "100.64.0.1", services, consensus=consensus)
    assert verify_text(KEY.public_text, "heartbeat:n:1234", body["signature"])
    assert (body["services"], body["consensus"], body["tailscaleIP"]) == (services, consensus, "100.64.0.1")
    check_body_signature(body)


def test_heartbeat_leaves_out_what_is_not_known() -> None:
    body = build_heartbeat(KEY, "n", 1234)
    assert list(body) == ["nodeId", "timestamp", "services", "signature", "bodySignature"]


def test_sovereign_decisions() -> None:
    for body, text in (
        (build_approval(KEY, "n"), "approve:n"),
        (build_denial(KEY, "n"), "deny:n"),
        (build_sovereign_addition(KEY, "ed25519_ab"), "sovereign:ed25519_ab"),
    ):
        assert body["approverPublicKey"] == KEY.public_text
        assert verify_text(KEY.public_text, text, body["signature"])


def test_signed_genesis() -> None:
    genesis = parse_genesis(
        {
            "version": 1,
            "createdAt": 5,
            "sovereign": KEY.public_text,
            "currencies": [],
            "validators": [{"nodeId": "n", "publicKey": KEY.public_text, "power": 1}],
            "accounts": [],
            "parameters": {},
        }
    )
    signed = build_signed_genesis(KEY, genesis)
    assert parse_signed_genesis(signed.to_json()) == signed
    assert verify_text(KEY.public_text, genesis.to_text(), signed.signature)
