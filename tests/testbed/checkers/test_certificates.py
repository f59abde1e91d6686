"""The checker of certificates: what it objects to, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.checkers import Certificates
from testbed.history import Event
from tests.testbed.forging import (
    OTHER_HASH,
    assert_violated,
    change_block,
    forge,
    is_block,
)


def change_certificate(edit: Callable[[dict[str, Any]], object]) -> list[Event]:
    def change(event: Event, data: dict[str, Any]) -> bool:
        if not is_block(event, "validator-1", 3):
            return False
        edit(data["certificate"])
        return True

    return forge(change)


def test_too_little_power() -> None:
    events = change_certificate(lambda certificate: certificate["signatures"].pop())
    assert_violated(Certificates(), events, "validator-1 at height 3", "power 2 of 3", "needs 3")


def test_one_validator_twice() -> None:
    def edit(certificate: dict[str, Any]) -> None:
        certificate["signatures"][1] = certificate["signatures"][0]

    assert_violated(Certificates(), change_certificate(edit), "validator-1 at height 3", "counted twice")


def test_signature_by_nobody() -> None:
    def edit(certificate: dict[str, Any]) -> None:
        certificate["signatures"][0][1] = "ed25519_sig_" + "00" * 64

    assert_violated(Certificates(), change_certificate(edit), "validator-1 at height 3", "not by its key")


def test_stranger_signed() -> None:
    def edit(certificate: dict[str, Any]) -> None:
        certificate["signatures"][0][0] = "ed25519_" + "ab" * 32

    assert_violated(Certificates(), change_certificate(edit), "abababab… signed and is not a validator")


def test_of_another_block() -> None:
    def edit(certificate: dict[str, Any]) -> None:
        certificate["block_hash"] = OTHER_HASH

    assert_violated(Certificates(), change_certificate(edit), "validator-1 at height 3", "abababab…")


def test_missing() -> None:
    events = forge(change_block("validator-1", 3, certificate=None))
    assert_violated(Certificates(), events, "validator-1 at height 3", "no certificate")


def test_genesis_by_somebody_else() -> None:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data["sovereign"] = data["validators"][0]["public_key"]
        return event.kind == "run"

    assert_violated(Certificates(), forge(change), "genesis's signature ≠")
