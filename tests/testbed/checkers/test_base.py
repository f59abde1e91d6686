"""What holds for every checker: the true history proves it, nothing at all does not."""

from __future__ import annotations

import importlib

import pytest

from testbed.checkers import CHECKERS as ALL_CHECKERS
from testbed.checkers import Checker, Evidence, NoProgress
from testbed.checkers.tailnet import TAILNET_CHECKERS
from testbed.history import Event
from testbed.verdict import Outcome
from tests.testbed.forging import judge, record_truth

# The checks of the tailnet have a true history of their own, see test_tailnet.py, and one file together.
CHECKERS = tuple(checker for checker in ALL_CHECKERS if checker not in TAILNET_CHECKERS)
# Nobody lies in the default scenario: see test_evidence.py for a history in which somebody does.
WITHOUT_LIES = tuple(checker for checker in CHECKERS if checker is not Evidence)


@pytest.mark.parametrize("checker", WITHOUT_LIES, ids=lambda checker: checker.name)
def test_proven_by_the_true_history(checker: type[Checker]) -> None:
    verdict = judge(checker(), record_truth())
    assert verdict.outcome is Outcome.PROVEN, verdict


@pytest.mark.parametrize("checker", WITHOUT_LIES, ids=lambda checker: checker.name)
def test_proves_nothing_without_events(checker: type[Checker]) -> None:
    truth = record_truth()
    verdict = judge(checker(), [event for event in truth if event.kind == "run"])
    # Whether a quorum was ever missing only the run itself shows.
    expected = Outcome.NOT_ASKED if checker is NoProgress else Outcome.COULD_NOT_TELL
    assert verdict.outcome is expected, verdict


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.name)
def test_counts_for_nothing_where_the_scenario_does_not_ask(checker: type[Checker]) -> None:
    first = record_truth()[0]
    event = Event(1, 0, "run", "", {**first.data, "steps": ["start"]})
    assert judge(checker(), [event]).outcome is Outcome.NOT_ASKED


def test_every_checker_has_a_file_of_its_own_that_says_what_it_is() -> None:
    assert len({checker.__module__ for checker in CHECKERS}) == len(CHECKERS)
    for checker in CHECKERS:
        first_line = (importlib.import_module(checker.__module__).__doc__ or "").splitlines()[0]
        assert ": " in first_line, checker.name
