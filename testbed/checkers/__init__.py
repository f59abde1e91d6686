"""Checkers of invariants over the history, one file each: fed while things happen, each gives one verdict."""

from __future__ import annotations

from testbed.checkers.agreement import Agreement
from testbed.checkers.base import Checker
from testbed.checkers.certificates import Certificates
from testbed.checkers.convergence import Convergence
from testbed.checkers.evidence import Evidence
from testbed.checkers.exactly_once import ExactlyOnce
from testbed.checkers.faults import Faults
from testbed.checkers.heartbeats import Heartbeats
from testbed.checkers.money import Money
from testbed.checkers.no_progress import NoProgress
from testbed.checkers.parent_links import ParentLinks
from testbed.checkers.progress import Progress
from testbed.checkers.registration import Registration
from testbed.checkers.state_root import StateRoot
from testbed.checkers.tailnet import TAILNET_CHECKERS
from testbed.checkers.topology import Topology

__all__ = [
    "CHECKERS",
    "Agreement",
    "Certificates",
    "Checker",
    "Convergence",
    "Evidence",
    "ExactlyOnce",
    "Faults",
    "Heartbeats",
    "Money",
    "NoProgress",
    "ParentLinks",
    "Progress",
    "Registration",
    "StateRoot",
    "Topology",
    "make_checkers",
]

CHECKERS: tuple[type[Checker], ...] = (
    Registration,
    Certificates,
    Agreement,
    StateRoot,
    ParentLinks,
    ExactlyOnce,
    Money,
    Evidence,
    NoProgress,
    Progress,
    Heartbeats,
    *TAILNET_CHECKERS,
    Faults,
    Topology,
    Convergence,
)
"""In the order in which a report names them: where two are violated at once, the nearer to the cause comes first."""


def make_checkers() -> list[Checker]:
    return [kind() for kind in CHECKERS]
