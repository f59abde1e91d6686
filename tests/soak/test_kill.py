"""A short version of `make soak-kill`, and that it can fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tana.types.messages import PRECOMMIT, PREVOTE, Vote
from tests.soak.kill import Evidence, Violation, soak

KEY = b"k" * 32


def test_validators_survive_being_killed(tmp_path: Path) -> None:
    shown = asyncio.run(soak(tmp_path, kills=8, seed=7, max_seconds=600))
    assert shown["lives"] == 12
    assert shown["acknowledged transactions"]
    assert shown["signed messages compared"]
    assert shown["steps replayed"]


def test_invalid_second_message_for_a_slot() -> None:
    evidence = Evidence()
    evidence.add(Vote(PREVOTE, 5, 1, b"a" * 32, KEY, b"s" * 64), "validator-1")
    evidence.add(Vote(PREVOTE, 5, 1, b"a" * 32, KEY, b"s" * 64), "validator-2")
    evidence.add(Vote(PRECOMMIT, 5, 1, None, KEY, b"s" * 64), "validator-1")
    with pytest.raises(Violation, match="signed twice at height 5 round 1 kind 1"):
        evidence.add(Vote(PREVOTE, 5, 1, None, KEY, b"s" * 64), "validator-2")
