"""What a body may be: each refusal names its field."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.client.registration import build_approval, build_heartbeat, build_sovereign_addition
from tana.mesh import bodies
from tana.types.errors import InvalidInput
from tests.mesh.helpers import SOVEREIGN, START_MS, make_key, make_registration, make_unsigned_body

KEY = make_key("some").public_text
SERVICE = {"type": "ledger", "port": 8080, "publicKey": KEY}


def check_refused(body: Any, kind: Any, code: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bodies.parse_body(body, kind)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert field in caught.value.message


def change_service(**changes: Any) -> dict[str, Any]:
    return {"services": [SERVICE, {"type": "t4", "port": 8180, "publicKey": KEY} | changes]}


@pytest.mark.parametrize("field", ["nodeId", "publicKey", "tailscaleHostname", "services", "signature"])
def test_invalid_registration_missing(field: str) -> None:
    body = make_registration()
    del body[field]
    check_refused(body, bodies.Registration, "missing_field", field)


@pytest.mark.parametrize("field", ["nodeId", "timestamp", "signature"])
def test_invalid_heartbeat_missing(field: str) -> None:
    body = build_heartbeat(make_key("n"), "n", START_MS)
    del body[field]
    check_refused(body, bodies.HeartbeatBody, "missing_field", field)


@pytest.mark.parametrize("field", ["approverPublicKey", "signature"])
def test_invalid_decision_missing(field: str) -> None:
    for body, kind in (
        (build_approval(SOVEREIGN, "n"), bodies.SovereignDecision),
        (build_sovereign_addition(SOVEREIGN, KEY), bodies.SovereignAddition),
    ):
        del body[field]
        check_refused(body, kind, "missing_field", field)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (bodies.Registration, make_registration()),
        (bodies.HeartbeatBody, build_heartbeat(make_key("n"), "n", START_MS)),
        (bodies.SovereignDecision, build_approval(SOVEREIGN, "n")),
        (bodies.SovereignAddition, build_sovereign_addition(SOVEREIGN, KEY)),
        (bodies.SovereignQuestion, {"message": "m", "signature": "s"}),
    ],
)
def test_invalid_unknown_field(kind: Any, body: dict[str, Any]) -> None:
    check_refused(body | {"colour": 1}, kind, "unknown_field", "colour")


@pytest.mark.parametrize("name", ["\ud800", "`", "line\nend", "", "x" * 100_000])
def test_invalid_unknown_field_with_a_hostile_name(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        bodies.parse_body(make_registration() | {name: 1}, bodies.Registration)
    assert caught.value.code == ("invalid_text" if name == "\ud800" else "unknown_field")
    assert len(caught.value.message) < 200


BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "nodeId": ("", "A", "a_b", "-a", "a-", "a" * 64, "a\n", "ä", "../x", 7, None),
    "publicKey": ("", KEY[8:], KEY[:-1], KEY.upper(), KEY + "0", KEY + "\n", 1),
    "tailscaleHostname": (
        *("", ".", "-a", "a..b", "a b", "a/b", "a:1", "h\n", "\u212a.net", []),
        *("x" * 64, "a." * 127 + "aa"),
    ),
    "tailscaleIP": ("", "1.2.3", "1.2.3.256", "host", "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0", "x" * 65, 1),
    "services": (None, {}, "ledger", [SERVICE] * 17),
    "signature": (None, 1, "0" * 257),
    "bodySignature": (1, "0" * 257),
}
BAD_SERVICE_VALUES: dict[str, tuple[Any, ...]] = {
    "port": (0, -1, 65536, "8180", 8180.0, True, None, 10**40),
    "type": ("database", "", "Ledger", None, 3),
    "publicKey": ("", "ed25519_", None),
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *[({field: value}, field) for field, values in BAD_VALUES.items() for value in values],
        *[
            (change_service(**{field: value}), f"services[1].{field}")
            for field, values in BAD_SERVICE_VALUES.items()
            for value in values
        ],
    ],
)
def test_invalid_registration_field(change: dict[str, Any], field: str) -> None:
    check_refused(make_registration() | change, bodies.Registration, "invalid_field", field)


def test_invalid_registration_service_field_missing_or_unknown() -> None:
    body = make_registration()
    check_refused(
        body | {"services": [{"type": "t4", "port": 1}]}, bodies.Registration, "missing_field", "services[0].publicKey"
    )
    check_refused(body | {"services": [SERVICE | {"x": 1}]}, bodies.Registration, "unknown_field", "services[0].x")


def test_invalid_duplicate_service() -> None:
    body = make_registration() | {"services": [SERVICE, SERVICE | {"port": 8081}]}
    check_refused(body, bodies.Registration, "duplicate_service", "services")
    beat = build_heartbeat(make_key("n"), "n", START_MS, None, [{"type": "t4", "healthy": True}] * 2)
    check_refused(beat, bodies.HeartbeatBody, "duplicate_service", "services")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *[({"timestamp": value}, "timestamp") for value in (-1, 2**53, 1.5, "1", None, True)],
        ({"services": [{"type": "t4", "healthy": 1}]}, "services[0].healthy"),
        ({"services": [{"type": "t4", "healthy": True, "lastCheck": "x" * 65}]}, "services[0].lastCheck"),
        ({"services": [{"type": "t4", "healthy": True, "lastCheck": -1}]}, "services[0].lastCheck"),
        ({"consensus": {"height": -1, "state": "validating"}}, "consensus.height"),
        ({"consensus": {"height": 1, "state": "<b>"}}, "consensus.state"),
        ({"consensus": {"height": 1, "state": "syncing", "blockHash": "ab"}}, "consensus.blockHash"),
        ({"consensus": {"height": 1, "state": "syncing", "stateRoot": "AB" * 32}}, "consensus.stateRoot"),
        ({"consensus": []}, "consensus"),
    ],
)
def test_invalid_heartbeat_field(change: dict[str, Any], field: str) -> None:
    body = build_heartbeat(make_key("n"), "n", START_MS) | change
    check_refused(body, bodies.HeartbeatBody, "invalid_field", field)


@pytest.mark.parametrize("body", [None, [], "text", 1, True])
def test_invalid_body_that_is_no_object(body: Any) -> None:
    with pytest.raises(InvalidInput, match="the body is invalid"):
        bodies.parse_body(body, bodies.Registration)


@pytest.mark.parametrize(
    "change",
    [
        {"nodeId": "a"},
        {"nodeId": "7" * 63},
        {"tailscaleHostname": "localhost"},
        {"tailscaleHostname": "Mac-Mini.tail1234.ts.net."},
        {"tailscaleIP": "127.0.0.1"},
        {"tailscaleIP": "fd7a:115c:a1e0::1"},
        {"tailscaleIP": None},
        {"services": []},
        change_service(port=1),
        change_service(port=65535),
        {"bodySignature": None},
    ],
)
def test_registration_field_that_is_fine(change: dict[str, Any]) -> None:
    bodies.parse_body(make_registration() | change, bodies.Registration)


@pytest.mark.parametrize("last_check", [0, START_MS, "2024-01-01T00:00:00.000Z", None])
def test_older_clients_heartbeat(last_check: Any) -> None:
    services = [{"type": "ledger", "healthy": True, "lastCheck": last_check}]
    body = make_unsigned_body(build_heartbeat(make_key("n"), "n", START_MS, "100.64.0.1", services))
    assert bodies.parse_body(body, bodies.HeartbeatBody).services
    bodies.parse_body({name: body[name] for name in ("nodeId", "timestamp", "signature")}, bodies.HeartbeatBody)


ANY_TEXT = st.text(st.characters(exclude_categories=[]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(body=JSON, field=st.sampled_from(["nodeId", "services", "consensus", "tailscaleIP", "timestamp", "signature"]))
def test_any_json_is_read_or_refused(body: Any, field: str) -> None:
    beat = build_heartbeat(make_key("n"), "n", START_MS)
    for candidate in (body, beat | {field: body}, make_registration() | {field: body}):
        for kind in (bodies.Registration, bodies.HeartbeatBody, bodies.SovereignDecision):
            with contextlib.suppress(InvalidInput):
                bodies.parse_body(candidate, kind)
