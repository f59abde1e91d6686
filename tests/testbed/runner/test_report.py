"""What a run leaves behind, and the order in which it tells what it found."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from testbed.checkers import Agreement, Convergence
from testbed.runner.check import check
from testbed.runner.report import format_verdicts, interleave_logs, write_junit
from testbed.runner.run import Options, run
from testbed.runner.setup import link_latest, make_run_folder
from testbed.verdict import Outcome, Verdict, judge
from tests.testbed.forging import CONVERGE

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
PROVEN = Verdict("agreement", Outcome.PROVEN, "one block at each of 9 heights")
VIOLATED = Verdict("state_root", Outcome.VIOLATED, "validator-1 and validator-2 at height 7: ab… ≠ cd…")
UNKNOWN = Verdict("money", Outcome.COULD_NOT_TELL, "the mesh served no genesis")
NOT_ASKED = Verdict("faults", Outcome.NOT_ASKED, "no fault was applied")


def test_run_folders_are_named_by_time_and_never_shared(tmp_path: Path) -> None:
    names = [make_run_folder(tmp_path / "runs", "converge", NOW).name for _ in range(3)]
    assert names == [f"20260102T030405Z-converge{tail}" for tail in ("", "-2", "-3")]


def test_latest_points_to_the_last_run(tmp_path: Path) -> None:
    for _ in range(2):
        folder = make_run_folder(tmp_path, "converge", NOW)
        link_latest(folder)
        assert (tmp_path / "latest").resolve() == folder.resolve()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == ["latest"]


def test_judge() -> None:
    assert judge([PROVEN, NOT_ASKED]) is Outcome.PROVEN
    assert judge([PROVEN, UNKNOWN]) is Outcome.COULD_NOT_TELL
    assert judge([PROVEN, UNKNOWN, VIOLATED]) is Outcome.VIOLATED
    assert judge([]) is judge([NOT_ASKED]) is Outcome.COULD_NOT_TELL
    assert [outcome.exit_code for outcome in Outcome] == [0, 1, 2, 2]


def test_what_ended_the_run_comes_first() -> None:
    verdicts = check([Agreement(), Convergence()], UNKNOWN)
    assert [verdict.check for verdict in verdicts] == ["money", "agreement", "convergence"]
    assert {verdict.outcome for verdict in verdicts} == {Outcome.COULD_NOT_TELL}


def test_a_checkers_own_violation_replaces_what_only_noticed_it() -> None:
    checker = Agreement()
    checker.violate("two blocks")
    noticed = Verdict("agreement", Outcome.COULD_NOT_TELL, "waited too long")
    assert check([checker], noticed) == [Verdict("agreement", Outcome.VIOLATED, "two blocks", {})]


def test_first_line_of_a_failure_is_the_violation(tmp_path: Path) -> None:
    lines = format_verdicts([VIOLATED, PROVEN], Outcome.VIOLATED, tmp_path, "testbed run x")
    assert lines[0] == "VIOLATED state_root: validator-1 and validator-2 at height 7: ab… ≠ cd…"
    assert lines[-2:] == ["again: testbed run x", f"story: testbed replay {tmp_path}"]


@pytest.mark.parametrize(
    ("called", "path", "program"),
    [
        (".venv/bin/testbed", "", ".venv/bin/testbed"),
        (".venv/bin/testbed", "known", "testbed"),
        ("/usr/bin/pytest", "", "testbed"),
    ],
)
def test_what_to_type_works_in_the_shell_that_ran_it(
    called: str, path: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path:
        (tmp_path / "testbed").touch(0o755)
    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = format_verdicts([VIOLATED], Outcome.VIOLATED, tmp_path, "testbed run x")
    assert lines[-2:] == [f"again: {program} run x", f"story: {program} replay {tmp_path}"]


def test_junit_counts_what_failed(tmp_path: Path) -> None:
    bad = Verdict("progress", Outcome.VIOLATED, "a \x00 that XML cannot hold")
    summary: dict[str, Any] = {"scenario": "converge", "backend": "simulation", "duration_ms": 1234}
    write_junit(tmp_path / "junit.xml", summary, [VIOLATED, bad, UNKNOWN, PROVEN, NOT_ASKED])
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")]
    assert counts == ["5", "2", "1", "1", "1.234"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == VIOLATED.line


def test_logs_are_interleaved_by_time(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text('{"timestamp":"2026-01-01T00:00:02Z","event":"two"}\nno time\n', "utf-8")
    (tmp_path / "b.log").write_text(
        '{"timestamp":"2026-01-01T00:00:01Z","event":"one"}\n{"timestamp":"2026-01-01T00:00:03Z","event":"three"}\n{torn',
        "utf-8",
    )
    interleave_logs(tmp_path)
    lines = (tmp_path / "interleaved.log").read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["b", "a", "a", "b", "b"]
    assert "no time" in lines[2]


def test_a_proven_run_leaves_everything(tmp_path: Path) -> None:
    result = run(Options(CONVERGE, "simulation", 3, tmp_path, is_silent=True))
    folder = tmp_path / "latest"
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert summary["verdict"] == "proven"
    assert summary["first_line"] == ""
    assert summary["seed"] == 3
    assert summary["command"] == f"testbed run {CONVERGE} --backend simulation --seed 3"
    assert all(step["is_done"] for step in summary["steps"])
    assert summary["versions"]["tana"]
    assert summary["history"]["events"] == len((folder / "history.jsonl").read_text("utf-8").splitlines())
    hashes = {node["health"]["block_hash"] for node in summary["nodes"].values()}
    assert len(hashes) == 1
    facts = {item["check"]: item["facts"] for item in summary["checks"]}
    assert facts["exactly_once"]["acknowledged"] == 304
    assert [entry["phase"] for entry in facts["faults"]["timeline"]] == ["asked", "applied", "undone"] * 2
    assert (folder / "logs" / "interleaved.log").stat().st_size > 0
    assert result.folder.resolve() == folder.resolve()
