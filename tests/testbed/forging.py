"""Histories for tests: a true one, recorded from the default scenario, and ways to forge it."""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from testbed.checkers.base import Checker
from testbed.history import Event
from testbed.runner.run import Options, run
from testbed.verdict import Outcome, Verdict

ROOT = Path(__file__).resolve().parents[2]
CONVERGE = ROOT / "scenarios" / "converge.toml"
_FRAME = ("sequence", "at_ms", "kind", "node")

Events = list[Event]
OTHER_HASH = "ab" * 32
"""A hash that nothing has."""


@functools.cache
def record_truth() -> tuple[Event, ...]:
    """The events of the default scenario in simulation, where everything is as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        result = run(Options(CONVERGE, "simulation", runs_dir=Path(folder), is_silent=True))
        assert result.exit_code == 0, result.verdicts[0]
        return tuple(read_history(result.folder / "history.jsonl"))


def read_history(path: Path) -> Events:
    return [read_event(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def read_event(values: dict[str, Any]) -> Event:
    data = {key: value for key, value in values.items() if key not in _FRAME}
    return Event(values["sequence"], values["at_ms"], values["kind"], values["node"], data)


def forge(change: Callable[[Event, dict[str, Any]], bool], events: Sequence[Event] = ()) -> Events:
    """The true history with its first fitting event changed: `change` edits a copy of the data, True where it fits."""
    forged = list(events or record_truth())
    for index, event in enumerate(forged):
        data = copy.deepcopy(dict(event.data))
        if change(event, data):
            forged[index] = Event(event.sequence, event.at_ms, event.kind, event.node, data)
            return forged
    raise AssertionError("no event fits")


def drop(unwanted: Callable[[Event], bool]) -> Events:
    """The true history without some events."""
    kept = [event for event in record_truth() if not unwanted(event)]
    assert len(kept) < len(record_truth()), "nothing was dropped"
    return kept


def insert_after(fits: Callable[[Event], bool], kind: str, node: str, **data: Any) -> Events:
    """The true history with one more event after the first that fits."""
    events = list(record_truth())
    index = next(index for index, event in enumerate(events) if fits(event))
    events.insert(index + 1, Event(events[index].sequence, events[index].at_ms, kind, node, data))
    return events


def is_block(event: Event, node: str, height: int | None = None) -> bool:
    return event.kind == "block" and event.node == node and height in (None, event.data["height"])


def is_busy_block(event: Event, node: str) -> bool:
    return is_block(event, node) and bool(event.data["transactions"])


def judge(checker: Checker, events: Sequence[Event]) -> Verdict:
    for event in events:
        checker.feed(event)
    return checker.finish()


def assert_violated(checker: Checker, events: Sequence[Event], *words: str) -> None:
    verdict = judge(checker, events)
    assert verdict.outcome is Outcome.VIOLATED, verdict
    for word in words:
        assert word in verdict.line, verdict


def change_block(node: str, height: int, **fields: Any) -> Callable[[Event, dict[str, Any]], bool]:
    def change(event: Event, data: dict[str, Any]) -> bool:
        data |= fields
        return is_block(event, node, height)

    return change
