"""Replay: the steps of a run taken again. What was not so, or is not whole, is told."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tana.node.effects import Append, Commit, Effect, Flush, Signed
from tana.types.errors import SettingsError
from tana.types.messages import PRECOMMIT, PREVOTE, Vote
from testbed.invariants.catch_up import CatchUp
from testbed.invariants.durability import Durability
from testbed.invariants.memory import Memory
from testbed.invariants.recovery import Recovery
from testbed.invariants.two_phase import TwoPhase
from testbed.journal import BeginFrame, Frame, ReceivedInput, StepFrame, pack_frame, read_frames
from testbed.replay import Replay, Run, list_performed, load_run
from testbed.runner.inside import judge_inside
from testbed.runner.run import Options, run
from testbed.story import StoryTeller, Zoom
from testbed.verdict import Outcome, Verdict
from tests.testbed.forging import CONVERGE
from tests.testbed.tracing import Stage


@functools.cache
def record_run() -> Run:
    """The default scenario in simulation, with its journals."""
    with tempfile.TemporaryDirectory() as folder:
        result = run(Options(CONVERGE, "simulation", runs_dir=Path(folder), is_silent=True))
        assert result.exit_code == 0, result.verdicts[0]
        return load_run(result.folder)


def forge(node: str, change: Callable[[Frame], Frame | None]) -> Run:
    """The true run with the first fitting frame of a journal changed: `change` returns another frame where it fits."""
    recorded = record_run()
    frames = list(read_frames(recorded.journals[node]))
    for index, frame in enumerate(frames):
        changed = change(frame)
        if changed is not None:
            frames[index] = changed
            data = b"".join(pack_frame(item) for item in frames)
            return dataclasses.replace(recorded, journals={**recorded.journals, node: data})
    raise AssertionError("no frame fits")


def play(recorded: Run) -> dict[str, Verdict]:
    replay = Replay(recorded)
    replay.play()
    return {verdict.check: verdict for verdict in replay.finish()}


def test_a_true_run_is_proven_across_a_restart() -> None:
    verdicts = play(record_run())
    assert verdicts["journals"].outcome is Outcome.PROVEN
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.PROVEN, Outcome.NOT_ASKED}
    assert len(verdicts) == 20, "all invariants but the one that needs two runs, and the journals"
    assert verdicts["invariant 12 durability"].outcome is Outcome.PROVEN
    assert "across 1 restarts" in verdicts["invariant 2 parent_links"].line


def test_restarts_in_turn_are_proven_from_inside(tmp_path: Path) -> None:
    result = run(Options(CONVERGE.with_name("restarts.toml"), "simulation", runs_dir=tmp_path, is_silent=True))
    assert result.exit_code == 0, result.verdicts[0]
    proven = {verdict.check for verdict in result.verdicts if verdict.outcome is Outcome.PROVEN}
    wanted = {
        "journals",
        *(f"invariant {kind.number} {kind.name}" for kind in (Durability, Recovery, TwoPhase, CatchUp)),
    }
    assert wanted <= proven


def test_another_effect_is_named() -> None:
    def change(frame: Frame) -> Frame | None:
        if isinstance(frame, StepFrame) and frame.signed:
            return msgspec.structs.replace(frame, digests=frame.digests[:-1] + bytes([frame.digests[-1] ^ 1]))
        return None

    verdict = play(forge("validator-2", change))["journals"]
    assert verdict.outcome is Outcome.VIOLATED
    for word in ("validator-2, incarnation 1, step ", " is now ", "≠ then "):
        assert word in verdict.line


def test_another_input_gives_other_effects() -> None:
    def change(frame: Frame) -> Frame | None:
        if isinstance(frame, StepFrame) and isinstance(frame.input, ReceivedInput):
            message = frame.input.message
            if isinstance(message, Vote) and frame.digests:
                forged = msgspec.structs.replace(message, signature=bytes(64))
                return msgspec.structs.replace(frame, input=ReceivedInput(frame.input.peer, forged))
        return None

    verdicts = play(forge("validator-1", change))
    assert verdicts["journals"].outcome is Outcome.VIOLATED
    assert verdicts["invariant 1 agreement"].outcome is Outcome.COULD_NOT_TELL


def test_a_beginning_on_another_state_is_named() -> None:
    def change(frame: Frame) -> Frame | None:
        if isinstance(frame, BeginFrame) and frame.height > 0:
            return msgspec.structs.replace(frame, state_root=b"x" * 32)
        return None

    verdict = play(forge("validator-3", change))["journals"]
    assert verdict.outcome is Outcome.VIOLATED
    assert "validator-3, incarnation 2, cannot begin again at height" in verdict.line


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"is_real": False}, "a stand-in"),
        ({"key": b"k" * 32}, "its key is not the one"),
        ({"height": 99}, "no journal"),
    ],
)
def test_invalid_beginnings(fields: dict[str, Any], words: str) -> None:
    def change(frame: Frame) -> Frame | None:
        return msgspec.structs.replace(frame, **fields) if isinstance(frame, BeginFrame) else None

    verdict = play(forge("validator-3", change))["journals"]
    assert verdict.outcome is Outcome.VIOLATED
    assert words in verdict.line


def test_a_missing_journal_makes_could_not_tell() -> None:
    recorded = record_run()
    journals = {node: data for node, data in recorded.journals.items() if node != "validator-2"}
    verdicts = play(dataclasses.replace(recorded, journals=journals))
    assert verdicts["journals"].line == "no journal of validator-2"
    for number, name in ((1, "agreement"), (8, "lock_rule"), (15, "memory")):
        verdict = verdicts[f"invariant {number} {name}"]
        assert (verdict.outcome, verdict.line) == (Outcome.COULD_NOT_TELL, "validator-2 has no journal")


def test_a_journal_that_ends_before_its_node_makes_could_not_tell() -> None:
    recorded = record_run()
    frames = list(read_frames(recorded.journals["validator-1"]))
    half = b"".join(pack_frame(frame) for frame in frames[: len(frames) // 2])
    verdicts = play(dataclasses.replace(recorded, journals={**recorded.journals, "validator-1": half}))
    assert not [verdict for verdict in verdicts.values() if verdict.outcome is Outcome.VIOLATED]
    verdict = verdicts["invariant 9 justified"]
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert verdict.line.startswith("the journal of validator-1 ends at height ")
    assert verdicts["journals"].outcome is Outcome.COULD_NOT_TELL


def test_the_journal_of_a_traitor_is_not_needed() -> None:
    recorded = record_run()
    journals = {node: data for node, data in recorded.journals.items() if node != "validator-2"}
    verdicts = play(dataclasses.replace(recorded, journals=journals, traitors=frozenset({"validator-2"})))
    assert verdicts["invariant 1 agreement"].outcome is Outcome.PROVEN


@pytest.mark.parametrize(("floor", "height", "count"), [((1, 0, 2), 1, 4), ((1, 0, 1), 1, 2), ((1, 0, 2), 0, 3)])
def test_what_a_death_cut_off_is_not_counted(floor: tuple[int, int, int], height: int, count: int) -> None:
    stage = Stage(Memory())
    block = stage.block(1)
    votes = [stage.vote(0, kind, 1, 0, block) for kind in (PREVOTE, PRECOMMIT)]
    commit = Commit(block, stage.certificate(block, 0, (0, 1, 2)), None)  # type: ignore[arg-type]
    effects: list[Effect] = [Append(Signed(votes[0])), Flush(), Append(Signed(votes[1])), commit]
    begin = next(frame for frame in read_frames(record_run().journals["validator-1"]) if isinstance(frame, BeginFrame))
    following = msgspec.structs.replace(begin, sign_floor=floor, height=height)
    assert len(list_performed(effects, following)) == count


def test_what_a_fault_took_away_was_performed_before() -> None:
    stage = Stage(Memory())
    block = stage.block(5)
    vote = stage.vote(0, PRECOMMIT, 5, 0, block)
    commit = Commit(block, stage.certificate(block, 0, (0, 1, 2)), None)  # type: ignore[arg-type]
    effects: list[Effect] = [Append(Signed(vote)), Flush(), commit]
    begin = next(frame for frame in read_frames(record_run().journals["validator-1"]) if isinstance(frame, BeginFrame))
    emptied = msgspec.structs.replace(begin, sign_floor=(5, 0, 2), height=0)
    forgetful = msgspec.structs.replace(begin, sign_floor=(0, 0, 0), height=5, abstain_reason="it is missing")
    assert list_performed(effects, emptied) == effects
    assert list_performed(effects, forgetful) == effects


def test_the_story_is_calm_and_can_be_looked_at_closely() -> None:
    replay = Replay(record_run())
    teller = StoryTeller({node.key.public_key: name for name, node in replay.nodes.items()})
    replay.watchers.append(teller)
    replay.play()
    calm = list(teller.tell(Zoom()))
    text = "\n".join(calm)
    for words in ("begins at height 0", "decided in round 0", "fault kill on validator-3 applied", "must not go on"):
        assert words in text
    assert "begins again at height" in text
    assert len(calm) < 60
    close = "\n".join(teller.tell(Zoom(height=5)))
    for words in ("proposes", "prevotes", "precommits", "and is locked on it", "commits"):
        assert words in close
    assert all(" height 5" in line for line in close.splitlines())
    assert all("validator-2" in line for line in teller.tell(Zoom(node="validator-2")))
    assert {line["height"] for line in teller.to_json(Zoom(height=5))} == {5}


def test_where_each_node_stood_is_told(tmp_path: Path) -> None:
    result = run(Options(CONVERGE, "simulation", runs_dir=tmp_path, is_silent=True))
    inside = judge_inside(result.folder, is_complete=True)
    node = inside.nodes["validator-1"]
    assert node["height"] == result.summary["nodes"]["validator-1"]["health"]["height"]
    assert set(node) >= {"round", "step", "locked_round", "valid_round", "votes", "missing"}
    assert result.summary["nodes"]["validator-1"]["consensus"] == node
    assert result.summary["first_violation"] is None
    fault = result.summary["faults"][-1]
    assert (fault["fault"], fault["target"]) == ("kill", "validator-3")
    assert fault["asked"]["at_ms"] <= fault["applied"]["at_ms"] <= fault["undone"]["at_ms"]
    assert set(fault["applied"]["heights"]) >= {"validator-1", "validator-2"}
    assert result.summary["replay_command"].endswith(result.folder.name)


def test_a_violation_inside_is_the_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no answer shows: the machine forgets who may propose, and still all agree."""
    monkeypatch.setattr("testbed.invariants.facts.SetFacts.get_proposer", lambda self, round: self.rows[0][0])
    result = run(Options(CONVERGE, "simulation", runs_dir=tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert result.summary["first_line"].startswith("VIOLATED invariant 9 justified: validator-")
    violation = result.summary["first_violation"]
    assert violation["invariant"] == 9
    assert violation["story"]


def test_a_fork_names_the_guilty(tmp_path: Path) -> None:
    path = CONVERGE.with_name("negative-control.toml")
    result = run(Options(path, "simulation", runs_dir=tmp_path, is_silent=True))
    violation = result.summary["first_violation"]
    assert (violation["invariant"], violation["name"]) == (1, "agreement")
    assert "1 forks name validator-3, validator-4" in violation["named"]


def test_invalid_folder_without_a_history(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no history\.jsonl"):
        load_run(tmp_path)


def test_invalid_history_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"kind":"step","at_ms":1}\n')
    with pytest.raises(SettingsError, match="does not begin with its run"):
        load_run(tmp_path)


@pytest.mark.parametrize("line", ["{oops", "[1]", '{"node": "mesh"}'])
def test_invalid_line_of_a_history(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text('{"kind":"run"}\n' + line + "\n", "utf-8")
    with pytest.raises(SettingsError, match=r"history\.jsonl:2: no event of a run: "):
        load_run(tmp_path)


def test_invalid_journal_of_a_node_that_the_run_has_not(tmp_path: Path) -> None:
    event = {"kind": "run", "start_ms": 0, "seed": 1, "traitors": [], "validators": []}
    (tmp_path / "history.jsonl").write_text(json.dumps(event) + "\n", "utf-8")
    (tmp_path / "journals").mkdir()
    (tmp_path / "journals" / "validator-9.journal").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"validator-9\.journal: the run has no such node"):
        load_run(tmp_path)


def test_a_journal_that_is_damaged_on_its_way_makes_could_not_tell() -> None:
    recorded = record_run()
    data = bytearray(recorded.journals["validator-2"])
    data[len(data) // 2] ^= 1
    verdict = play(dataclasses.replace(recorded, journals={**recorded.journals, "validator-2": bytes(data)}))[
        "journals"
    ]
    assert verdict.outcome is Outcome.COULD_NOT_TELL
    assert "the journal of validator-2 ends at height " in verdict.line
