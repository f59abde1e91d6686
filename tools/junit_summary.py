"""A JUnit file as Markdown, for the summary page of a CI job: `python3 tools/junit_summary.py junit.xml`.

Needs the standard library only. A file that is not there is said to be missing: the job failed before it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

MAX_ROWS = 200
"""More are counted, not listed; failures come first."""
_MARKS = {"failure": "❌", "error": "❌", "skipped": "➖"}


def summarize(path: Path) -> str:
    """Counts, then a table of what failed, or of everything where that is short."""
    if not path.exists():
        return f"There is no {path}: the job failed before it was written.\n"
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    rows = [_describe(case) for case in cases]
    failed = [row for row in rows if row[0] == "❌"]
    lines = [f"### {path}: {len(cases) - len(failed)} of {len(cases)} passed", ""]
    listed = (failed if len(rows) > MAX_ROWS else sorted(rows, key=lambda row: row[0] != "❌"))[:MAX_ROWS]
    if listed:
        lines += ["| | test | s | |", "|---|---|---|---|"]
        lines += [f"| {mark} | {_escape(name)} | {time} | {_escape(words)} |" for mark, name, time, words in listed]
    return "\n".join(lines) + "\n"


def _describe(case: ElementTree.Element) -> tuple[str, str, str, str]:
    result = next((child for child in case if child.tag in _MARKS), None)
    name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
    if result is None:
        return "✅", name, case.get("time", ""), ""
    words = result.get("message") or (result.text or "").strip()
    return _MARKS[result.tag], name, case.get("time", ""), words.partition("\n")[0][:300]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    print("".join(summarize(Path(name)) for name in sys.argv[1:]), end="")
