"""What a person sees of a run: a live table on a terminal, calm lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

Row = Mapping[str, str]
COLUMNS = ("node", "state", "height", "block", "peers", "heartbeat", "round and step")


class Screen(Protocol):
    """Where the runner tells what goes on."""

    def begin_step(self, words: str, number: int, total: int) -> None: ...

    def end_step(self, words: str, duration_ms: int) -> None: ...

    def update(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class SilentScreen:
    """Says nothing: for `--json` and tests."""

    def begin_step(self, words: str, number: int, total: int) -> None: ...

    def end_step(self, words: str, duration_ms: int) -> None: ...

    def update(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """One line for each step that is done."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._rows: Sequence[Row] = ()
        self._place = ""

    def begin_step(self, words: str, number: int, total: int) -> None:
        self._place = f"[{number:>{len(str(total))}}/{total}]"

    def end_step(self, words: str, duration_ms: int) -> None:
        heights = " ".join(row["height"] for row in self._rows if row["height"])
        where = f"  heights {heights}" if heights else ""
        print(f"{self._place} {words:<42} {duration_ms:>6} ms{where}", file=self._out, flush=True)

    def update(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def close(self) -> None:
        self._out.flush()


class LiveScreen:
    """A table of the nodes that redraws itself, under it the step that is going on; finished steps scroll above."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._rows: Sequence[Row] = ()
        self._step = ""
        self._live = Live(console=console, refresh_per_second=10, transient=True)
        self._live.start()

    def begin_step(self, words: str, number: int, total: int) -> None:
        self._step = f"{number}/{total} {words}"
        self._draw()

    def end_step(self, words: str, duration_ms: int) -> None:
        self._live.console.print(Text.assemble(("✓ ", "green"), f"{words} ", (f"{duration_ms} ms", "dim")))

    def update(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._draw()

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> None:
        self._live.update(Group(draw_table(self._title, self._rows), Text(f"▶ {self._step}")))


def draw_table(title: str, rows: Sequence[Row]) -> Table:
    """The table of the nodes."""
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True)
    for row in rows:
        style = {"validating": "green", "gone": "red", "stopped": "red"}.get(row["state"], "")
        table.add_row(*(Text(row[column], style=style if column == "state" else "") for column in COLUMNS))
    return table


def make_screen(title: str, *, is_silent: bool) -> Screen:
    """The screen that fits: silent where asked, live on a terminal, plain lines elsewhere."""
    if is_silent:
        return SilentScreen()
    console = Console()
    return LiveScreen(console, title) if console.is_terminal else PlainScreen()


def describe_place(health: Mapping[str, Any]) -> str:
    """Where a node stands within the height that it decides: `0 prevote`; before round 0 it waits for work."""
    return "waits" if health["round"] < 0 else f"{health['round']} {health['step']}"


def make_rows(
    node_ids: Sequence[str],
    health: Mapping[str, Mapping[str, Any] | None],
    mesh: Mapping[str, Mapping[str, Any]],
    now_ms: int,
) -> list[Row]:
    """The rows of the table from what nodes and mesh answered last."""
    rows: list[Row] = []
    for node in node_ids:
        answer, listed = health.get(node), mesh.get(node, {})
        heartbeat = listed.get("last_heartbeat")
        age = f"{max(now_ms - heartbeat, 0) / 1000:.1f} s" if heartbeat else "–"
        rows.append(
            {
                "node": node,
                "state": answer["state"] if answer else "gone",
                "height": str(answer["height"]) if answer else "",
                "block": str(answer["block_hash"] or "")[:12] if answer else "",
                "peers": str(answer["peers"]) if answer else "",
                "heartbeat": f"{listed.get('status', '–')} {age}",
                "round and step": describe_place(answer) if answer and answer["step"] else "",
            }
        )
    return rows
