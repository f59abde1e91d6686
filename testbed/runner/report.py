"""report: summary.json, junit.xml and the interleaved log of a run, and the lines that people read."""

from __future__ import annotations

import json
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from testbed.checkers.base import ENDED_EARLY, join_names
from testbed.cluster import Cluster
from testbed.invariants.base import TITLE
from testbed.runner.inside import Inside
from testbed.verdict import Outcome, Verdict

PACKAGES = ("tana", "httpx", "msgspec", "pynacl", "starlette", "uvicorn", "websockets")
_CALM = frozenset({Outcome.PROVEN, Outcome.NOT_ASKED})
_XML_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def make_summary(
    cluster: Cluster | None, verdicts: list[Verdict], outcome: Outcome, facts: dict[str, Any], inside: Inside
) -> dict[str, Any]:
    """Everything that a reader of a failed run needs first; `facts` are about the run itself."""
    return {
        "verdict": outcome.value,
        "first_line": str(verdicts[0]) if outcome is not Outcome.PROVEN and verdicts else "",
        **facts,
        "checks": [
            {"check": item.check, "outcome": item.outcome.value, "line": item.line, "facts": item.facts}
            for item in verdicts
        ],
        "first_violation": inside.violation,
        "faults": inside.faults,
        "nodes": describe_nodes(cluster, inside) if cluster is not None else {},
        "recent_events": [event.to_json() for event in list(cluster.history.recent)[-20:]]
        if cluster is not None and outcome is not Outcome.PROVEN
        else [],
        "versions": get_versions(),
    }


def describe_nodes(cluster: Cluster, inside: Inside) -> dict[str, Any]:
    """What each node answered last, and where it stood at its last step, as its journal tells."""
    return {
        node: {
            "health": cluster.view.health.get(node),
            "unreachable": cluster.view.unreachable.get(node, ""),
            "mesh": cluster.view.mesh.get(node),
            "blocks_read": cluster.view.read_height.get(node, 0),
            "consensus": inside.nodes.get(node),
        }
        for node in cluster.plan.node_ids
    }


def get_versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def write_report(folder: Path, summary: dict[str, Any], verdicts: list[Verdict]) -> None:
    text = json.dumps(summary, indent=2, ensure_ascii=False, default=list)
    (folder / "summary.json").write_text(text + "\n", "utf-8")
    write_junit(folder / "junit.xml", summary, verdicts)
    interleave_logs(folder / "logs")


def write_junit(path: Path, summary: dict[str, Any], verdicts: list[Verdict]) -> None:
    """One test case for each check: violated is a failure, could not tell is an error."""
    suite = ElementTree.Element(
        "testsuite",
        name=f"testbed.{summary['scenario']}.{summary['backend']}",
        tests=str(len(verdicts)),
        failures=str(sum(item.outcome is Outcome.VIOLATED for item in verdicts)),
        skipped=str(sum(item.outcome is Outcome.NOT_ASKED for item in verdicts)),
        errors=str(sum(item.outcome is Outcome.COULD_NOT_TELL for item in verdicts)),
        time=f"{summary['duration_ms'] / 1000:.3f}",
    )
    for item in verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname=f"testbed.{summary['scenario']}", name=item.check)
        line = _XML_UNFIT.sub("?", item.line)
        if item.outcome is Outcome.NOT_ASKED:
            ElementTree.SubElement(case, "skipped", message=line)
        elif item.outcome is not Outcome.PROVEN:
            tag = "failure" if item.outcome is Outcome.VIOLATED else "error"
            ElementTree.SubElement(case, tag, message=line).text = _XML_UNFIT.sub("?", str(item))
        else:
            ElementTree.SubElement(case, "system-out").text = line
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def interleave_logs(folder: Path) -> None:
    """All nodes' lines in the order of their times in `interleaved.log`; a line without a time stays behind its own."""
    rows: list[tuple[str, int, str]] = []
    for path in sorted(folder.glob("*.log")):
        if path.name == "interleaved.log":
            continue
        time = ""
        for line in path.read_text("utf-8", errors="replace").splitlines():
            time = _read_time(line) or time
            rows.append((time, len(rows), f"{path.stem:<12} {line}"))
    rows.sort(key=lambda row: row[:2])
    (folder / "interleaved.log").write_text("".join(f"{line}\n" for _, _, line in rows), "utf-8")


def _read_time(line: str) -> str:
    """The time of a structured line, in a form that sorts."""
    if not line.startswith("{"):
        return ""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("timestamp", "")) if isinstance(entry, dict) else ""


def find_program() -> str:
    """What to type for `testbed`: its name where the shell knows it, else the path it was called by, as make does."""
    called = sys.argv[0]
    return called if Path(called).name == "testbed" and shutil.which("testbed") is None else "testbed"


def format_verdicts(verdicts: list[Verdict], outcome: Outcome, folder: Path, command: str) -> list[str]:
    """The lines at the end of a run. Where it failed, the first one names the cause, the last what to do next."""
    lines = []
    if outcome is not Outcome.PROVEN and verdicts:
        lines.append(str(verdicts[0]))
    untold = [item for item in verdicts if item.line == ENDED_EARLY]
    inside = [item for item in verdicts if item.check.startswith(TITLE) and item.outcome in _CALM]
    idle = [item for item in verdicts if item.outcome is Outcome.NOT_ASKED and item not in inside]
    verdicts = [item for item in verdicts if item not in untold and item not in inside and item not in idle]
    if inside:
        holding = sum(item.outcome is Outcome.PROVEN for item in inside)
        line = f"{holding} hold step by step inside the nodes, {len(inside) - holding} had nothing to judge"
        verdicts.append(Verdict("invariants", Outcome.PROVEN, line))
    if idle:
        verdicts.append(Verdict("others", Outcome.NOT_ASKED, f"not asked: {join_names(item.check for item in idle)}"))
    width = max((len(item.check) for item in verdicts), default=0)
    marks = {Outcome.PROVEN: "✓", Outcome.VIOLATED: "✗", Outcome.COULD_NOT_TELL: "?", Outcome.NOT_ASKED: "–"}
    lines += [f"  {marks[item.outcome]} {item.check:<{width}}  {item.line}" for item in verdicts]
    if untold:
        lines.append(f"  ? {len(untold)} other checks: {ENDED_EARLY}")
    lines.append(f"{outcome.value.replace('_', ' ')}: {folder}")
    if outcome is not Outcome.PROVEN:
        program = find_program()
        lines += [f"again: {command.replace('testbed', program, 1)}", f"story: {program} replay {folder}"]
    return lines
