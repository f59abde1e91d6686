"""Logs of nodes as files, `<node>.log` in one folder: read while they grow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tana.node.login_errors import explain_login_error

_REMEDY = "  → "
"""How our commands begin the line after an error."""
_TAILSCALE_IS_IN = "Startup complete"
"""What a sidecar's supervisor says once it is on the tailnet: complaints before that are no reasons any more."""
_TAILSCALE_ERROR = re.compile(r"(?:Received|backend|getLocalBackend) error: (.+)")


class LogFolder:
    """Remembers how far each log has been read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[str, int] = {}

    def get_path(self, node: str) -> Path:
        return self._folder / f"{node}.log"

    def read_new(self, node: str) -> list[dict[str, Any]]:
        """The structured entries since the last call."""
        try:
            with self.get_path(node).open("rb") as file:
                file.seek(self._offsets.get(node, 0))
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[node] = self._offsets.get(node, 0) + len(whole)
        return [entry for line in whole.splitlines() if (entry := _parse_line(line)) is not None]

    def find_last_words(self, node: str) -> str:
        """The line that says why a node ended."""
        try:
            return find_last_words(self.get_path(node).read_text("utf-8", errors="replace"))
        except OSError:
            return "it wrote nothing"


def find_last_words(log: str) -> str:
    """The line of a log that says why its process ended: the exception of a traceback; what Tailscale could not do,
    with its remedy; else the last line, with what stands before it where that line is a remedy."""
    _, traceback, tail = log.rpartition("Traceback (most recent call last):\n")
    lines = (tail if traceback else log).splitlines()
    if traceback:
        lines = [line for line in lines if line and not line[0].isspace()][:1] or lines
    if not lines:
        return "it wrote nothing"
    for line in reversed(lines):
        if _TAILSCALE_IS_IN in line:
            break
        found = _TAILSCALE_ERROR.search(line)
        known = explain_login_error(found[1]) if found else None
        if found and known:
            return f"{known.meaning}: {found[1][:300]} ({known.remedy})"
    if lines[-1].startswith(_REMEDY) and len(lines) > 1:
        return f"{lines[-2].removeprefix('error: ')} ({lines[-1].removeprefix(_REMEDY)})"[:500]
    return lines[-1][:500]


def _parse_line(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
