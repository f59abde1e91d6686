"""The genesis: one text, one chain id, and every contradiction named."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tana.types import canonical
from tana.types.errors import InvalidInput
from tana.types.genesis import SignedGenesis, parse_genesis, parse_signed_genesis

KEYS = ["ed25519_" + digit * 64 for digit in "abcdef"]
BODY: dict[str, Any] = {
    "version": 1,
    "createdAt": 1763424000000,
    "sovereign": KEYS[0],
    "currencies": [{"code": "USD", "decimals": 2}],
    "validators": [
        {"nodeId": "validator-0", "publicKey": KEYS[1], "power": 1},
        {"nodeId": "validator-1", "publicKey": KEYS[2], "power": 2},
    ],
    "accounts": [{"publicKey": KEYS[3], "username": "@alice", "role": "user", "balances": {"USD": "1.50"}}],
    "parameters": {
        "maxBlockBytes": 1048576,
        "maxBlockTransactions": 5000,
        "requireChainId": False,
        "maxClockLeadMs": 10000,
        "evidenceMaxAgeHeights": 10000,
    },
}


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    body = copy.deepcopy(BODY)
    change(body)
    return body


def test_text_is_the_canonical_text_of_its_body() -> None:
    genesis = parse_genesis(BODY)
    assert genesis.to_text() == canonical.dumps(BODY)
    assert genesis.compute_chain_id() == hashlib.sha256(canonical.dumps(BODY).encode()).digest()
    assert parse_genesis(canonical.loads(genesis.to_text())) == genesis


def test_absent_parameters_have_defaults() -> None:
    assert parse_genesis({**BODY, "parameters": {}}).to_text() == canonical.dumps(BODY)


def test_validators_of_height_1() -> None:
    validators = parse_genesis(BODY).to_validator_set()
    assert [(item.node_id, item.power) for item in validators.validators] == [("validator-0", 1), ("validator-1", 2)]


def test_decimals() -> None:
    genesis = parse_genesis(BODY)
    assert (genesis.get_decimals("USD"), genesis.get_decimals("EUR")) == (2, None)


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version": lambda body: body.update(version=2),
    "created_before_1970": lambda body: body.update(createdAt=-1),
    "created_as_text": lambda body: body.update(createdAt="now"),
    "unknown_field": lambda body: body.update(extra=1),
    "sovereign_malformed": lambda body: body.update(sovereign="ed25519_xyz"),
    "sovereign_upper_case": lambda body: body.update(sovereign="ed25519_" + "A" * 64),
    "sovereign_line_break": lambda body: body.update(sovereign=KEYS[0] + "\n"),
    "no_validators": lambda body: body.update(validators=[]),
    "validator_twice": lambda body: body["validators"].append(body["validators"][0]),
    "validator_key_twice": lambda body: body["validators"][0].update(publicKey=KEYS[2]),
    "validator_without_power": lambda body: body["validators"][0].update(power=0),
    "validator_power_over_total": lambda body: body["validators"][0].update(power=2**48),
    "validator_name": lambda body: body["validators"][0].update(nodeId="Validator_0"),
    "validator_name_ends_in_dash": lambda body: body["validators"][0].update(nodeId="validator-"),
    "currency_twice": lambda body: body["currencies"].append({"code": "USD", "decimals": 3}),
    "currency_lower_case": lambda body: body["currencies"].append({"code": "eur", "decimals": 2}),
    "currency_places": lambda body: body["currencies"].append({"code": "EUR", "decimals": 19}),
    "account_twice": lambda body: body["accounts"].append({**body["accounts"][0], "username": "@bob"}),
    "username_twice": lambda body: body["accounts"].append({**body["accounts"][0], "publicKey": KEYS[4]}),
    "username_without_at_sign": lambda body: body["accounts"][0].update(username="alice"),
    "username_of_another_script": lambda body: body["accounts"][0].update(username="@аlice"),
    "role": lambda body: body["accounts"][0].update(role="king"),
    "sovereign_as_user": lambda body: body["accounts"][0].update(publicKey=KEYS[0]),
    "balance_in_unknown_currency": lambda body: body["accounts"][0].update(balances={"EUR": "1"}),
    "balance_malformed": lambda body: body["accounts"][0].update(balances={"USD": "-1"}),
    "balance_as_number": lambda body: body["accounts"][0].update(balances={"USD": 1}),
    "balances_over_the_supply": lambda body: body["accounts"].extend(
        {"publicKey": key, "username": "", "role": "user", "balances": {"USD": "92233720368547758"}} for key in KEYS[4:]
    ),
    "block_bytes_small": lambda body: body["parameters"].update(maxBlockBytes=1023),
    "block_bytes_big": lambda body: body["parameters"].update(maxBlockBytes=4 * 1024 * 1024 + 1),
    "block_transactions": lambda body: body["parameters"].update(maxBlockTransactions=0),
    "require_chain_id": lambda body: body["parameters"].update(requireChainId="yes"),
    "evidence_age": lambda body: body["parameters"].update(evidenceMaxAgeHeights=0),
    "clock_lead": lambda body: body["parameters"].update(maxClockLeadMs=0),
    "unknown_parameter": lambda body: body["parameters"].update(extra=1),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_invalid_genesis(reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_genesis(changed(HOSTILE[reason]))
    assert caught.value.message


@pytest.mark.parametrize("key", BODY)
def test_invalid_without(key: str) -> None:
    with pytest.raises(InvalidInput, match=key):
        parse_genesis(changed(lambda body: body.pop(key)))


@pytest.mark.parametrize("body", [None, [], "genesis", 7])
def test_invalid_type(body: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_genesis(body)
    with pytest.raises(InvalidInput):
        parse_signed_genesis(body)


def test_signed_round_trip() -> None:
    signed = SignedGenesis(parse_genesis(BODY), "ed25519_sig_00")
    assert parse_signed_genesis(signed.to_json()) == signed
    assert parse_signed_genesis({"genesis": BODY, "signature": "ed25519_sig_00"}) == signed


@pytest.mark.parametrize(
    "body",
    [
        {"genesis": BODY},
        {"genesis": BODY, "signature": 7},
        {"signature": "s"},
        {"genesis": BODY, "signature": "s", "chainId": "00"},
        {"genesis": BODY, "signature": "s", "extra": 1},
    ],
)
def test_invalid_signed_genesis(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        parse_signed_genesis(body)
