"""check: every checker's verdict, and the one of the run."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.checkers.base import Checker
from testbed.verdict import Outcome, Verdict


def check(checkers: Sequence[Checker], ended: Verdict | None) -> list[Verdict]:
    """The verdicts of a run, what ended it early first, then violations, then the rest in the checkers' order."""
    verdicts = [checker.finish(is_complete=ended is None) for checker in checkers]
    if ended is None:
        return _sort(verdicts)
    kept = [verdict for verdict in verdicts if verdict.check != ended.check]
    own = next((verdict for verdict in verdicts if verdict.check == ended.check), None)
    if own is not None and own.outcome is Outcome.VIOLATED:
        ended = own
    return [ended, *_sort(kept)]


def add_verdicts(verdicts: Sequence[Verdict], more: Sequence[Verdict], *, has_ended_early: bool) -> list[Verdict]:
    """The verdicts of a run with those of its insides; what ended it early stays in front."""
    first = list(verdicts[:1]) if has_ended_early else []
    return [*first, *_sort([*verdicts[len(first) :], *more])]


def _sort(verdicts: list[Verdict]) -> list[Verdict]:
    rank = {Outcome.VIOLATED: 0, Outcome.COULD_NOT_TELL: 1, Outcome.PROVEN: 2, Outcome.NOT_ASKED: 3}
    return sorted(verdicts, key=lambda verdict: rank[verdict.outcome])
