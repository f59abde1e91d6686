"""Invariants over the trace of a run, one file each: what correct nodes do is judged from inside, step by step."""

from __future__ import annotations

from testbed.invariants.agreement import Agreement
from testbed.invariants.base import Invariant
from testbed.invariants.double_sign import DoubleSign

__all__ = ["INVARIANTS", "Invariant", "make_invariants"]

INVARIANTS: tuple[type[Invariant], ...] = (Agreement, DoubleSign)
"""By their numbers."""


def make_invariants() -> list[Invariant]:
    return [kind() for kind in INVARIANTS]
