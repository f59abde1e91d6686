"""Verdicts, and the two ways in which a run ends early."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Outcome(enum.Enum):
    """What a check or a whole run says. The value is what `summary.json` holds."""

    PROVEN = "proven"
    VIOLATED = "violated"
    COULD_NOT_TELL = "could_not_tell"
    NOT_ASKED = "not_asked"
    """The scenario has no step that this check is about, and nothing violated it: it counts for nothing."""

    @property
    def exit_code(self) -> int:
        return {"proven": 0, "violated": 1}.get(self.value, 2)


@dataclass(frozen=True)
class Verdict:
    """What one check says: its outcome, one line for people, and the facts behind it."""

    check: str
    outcome: Outcome
    line: str
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        word = self.outcome.value.replace("_", " ")
        word = word.upper() if self.outcome is Outcome.VIOLATED else word
        return f"{word} {self.check}: {self.line}"


def judge(verdicts: list[Verdict]) -> Outcome:
    """A run is violated if any check is, proven only if every check is that the scenario asks for."""
    outcomes = {verdict.outcome for verdict in verdicts if verdict.outcome is not Outcome.NOT_ASKED}
    if Outcome.VIOLATED in outcomes:
        return Outcome.VIOLATED
    return Outcome.COULD_NOT_TELL if Outcome.COULD_NOT_TELL in outcomes or not outcomes else Outcome.PROVEN


class RunEnded(Exception):
    """The run cannot go on; `verdict` says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(str(verdict))
        self.verdict = verdict
