"""The history: one line for each event, a hash over all of them, and listeners that hear each once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from testbed.history import MAX_RECENT, Event, History


def test_one_line_for_each_event(tmp_path: Path) -> None:
    heard: list[Event] = []
    history = History(tmp_path / "history.jsonl", heard.append)
    history.append(0, "step", name="start", phase="begun")
    event = history.append(7, "health", "validator-1", height=3)
    history.close()
    lines = (tmp_path / "history.jsonl").read_bytes()
    assert json.loads(lines.splitlines()[1]) == event.to_json()
    assert event.to_json() == {"sequence": 2, "at_ms": 7, "kind": "health", "node": "validator-1", "height": 3}
    assert history.compute_hash() == hashlib.sha256(lines).hexdigest()
    assert heard == list(history.recent)


def test_equal_events_give_equal_hashes() -> None:
    first, second, other = History(), History(), History()
    for history in (first, second):
        history.append(1, "block", "validator-1", height=1)
    other.append(1, "block", "validator-1", height=2)
    assert first.compute_hash() == second.compute_hash() != other.compute_hash()


def test_only_the_last_events_are_kept_in_memory() -> None:
    history = History()
    for number in range(MAX_RECENT + 5):
        history.append(number, "step")
    assert history.count == MAX_RECENT + 5
    assert history.recent[0].at_ms == 5
