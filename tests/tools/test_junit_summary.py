"""The summary of a JUnit file for a CI job's page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tools" / "junit_summary.py"
JUNIT = """<testsuites><testsuite>
<testcase classname="testbed.converge" name="agreement" time="1.2"/>
<testcase classname="testbed.converge" name="money"><failure message="10 | 9 &lt;b&gt;&#10;more"/></testcase>
<testcase classname="testbed.converge" name="topology"><skipped/></testcase>
</testsuite></testsuites>"""


def summarize(path: Path) -> str:
    done = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, check=True)
    return done.stdout


def test_failures_come_first_and_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    lines = summarize(path).splitlines()
    assert lines[0].endswith("2 of 3 passed")
    assert lines[4] == "| ❌ | testbed.converge.money |  | 10 \\| 9 &lt;b> |"
    assert lines[5] == "| ✅ | testbed.converge.agreement | 1.2 |  |"


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    assert "failed before" in summarize(tmp_path / "junit.xml")
