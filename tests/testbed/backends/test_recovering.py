"""`tana validator recover` as backends run it: what its end means."""

from __future__ import annotations

import pytest

from tana.types.errors import Conflict, Unavailable
from testbed.backends.recovering import read_recovery


def test_what_it_says() -> None:
    assert read_recovery(0, "done\n") == "done"


def test_invalid_slot_too_low() -> None:
    with pytest.raises(Conflict, match="height 7 round 0 is too low: validator-2 has seen") as caught:
        read_recovery(1, "error: height 7 round 0 is too low: validator-2 has seen height 8\n  → give more\n")
    assert caught.value.code == "slot_too_low"


def test_invalid_other_ends() -> None:
    with pytest.raises(Unavailable, match="the sign-state is whole"):
        read_recovery(1, "error: the sign-state is whole\n")
    with pytest.raises(Unavailable, match="not every validator says"):
        read_recovery(3, "error: not every validator says what it has seen\n")
    with pytest.raises(Unavailable, match="exit code 137"):
        read_recovery(137, "")
