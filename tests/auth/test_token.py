"""Tokens: byte for byte as existing services make them, and every reason to refuse one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.auth.token import (
    CLOCK_SKEW_MS,
    MAX_HEADER_BYTES,
    SERVICES,
    TOKEN_LIFE_MS,
    Token,
    issue_request_token,
    issue_token,
    parse_header,
    verify_request,
    verify_token,
)
from tana.crypto.keys import KeyPair, parse_public_key
from tana.types import canonical
from tana.types.errors import Forbidden, Unauthorized

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire.json").read_text("utf-8"))["tokens"]
NOW_MS = 1_763_424_000_000
LEDGER_KEY = KeyPair.from_seed(b"l" * 32)
T4_KEY = KeyPair.from_seed(b"t" * 32)
PATH = "/content/" + "ab" * 32


class Keys(dict[tuple[str, str], bytes]):
    """The simplest key source: a dictionary."""

    def get(self, node_id: str, service_id: str) -> bytes | None:  # type: ignore[override]
        return dict.get(self, (node_id, service_id))


KEYS = Keys({("validator-1", "ledger"): LEDGER_KEY.public_key, ("validator-1", "t4"): T4_KEY.public_key})


def verify_put(header: str | None, now_ms: int = NOW_MS, path: str = PATH, strict: bool = False) -> Token:
    return verify_request(header, KEYS, now_ms, service_id="ledger", method="PUT", path=path, strict=strict)


def encode(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return "Bearer " + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def good_body(**changes: Any) -> dict[str, Any]:
    return {**issue_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS).to_json(), **changes}


def refusal(header: str | None, **options: Any) -> str:
    with pytest.raises(Unauthorized) as caught:
        verify_put(header, **options)
    assert caught.value.http_status == 401
    assert caught.value.message
    return caught.value.code


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["token"]["nodeId"])
def test_vector_is_issued_byte_for_byte(row: dict[str, Any]) -> None:
    fields = row["token"]
    token = issue_token(
        KeyPair.from_text(row["privateKey"]),
        fields["nodeId"],
        fields["serviceId"],
        fields["timestamp"],
        payload=fields.get("payload"),
        life_ms=fields["expiresAt"] - fields["timestamp"],
    )
    assert token.to_json() == fields
    assert token.to_header() == row["header"]


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["token"]["nodeId"])
def test_vector_verifies(row: dict[str, Any]) -> None:
    token = parse_header(row["header"])
    assert token.to_header() == row["header"]
    source = Keys({(token.node_id, token.service_id): parse_public_key(row["publicKey"])})
    verify_token(token, source, row["token"]["timestamp"])


def test_default_life_is_one_hour() -> None:
    token = issue_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS)
    assert token.expires_at_ms - token.timestamp_ms == TOKEN_LIFE_MS == 3_600_000


def test_request_token_is_accepted_for_its_request() -> None:
    token = issue_request_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS, method="put", path=PATH)
    assert verify_put(token.to_header(), strict=True) == token


def test_token_of_an_older_client_is_accepted_unless_strict() -> None:
    header = issue_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS).to_header()
    assert verify_put(header).payload is None
    assert refusal(header, strict=True) == "token_unbound"


@pytest.mark.parametrize("prefix", ["ed25519_sig_", "ed25519_", ""])
def test_each_form_of_signature_is_read(prefix: str) -> None:
    bare = good_body()["signature"].removeprefix("ed25519_")
    verify_put(encode(good_body(signature=prefix + bare)))


def test_scheme_is_read_in_any_case() -> None:
    verify_put(encode(good_body()).replace("Bearer", "bEARER"))


def test_clock_skew_of_one_minute_is_allowed_at_both_ends() -> None:
    header = encode(good_body())
    verify_put(header, now_ms=NOW_MS - CLOCK_SKEW_MS)
    verify_put(header, now_ms=NOW_MS + TOKEN_LIFE_MS + CLOCK_SKEW_MS)


def test_invalid_from_future() -> None:
    assert refusal(encode(good_body()), now_ms=NOW_MS - CLOCK_SKEW_MS - 1) == "token_from_future"


def test_invalid_expired() -> None:
    assert refusal(encode(good_body()), now_ms=NOW_MS + TOKEN_LIFE_MS + CLOCK_SKEW_MS + 1) == "token_expired"


def test_invalid_missing() -> None:
    assert refusal(None) == "token_missing"
    assert refusal("") == "token_missing"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("other", [{"path": "/content/" + "cd" * 32}, {"method": "DELETE"}])
def test_invalid_replayed_on_another_request(other: dict[str, str], strict: bool) -> None:
    request = {"method": "PUT", "path": PATH, **other}
    header = issue_request_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS, **request).to_header()
    assert refusal(header, strict=strict) == "token_for_other_request"


def test_invalid_bound_to_a_method_that_is_no_text() -> None:
    header = issue_token(LEDGER_KEY, "validator-1", "ledger", NOW_MS, payload={"method": ["PUT"]}).to_header()
    assert refusal(header) == "token_for_other_request"


@pytest.mark.parametrize(
    "change",
    [
        {"nodeId": "validator-1", "timestamp": NOW_MS - 1},
        {"expiresAt": NOW_MS + 10 * TOKEN_LIFE_MS},
        {"payload": {"method": "PUT", "path": PATH}},
        {"serviceId": "t4"},
        {"signature": "ed25519_" + "00" * 64},
    ],
)
def test_invalid_forged(change: dict[str, Any]) -> None:
    assert refusal(encode(good_body(**change))) == "bad_signature"


def test_invalid_signed_by_another_key() -> None:
    forged = issue_token(KeyPair.from_seed(b"x" * 32), "validator-1", "ledger", NOW_MS)
    assert refusal(forged.to_header()) == "bad_signature"


def test_invalid_unknown_node() -> None:
    stranger = issue_token(LEDGER_KEY, "validator-9", "ledger", NOW_MS)
    assert refusal(stranger.to_header()) == "unknown_key"


def test_invalid_unknown_service_of_a_known_node() -> None:
    assert refusal(issue_token(LEDGER_KEY, "validator-1", "identity", NOW_MS).to_header()) == "unknown_key"


def test_invalid_other_service() -> None:
    header = issue_token(T4_KEY, "validator-1", "t4", NOW_MS).to_header()
    with pytest.raises(Forbidden) as caught:
        verify_put(header)
    assert caught.value.code == "wrong_service"


def test_invalid_other_service_with_a_forged_signature_learns_nothing() -> None:
    assert refusal(issue_token(LEDGER_KEY, "validator-1", "t4", NOW_MS).to_header()) == "bad_signature"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer !!!!",
        "Bearer é",
        "Bearer abc",
        "Basic " + encode({}).partition(" ")[2],
        encode(good_body())[:-7],
        "Bearer " + "A" * MAX_HEADER_BYTES,
        "Bearer " + base64.b64encode(b"\xff\xfe{}").decode(),
        encode("{"),
        encode("[]"),
        encode('"token"'),
        encode("NaN"),
        encode("[" * 5000),
        encode("1" * 5000),
    ],
)
def test_invalid_malformed_header(header: str) -> None:
    assert refusal(header) == "token_malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"serviceId": "root"},
        {"serviceId": None},
        {"serviceId": ["ledger"]},
        {"nodeId": ""},
        {"nodeId": 7},
        {"nodeId": "n" * 129},
        {"timestamp": str(NOW_MS)},
        {"timestamp": True},
        {"timestamp": -1},
        {"timestamp": 1.5},
        {"expiresAt": 2**53},
        {"expiresAt": NOW_MS},
        {"payload": []},
        {"payload": "x"},
        {"signature": 5},
        {"signature": "ed25519_00"},
        {"admin": True},
    ],
)
def test_invalid_malformed_field(change: dict[str, Any]) -> None:
    assert refusal(encode(good_body(**change))) == "token_malformed"


def test_invalid_payload_nested_too_deep() -> None:
    payload = json.loads('{"a":' * 80 + "1" + "}" * 80)
    assert refusal(encode(good_body(payload=payload))) == "token_malformed"


@pytest.mark.parametrize("name", ["serviceId", "nodeId", "timestamp", "expiresAt", "signature"])
def test_invalid_missing_field(name: str) -> None:
    body = good_body()
    del body[name]
    assert refusal(encode(body)) == "token_malformed"


def test_null_payload_counts_as_absent() -> None:
    verify_put(encode(good_body(payload=None)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(
    node_id=st.text(min_size=1, max_size=40),
    service_id=st.sampled_from(SERVICES),
    payload=st.none() | st.dictionaries(st.text(max_size=8), json_values, max_size=4),
)
def test_header_round_trip(node_id: str, service_id: str, payload: dict[str, Any] | None) -> None:
    token = issue_token(LEDGER_KEY, node_id, service_id, NOW_MS, payload=payload)
    read = parse_header(token.to_header())
    assert canonical.dumps(read.to_json()) == canonical.dumps(token.to_json())
    verify_token(read, Keys({(node_id, service_id): LEDGER_KEY.public_key}), NOW_MS)


@given(st.text() | st.binary().map(lambda data: "Bearer " + base64.b64encode(data).decode()))
def test_any_header_is_refused_in_words(header: str) -> None:
    refusal(header)
