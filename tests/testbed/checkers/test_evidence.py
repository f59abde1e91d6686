"""The checker of evidence: what it objects to, and in which words."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from testbed.checkers import Evidence
from testbed.history import Event
from testbed.runner.run import Options, run
from testbed.verdict import Outcome
from tests.testbed.forging import ROOT, assert_violated, forge, judge, read_history, record_truth


@functools.cache
def record_lies() -> tuple[Event, ...]:
    """The events of a run in which validator-4 votes twice and is caught."""
    with tempfile.TemporaryDirectory() as folder:
        path = ROOT / "scenarios" / "equivocation-four.toml"
        result = run(Options(path, "simulation", runs_dir=Path(folder), is_silent=True))
        assert result.exit_code == 0, result.verdicts[0]
        return tuple(read_history(result.folder / "history.jsonl"))


def has_evidence(event: Event, node: str) -> bool:
    return event.kind == "block" and event.node == node and bool(event.data["evidence"])


def test_accepts_the_truth() -> None:
    verdict = judge(Evidence(), list(record_lies()))
    assert verdict.outcome is Outcome.PROVEN
    assert verdict.line == "against validator-4, and nobody else but liars"


def test_accuses_an_honest_validator() -> None:
    honest = next(event for event in record_lies() if event.kind == "run").data["validators"][0]["public_key"]

    def frame(event: Event, data: dict[str, Any]) -> bool:
        if not has_evidence(event, "validator-2"):
            return False
        data["evidence"][0]["validator"] = honest
        return True

    events = forge(frame, record_lies())
    assert_violated(Evidence(), events, "validator-2 at height", "double prevote", "accuses validator-1 ≠")


def test_accuses_twice_for_one_offence() -> None:
    block = next(event for event in record_lies() if has_evidence(event, "validator-1"))

    def accuse_again(event: Event, data: dict[str, Any]) -> bool:
        is_next = event.kind == "block" and event.node == "validator-1" and data["height"] == block.data["height"] + 1
        if is_next:
            data["evidence"] = block.data["evidence"]
        return is_next

    events = forge(accuse_again, record_lies())
    assert_violated(Evidence(), events, "accuses validator-4 again ≠ once, at height")


def test_lets_a_liar_go() -> None:
    def forget(event: Event, data: dict[str, Any]) -> bool:
        if not has_evidence(event, "validator-3"):
            return False
        data["evidence"] = []
        return True

    verdict = judge(Evidence(), forge(forget, record_lies()))
    assert verdict.outcome is Outcome.VIOLATED
    assert verdict.line.startswith("validator-3: no block accuses validator-4 ≠ evidence, which had to be there:")


def test_nobody_had_to_be_caught() -> None:
    verdict = judge(Evidence(), list(record_truth()))
    assert verdict.outcome is Outcome.NOT_ASKED
