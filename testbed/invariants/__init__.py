"""Invariants over the trace of a run, one file each: what correct nodes do is judged from inside, step by step."""

from __future__ import annotations

from testbed.invariants.accountability import Accountability
from testbed.invariants.agreement import Agreement
from testbed.invariants.base import Invariant
from testbed.invariants.catch_up import CatchUp
from testbed.invariants.certificates import Certificates
from testbed.invariants.determinism import Determinism
from testbed.invariants.double_sign import DoubleSign
from testbed.invariants.durability import Durability
from testbed.invariants.exactly_once import ExactlyOnce
from testbed.invariants.justified import Justified
from testbed.invariants.lock_rule import LockRule
from testbed.invariants.memory import Memory
from testbed.invariants.money import Money
from testbed.invariants.no_quorum import NoQuorum
from testbed.invariants.parent_links import ParentLinks
from testbed.invariants.quorum import Quorum
from testbed.invariants.recovery import Recovery
from testbed.invariants.state_root import StateRoot
from testbed.invariants.submitted import Submitted
from testbed.invariants.two_phase import TwoPhase
from testbed.invariants.validator_sets import ValidatorSets

__all__ = ["INVARIANTS", "Invariant", "make_invariants"]

INVARIANTS: tuple[type[Invariant], ...] = (
    Agreement,
    ParentLinks,
    Submitted,
    ExactlyOnce,
    Certificates,
    Quorum,
    DoubleSign,
    LockRule,
    Justified,
    StateRoot,
    Money,
    Durability,
    Accountability,
    ValidatorSets,
    Memory,
    Recovery,
    TwoPhase,
    NoQuorum,
    CatchUp,
    Determinism,
)
"""By their numbers, 1 to 20."""


def make_invariants() -> list[Invariant]:
    return [kind() for kind in INVARIANTS]
