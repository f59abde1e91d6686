"""Addresses: the vectors, checksums, and malformed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.crypto.address import MAIN_VERSION, TEST_VERSION, compute_address, verify_address
from tana.crypto.keys import parse_public_key
from tana.types.errors import InvalidInput

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text("utf-8"))
ADDRESS = VECTORS["keys"][0]["mainnet"]
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@pytest.mark.parametrize("row", VECTORS["keys"])
def test_vectors(row: dict[str, Any]) -> None:
    public_key = parse_public_key(row["publicKey"])
    assert compute_address(public_key) == row["mainnet"]
    assert compute_address(public_key, version=TEST_VERSION) == row["testnet"]
    assert verify_address(row["mainnet"]) == MAIN_VERSION
    assert verify_address(row["testnet"]) == TEST_VERSION


@given(st.binary(min_size=32, max_size=32), st.integers(0, 255))
def test_every_address_verifies(public_key: bytes, version: int) -> None:
    assert verify_address(compute_address(public_key, version=version)) == version


@given(st.integers(0, len(ADDRESS) - 1), st.sampled_from(ALPHABET))
def test_invalid_with_a_typing_error(position: int, character: str) -> None:
    typed = ADDRESS[:position] + character + ADDRESS[position + 1 :]
    if typed == ADDRESS:
        return
    with pytest.raises(InvalidInput):
        verify_address(typed)


@pytest.mark.parametrize(
    "address",
    ["", "1", "0" * 18, ADDRESS[:-1], ADDRESS + "1", "1" + ADDRESS, " " + ADDRESS, "l" * 18, "é" * 18, "1" * 1_000_000],
)
def test_invalid_address(address: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        verify_address(address)
    assert caught.value.code == "malformed_address"
