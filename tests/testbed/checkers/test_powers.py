"""Voting powers by height, as blocks change them."""

from __future__ import annotations

from typing import Any

from testbed.checkers.powers import ChainPowers
from tests.node.machine_net import make_genesis, make_keys

KEYS = [key.public_text for key in make_keys(4)]


def make_block(height: int, *offenders: str, transactions: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"height": height, "evidence": [{"validator": key} for key in offenders], "transactions": transactions}


def make_change(key: str, power: int, replaces: str | None = None) -> dict[str, Any]:
    change = {"nodeId": "x", "power": power} | ({"replaces": replaces} if replaces else {})
    return {"type": "validator_change", "to": key, "contractInput": change}


def make_powers(*blocks: dict[str, Any]) -> ChainPowers:
    powers = ChainPowers()
    powers.begin(make_genesis(make_keys(3)))
    for block in blocks:
        powers.note_block(block)
    return powers


def test_power_is_gone_two_heights_on() -> None:
    powers = make_powers(make_block(1), make_block(2, KEYS[1]), make_block(3))
    assert list(powers.at(3)) == KEYS[:3]
    assert list(powers.at(4)) == [KEYS[0], KEYS[2]]


def test_a_height_counts_once() -> None:
    powers = make_powers(make_block(1), make_block(2, KEYS[1]), make_block(1, KEYS[0]))
    assert list(powers.at(9)) == [KEYS[0], KEYS[2]]


def test_the_last_one_stays() -> None:
    assert list(make_powers(make_block(1, KEYS[0], KEYS[1]), make_block(2, KEYS[2])).at(9)) == [KEYS[2]]


def test_changes_of_the_sovereign() -> None:
    changes = (make_change(KEYS[0], 0), make_change(KEYS[1], 5), make_change(KEYS[3], 2, replaces=KEYS[2]))
    powers = make_powers(make_block(1, transactions=(*changes, {"type": "deposit"})))
    assert dict(powers.at(2)) == dict.fromkeys(KEYS[:3], 1)
    assert dict(powers.at(3)) == {KEYS[1]: 5, KEYS[3]: 2}
