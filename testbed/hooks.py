"""How the testbed steers a validator from inside: hooks that obey what the harness wants at the moment.

Keys and values: `heartbeat` = `off` sends no more heartbeats. A real node reads them from its control file, a
simulated one from the dict that stands for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tana.node.hooks import Hooks


class ControlledHooks(Hooks):
    """Hooks that look at the wishes of the harness whenever they are asked."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        self._read = read

    def may_send_heartbeat(self) -> bool:
        return self._read().get("heartbeat") != "off"


def read_control_file(path: Path) -> Mapping[str, str]:
    """The wishes in a node's control file (replaced whole by the harness); none where there is no file."""
    try:
        values: dict[str, str] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return values


def write_control_file(path: Path, key: str, value: str) -> None:
    """Set one wish. Whoever reads the file sees the old wishes or the new."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**read_control_file(path), key: value}), "utf-8")
    temporary.replace(path)
