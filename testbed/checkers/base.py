"""What a checker is: it is fed every event as it happens, in O(1), and gives one verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from testbed.history import Event
from testbed.needs import ANSWERS, find_backends
from testbed.verdict import Outcome, Verdict

ENDED_EARLY = "not violated when the run ended early"


class Checker:
    """Base of all checkers. A method `on_<kind>` gets the events of that kind.

    A checker reads what validators and the mesh answered; of the harness's own doing it reads only what was asked
    (which transactions were sent, which faults were applied).
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset({ANSWERS})
    """The feeds without which it cannot tell (see `testbed.needs`)."""
    steps: ClassVar[frozenset[str]]
    """The steps of a scenario that ask for this check: with one of them, it must be proven."""

    def __init__(self) -> None:
        self.violation = ""
        """The first violation in one line: nodes, height, and the two facts that disagree."""
        self.facts: dict[str, Any] = {}
        self.node_ids: tuple[str, ...] = ()
        """The validators that are judged: those that lie at no time."""
        self.traitors: frozenset[str] = frozenset()
        """Those that lie at some time: what they answer never gets here."""
        self._scenario_steps: frozenset[str] = frozenset()
        self._handlers: dict[str, Callable[[Event], None]] = {
            name.removeprefix("on_"): getattr(self, name) for name in dir(self) if name.startswith("on_")
        }

    @classmethod
    def get_backends(cls) -> tuple[str, ...]:
        """The backends that can feed it."""
        return find_backends(cls.needs)

    def feed(self, event: Event) -> None:
        if event.kind == "run":
            self.traitors = frozenset(event.data.get("traitors", ()))
            names = (validator["node_id"] for validator in event.data["validators"])
            self.node_ids = tuple(name for name in names if name not in self.traitors)
            self._scenario_steps = frozenset(event.data["steps"])
        handler = self._handlers.get(event.kind)
        if handler is not None and event.node not in self.traitors:
            handler(event)

    def finish(self, *, is_complete: bool = True) -> Verdict:
        """The verdict over everything fed. Without a violation it still needs something to have been proven.

        A run that ended early (`is_complete` False) proves nothing, and what is missing in it is no violation.
        """
        if self.violation:
            return Verdict(self.name, Outcome.VIOLATED, self.violation, self.facts)
        if not is_complete:
            return Verdict(self.name, Outcome.COULD_NOT_TELL, ENDED_EARLY, self.facts)
        missing = self.find_missing()
        if self.violation:
            return Verdict(self.name, Outcome.VIOLATED, self.violation, self.facts)
        if missing and not self.is_asked:
            return Verdict(self.name, Outcome.NOT_ASKED, missing, self.facts)
        if missing:
            return Verdict(self.name, Outcome.COULD_NOT_TELL, missing, self.facts)
        return Verdict(self.name, Outcome.PROVEN, self.summarize(), self.facts)

    @property
    def is_asked(self) -> bool:
        """Whether the scenario has a step that this check is about."""
        return bool(self.steps & self._scenario_steps)

    def violate(self, line: str) -> None:
        """Record a violation; the first one is what the run reports."""
        self.violation = self.violation or line

    def find_missing(self) -> str:
        """What keeps this from being a proof, empty where nothing does. May find violations that only the end shows."""
        raise NotImplementedError

    def summarize(self) -> str:
        """What was proven, in a few words with numbers."""
        raise NotImplementedError


def shorten(hash_text: Any) -> str:
    """The first eight characters of a hash, for lines that people read."""
    return f"{str(hash_text)[:8]}…" if hash_text else "none"


def join_names(names: Any) -> str:
    return ", ".join(names) or "nobody"
