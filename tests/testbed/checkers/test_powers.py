"""Voting powers by height, as blocks change them."""

from __future__ import annotations

from testbed.checkers.powers import ChainPowers
from tests.node.machine_net import make_genesis, make_keys

KEYS = [key.public_text for key in make_keys(3)]


def make_powers(*blocks: list[str]) -> ChainPowers:
    powers = ChainPowers()
    powers.begin(make_genesis(make_keys(3)))
    for height, offenders in enumerate(blocks, start=1):
        powers.note_block(height, offenders)
    return powers


def test_power_is_gone_two_heights_on() -> None:
    powers = make_powers([], [KEYS[1]], [], [])
    assert list(powers.at(3)) == KEYS
    assert list(powers.at(4)) == [KEYS[0], KEYS[2]]


def test_a_height_counts_once() -> None:
    powers = make_powers([], [KEYS[1]])
    powers.note_block(1, [KEYS[0]])
    assert list(powers.at(9)) == [KEYS[0], KEYS[2]]


def test_the_last_one_stays() -> None:
    powers = make_powers([KEYS[0], KEYS[1]], [KEYS[2]])
    assert list(powers.at(9)) == [KEYS[2]]
