"""Invariants over the trace of a run, one file each: what correct nodes do is judged from inside, step by step."""

from __future__ import annotations

from testbed.invariants.agreement import Agreement
from testbed.invariants.base import Invariant
from testbed.invariants.certificates import Certificates
from testbed.invariants.double_sign import DoubleSign
from testbed.invariants.justified import Justified
from testbed.invariants.lock_rule import LockRule
from testbed.invariants.parent_links import ParentLinks
from testbed.invariants.quorum import Quorum
from testbed.invariants.state_root import StateRoot

__all__ = ["INVARIANTS", "Invariant", "make_invariants"]

INVARIANTS: tuple[type[Invariant], ...] = (
    Agreement,
    ParentLinks,
    Certificates,
    Quorum,
    DoubleSign,
    LockRule,
    Justified,
    StateRoot,
)
"""By their numbers."""


def make_invariants() -> list[Invariant]:
    return [kind() for kind in INVARIANTS]
