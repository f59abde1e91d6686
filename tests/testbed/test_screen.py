"""The screens: a table with what nodes answered on a terminal, one line for each step elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from testbed.screen import LiveScreen, PlainScreen, draw_table, make_rows

HEALTH = {
    "state": "validating",
    "height": 12,
    "block_hash": "ab" * 32,
    "peers": 2,
    "round": 0,
    "step": "prevote",
}
MESH = {"validator-1": {"status": "active", "last_heartbeat": 9_000}}


def test_rows_say_what_nodes_answered() -> None:
    rows = make_rows(("validator-1", "validator-2"), {"validator-1": HEALTH, "validator-2": None}, MESH, 10_500)
    assert rows[0] == {
        "node": "validator-1",
        "state": "validating",
        "height": "12",
        "block": "abababababab",
        "peers": "2",
        "heartbeat": "active 1.5 s",
        "round and step": "0 prevote",
    }
    assert rows[1]["state"] == "gone"


def test_table_shows_every_column() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(draw_table("converge", make_rows(("validator-1",), {"validator-1": HEALTH}, MESH, 10_500)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("converge", "validator-1", "validating", "12", "abababababab", "active 1.5 s", "0 prevote"):
        assert words in text


def test_plain_screen_has_one_line_for_each_step() -> None:
    out = io.StringIO()
    screen = PlainScreen(out)
    screen.begin_step("start", 1, 2)
    screen.update(make_rows(("validator-1",), {"validator-1": HEALTH}, MESH, 10_500))
    screen.end_step("start", 17)
    screen.close()
    assert out.getvalue().split() == ["[1/2]", "start", "17", "ms", "heights", "12"]


def test_live_screen_draws_on_a_terminal() -> None:
    out = io.StringIO()
    screen = LiveScreen(Console(file=out, force_terminal=True, width=120), "converge")
    screen.begin_step("start", 1, 2)
    screen.update(make_rows(("validator-1",), {"validator-1": HEALTH}, MESH, 10_500))
    screen.end_step("start", 17)
    screen.close()
    assert "start" in out.getvalue()
    assert "17 ms" in out.getvalue()
