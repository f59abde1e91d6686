"""Transactions: the vectors byte for byte, one text per meaning, and malformed ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.crypto.keys import KeyPair, format_signature, parse_signature, verify
from tana.types import canonical
from tana.types.errors import InvalidInput, TooLarge
from tana.types.transaction import (
    MAX_NONCE,
    MAX_TEXT_BYTES,
    TRANSACTION_TYPES,
    parse_signed_text,
    parse_transaction,
    sign_body,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text("utf-8"))
KEY_A, KEY_B = "ed25519_" + "a" * 64, "ed25519_" + "b" * 64
BODY: dict[str, Any] = {"type": "transfer", "from": KEY_A, "to": KEY_B, "timestamp": 5, "nonce": 0}
SIGNATURE = bytes(64)


def body(**fields: Any) -> dict[str, Any]:
    return {**BODY, **fields}


@pytest.mark.parametrize("row", VECTORS["transactions"])
def test_vectors(row: dict[str, Any]) -> None:
    stx = sign_body(row["transaction"], parse_signature(row["signature"]))
    assert stx.text.decode("utf-8") == row["message"]
    pair = KeyPair.from_text(row["privateKey"])
    assert pair.public_text == row["publicKey"]
    assert format_signature(pair.sign(stx.text)) == row["signature"]
    assert verify(pair.public_key, stx.text, stx.signature)
    assert parse_signed_text(stx.text, stx.signature) == stx


def test_id_and_leaf() -> None:
    stx = sign_body(BODY, SIGNATURE)
    assert stx.id == hashlib.sha256(stx.text).hexdigest()
    assert stx.leaf == hashlib.sha256(stx.text + SIGNATURE).digest()
    assert stx.size_bytes == len(stx.text) + 64
    other = sign_body(BODY, b"\x01" * 64)
    assert other.id == stx.id
    assert other.leaf != stx.leaf


def test_order_of_the_body_does_not_matter() -> None:
    full = body(amount="1", currencyCode="USD", contractId="c", contractInput=[1], metadata={"b": 1, "a": 2})
    backwards = dict(reversed(full.items()))
    assert sign_body(backwards, SIGNATURE).text == sign_body(full, SIGNATURE).text


def test_null_and_absent_are_the_same() -> None:
    empty = body(amount=None, currencyCode=None, contractId=None, contractInput=None, metadata=None)
    assert sign_body(empty, SIGNATURE) == sign_body(BODY, SIGNATURE)


def test_signature_member_is_passed_over() -> None:
    assert sign_body(body(signature="x"), SIGNATURE) == sign_body(BODY, SIGNATURE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {"nonce": st.integers(0, MAX_NONCE) | st.just(7.0), "type": st.sampled_from(TRANSACTION_TYPES)},
        optional={
            "amount": st.text(max_size=9),
            "currencyCode": st.text(max_size=4),
            "contractInput": json_values,
            "metadata": st.dictionaries(st.text(max_size=5), json_values, max_size=3),
        },
    )
)
def test_every_node_reads_what_the_first_one_read(fields: dict[str, Any]) -> None:
    """What a client's body gives, and what its text gives to another node, are equal in every field and type."""
    try:
        stx = sign_body(json.loads(json.dumps(body(**fields))), SIGNATURE)
    except InvalidInput:
        # Numbers that JSON lacks can make a text that reads back as another transaction: refused at the door.
        return
    again = parse_signed_text(stx.text, SIGNATURE)
    assert again == stx
    assert repr(again.transaction) == repr(stx.transaction)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_invalid_number_that_would_print_as_null(number: float) -> None:
    """Its text would have `"contractInput":null`, which no other node accepts, and poison a block."""
    with pytest.raises(InvalidInput) as caught:
        sign_body(body(contractInput=number), SIGNATURE)
    assert caught.value.code == "not_canonical"


def test_numbers_are_read_as_others_will_read_them() -> None:
    transaction = sign_body(body(metadata={"expiresAtHeight": 10.0, "big": 1e400}), SIGNATURE).transaction
    assert repr(transaction.metadata) == "{'expiresAtHeight': 10, 'big': None}"


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("missing_field", {"type": None}),
        ("missing_field", {"from": None}),
        ("missing_field", {"to": None}),
        ("missing_field", {"timestamp": None}),
        ("missing_field", {"nonce": None}),
        ("unknown_field", {"fee": 1}),
        ("unknown_field", {"From": KEY_A}),
        ("invalid_input", {"type": "mint"}),
        ("invalid_input", {"type": ["transfer"]}),
        ("malformed_key", {"from": 7}),
        ("malformed_key", {"from": "ed25519_" + "a" * 63}),
        ("malformed_key", {"from": "ed25519_" + "A" * 64}),
        ("malformed_key", {"to": "ed25519_" + "g" * 64}),
        ("malformed_key", {"to": "b" * 72}),
        ("malformed_key", {"to": "ed25519_" + "٣" * 64}),
        ("invalid_input", {"nonce": -1}),
        ("invalid_input", {"nonce": 2**53}),
        ("invalid_input", {"nonce": 1.5}),
        ("invalid_input", {"nonce": True}),
        ("invalid_input", {"nonce": "1"}),
        ("invalid_input", {"nonce": float("nan")}),
        ("invalid_input", {"nonce": float("inf")}),
        ("invalid_input", {"nonce": 10**400}),
        ("invalid_input", {"timestamp": -1}),
        ("invalid_input", {"amount": 5}),
        ("invalid_input", {"currencyCode": ["USD"]}),
        ("invalid_input", {"contractId": {}}),
        ("invalid_input", {"metadata": "x"}),
        ("invalid_input", {"metadata": []}),
    ],
)
def test_invalid_field(code: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_transaction(body(**fields))
    assert caught.value.code == code
    assert caught.value.field == next(iter(fields))


@pytest.mark.parametrize("value", [None, [], "transfer", 7, b"{}"])
def test_invalid_body(value: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_transaction(value)


TEXT = sign_body(body(amount="1", metadata={"a": 1}), SIGNATURE).text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 10_000,
        TEXT + b" ",
        b" " + TEXT,
        TEXT[:-1],
        TEXT.replace(b'"nonce":0', b'"nonce":0.0'),
        TEXT.replace(b'"nonce":0', b'"nonce":-0'),
        TEXT.replace(b'"nonce":0', b'"nonce":0e1'),
        TEXT.replace(b'"nonce":0', b'"nonce":0,"nonce":0'),
        TEXT.replace(b'"amount":"1"', b'"amount":"\\u0031"'),
        TEXT.replace(b'"amount":"1"', b'"amount":null'),
        TEXT.replace(b'"a":1', b'"a":NaN'),
        TEXT.replace(b'"a":1', b'"a":1e0'),
        TEXT.replace(b'"a":1', b'"a":' + b"1" * 5000),
        TEXT.replace(b'"a":1', b'"a":1,"9":1'),
        TEXT.replace(b'"a":1', b'"a":"\\uD800"'),
        TEXT.replace(b'"a":1', b'"a":"\xed\xa0\x80"'),
        TEXT.replace(b'"a":1', b'"a":' + b"[" * 100 + b"]" * 100),
        TEXT[:-1] + b',"signature":"x"}',
        b'{"nonce":0,' + TEXT.replace(b'"nonce":0,', b"")[1:],
    ],
)
def test_invalid_text(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_signed_text(text, SIGNATURE)


def test_lone_surrogates_travel_escaped() -> None:
    stx = sign_body(body(metadata={"\ud800": "\udfff"}), SIGNATURE)
    assert b'{"\\ud800":"\\udfff"}' in stx.text
    assert parse_signed_text(stx.text, SIGNATURE) == stx


def test_invalid_size() -> None:
    room = MAX_TEXT_BYTES - len(sign_body(body(contractInput=""), SIGNATURE).text)
    sign_body(body(contractInput="x" * room), SIGNATURE)
    with pytest.raises(TooLarge):
        sign_body(body(contractInput="x" * (room + 1)), SIGNATURE)
    with pytest.raises(TooLarge):
        parse_signed_text(b"x" * (MAX_TEXT_BYTES + 1), SIGNATURE)


@pytest.mark.parametrize("row", VECTORS["transactions"], ids=lambda row: str(row["transaction"]["type"]))
def test_text_is_the_canonical_form_of_the_fields(row: dict[str, Any]) -> None:
    transaction = parse_transaction(row["transaction"])
    assert transaction.to_text() == canonical.dumps(transaction.to_json())
