"""Scenarios that are written for a test: how they begin, and the smallest one."""

from __future__ import annotations

from pathlib import Path

OPENING = """
[[steps]]
do = "start"
timeout_ms = 60000

[[steps]]
do = "register"

[[steps]]
do = "approve"

[[steps]]
do = "genesis"
"""
"""Steps up to a chain that runs."""

SMALL = f"""
name = "small"
description = "Two validators come to agree."
validators = 2
{OPENING}
[[steps]]
do = "progress"
heights = {{heights}}
timeout_ms = 600000

[[steps]]
do = "converge"
"""


def write_small(folder: Path, heights: int = 2) -> Path:
    """A file of the smallest scenario; with very many heights it is still running when it is ended."""
    path = folder / "small.toml"
    path.write_text(SMALL.format(heights=heights), "utf-8")
    return path
