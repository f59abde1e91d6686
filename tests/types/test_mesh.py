"""Texts signed towards the mesh, byte for byte as the TypeScript library makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tana.crypto.keys import KeyPair
from tana.types import mesh

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text("utf-8"))


@pytest.mark.parametrize("row", VECTORS["registrations"])
def test_registration_vectors(row: dict[str, Any]) -> None:
    text = mesh.registration_text(row["nodeId"], row["publicKey"], row["tailscaleHostname"])
    assert text == row["message"]
    assert KeyPair.from_text(row["privateKey"]).sign_text(text) == row["signature"]


def test_short_texts() -> None:
    messages = [row["message"] for row in VECTORS["signatures"]]
    assert mesh.approval_text("validator-1") in messages
    assert mesh.denial_text("validator-2") in messages
    assert mesh.heartbeat_text("validator-1", 1763424000000) in messages
    assert mesh.sovereign_text("ed25519_00") == "sovereign:ed25519_00"


def test_body_text_leaves_out_only_its_own_signature() -> None:
    body = {"nodeId": "a", "services": [{"port": 8080}], "signature": "s", "bodySignature": "b"}
    assert mesh.body_text(body) == '{"nodeId":"a","services":[{"port":8080}],"signature":"s"}'
