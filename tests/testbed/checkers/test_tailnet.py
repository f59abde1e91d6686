"""The checks of the tailnet: a recorded run on a real one proves them, and each forged fact is refused by name.

The history is that of `testbed run scenarios/tailnet.toml --backend docker`, without what these checks do not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.checkers import Checker
from testbed.checkers.tailnet import (
    TAILNET_CHECKERS,
    TailnetBytes,
    TailnetCapture,
    TailnetClaims,
    TailnetDoors,
    TailnetFirewall,
    TailnetIdentity,
    TailnetInterface,
    TailnetLinks,
)
from testbed.history import Event
from testbed.verdict import Outcome
from tests.testbed.forging import assert_violated, judge

RECORDED = Path(__file__).parent.parent / "data" / "tailnet-history.jsonl"
Row = dict[str, Any]


def read_rows() -> list[Row]:
    return [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def make_events(rows: list[Row]) -> list[Event]:
    heads = ("sequence", "at_ms", "kind", "node")
    return [
        Event(
            row["sequence"],
            row["at_ms"],
            row["kind"],
            row["node"],
            {key: value for key, value in row.items() if key not in heads},
        )
        for row in rows
    ]


def forge(kind: str, accepts: Callable[[Row], bool] = lambda row: True, **changes: Any) -> list[Event]:
    """The recorded history with the first event of a kind that `accepts` takes changed."""
    rows = read_rows()
    row = next(row for row in rows if row["kind"] == kind and accepts(row))
    row.update(changes)
    return make_events(rows)


def without(kind: str, accepts: Callable[[Row], bool] = lambda row: True) -> list[Event]:
    return make_events([row for row in read_rows() if not (row["kind"] == kind and accepts(row))])


@pytest.mark.parametrize("checker", TAILNET_CHECKERS, ids=lambda checker: checker.name)
def test_proven_by_the_recorded_history(checker: type[Checker]) -> None:
    verdict = judge(checker(), make_events(read_rows()))
    assert verdict.outcome is Outcome.PROVEN, verdict


@pytest.mark.parametrize("checker", TAILNET_CHECKERS, ids=lambda checker: checker.name)
def test_proves_nothing_without_events(checker: type[Checker]) -> None:
    verdict = judge(checker(), [event for event in make_events(read_rows()) if event.kind == "run"])
    assert verdict.outcome is Outcome.COULD_NOT_TELL, verdict


@pytest.mark.parametrize("checker", TAILNET_CHECKERS, ids=lambda checker: checker.name)
def test_is_not_asked_by_other_scenarios(checker: type[Checker]) -> None:
    rows = read_rows()[:1]
    rows[0]["steps"] = ["start"]
    assert judge(checker(), make_events(rows)).outcome is Outcome.NOT_ASKED


FORGED: list[tuple[type[Checker], list[Event], str]] = [
    (TailnetInterface, forge("tailnet_place", is_tun=False), "≠ Running with TUN True"),
    (TailnetInterface, forge("tailnet_place", state="NeedsLogin"), "Tailscale is NeedsLogin"),
    (TailnetInterface, forge("tailnet_place", ip="172.18.0.3"), "is not in 100.64.0.0/10"),
    (TailnetInterface, forge("tailnet_place", name="somebody"), "on the tailnet it is 'somebody'"),
    (TailnetInterface, forge("tailnet_place", routes={"validator-2": "eth0"}), "its way to validator-2 is 'eth0'"),
    (TailnetLinks, forge("tailnet_link", address="172.18.0.4:9000"), "which is not in 100.64.0.0/10"),
    (TailnetLinks, forge("tailnet_link", owner="mesh"), "which is of mesh"),
    (TailnetLinks, forge("tailnet_link", address="100.64.9.9:9000"), "≠ 100.64.0."),
    (TailnetLinks, forge("tailnet_link_claim", answer="accepted"), "≠ 'wrong_identity'"),
    (TailnetDoors, forge("tailnet_knock", lambda row: row["way"] == "bridge", answer="HTTP 200"), "≠ 'HTTP 403'"),
    (
        TailnetDoors,
        forge("tailnet_knock", lambda row: row["way"] == "bridge" and row["port"] == 9000, answer="open"),
        "≠ 'refused'",
    ),
    (TailnetDoors, forge("tailnet_knock", lambda row: row["way"] == "tailnet", answer="refused"), "≠ an answer"),
    (TailnetFirewall, forge("tailnet_firewall", lambda row: row["phase"] == "off", passed=0), "no WireGuard packet"),
    (TailnetFirewall, forge("tailnet_knock", lambda row: row["way"] == "firewalled", answer="open"), "≠ 'silent'"),
    (TailnetFirewall, without("block", lambda row: row["height"] > 30), "no new block while only WireGuard"),
    (TailnetBytes, forge("tailnet_bytes", lambda row: row["phase"] == "after", sent=0, received=0), "≠ the "),
    (
        TailnetCapture,
        forge("tailnet_capture", lambda row: row["interface"] == "eth0", marker=1),
        "1 packets on eth0 hold the marker in the clear",
    ),
    (
        TailnetCapture,
        forge("tailnet_capture", lambda row: row["interface"] == "tailscale0", marker=0),
        "on tailscale0 holds the marker ≠ some",
    ),
    (TailnetClaims, forge("tailnet_claim", status=200, code=""), "≠ 403"),
    (
        TailnetClaims,
        forge("tailnet_claim", lambda row: row["source"] == "validator-2", logged_visitor=""),
        "'s log names",
    ),
    (TailnetIdentity, forge("tailnet_place", lambda row: row["when"] != "at first", id="other"), "is node other with"),
    (TailnetIdentity, forge("tailnet_nodes", nodes=[]), "the control server lists "),
]


@pytest.mark.parametrize(
    ("checker", "events", "words"), FORGED, ids=[f"{row[0].name}-{number}" for number, row in enumerate(FORGED)]
)
def test_invalid_history_is_refused_by_name(checker: type[Checker], events: list[Event], words: str) -> None:
    assert_violated(checker(), events, words)


INCOMPLETE: list[tuple[type[Checker], list[Event]]] = [
    (TailnetInterface, without("tailnet_place", lambda row: row["node"] == "validator-2")),
    (TailnetLinks, without("tailnet_link", lambda row: row["node"] == "validator-2")),
    (TailnetLinks, without("tailnet_link_claim")),
    (TailnetDoors, without("tailnet_knock", lambda row: row["port"] == 8180)),
    (TailnetFirewall, without("tailnet_firewall", lambda row: row["node"] == "mesh")),
    (TailnetBytes, forge("tailnet_payload", smallest=100)),
    (TailnetCapture, forge("tailnet_capture", lambda row: row["interface"] == "eth0", control=0)),
    (TailnetCapture, forge("tailnet_capture", lambda row: row["interface"] == "eth0", missed=3)),
    (TailnetClaims, without("tailnet_claim", lambda row: row["source"] == "validator-2")),
    (TailnetIdentity, without("tailnet_restarted", lambda row: row["node"] == "headscale")),
]


@pytest.mark.parametrize(
    ("checker", "events"), INCOMPLETE, ids=[f"{row[0].name}-{number}" for number, row in enumerate(INCOMPLETE)]
)
def test_incomplete_history_proves_nothing(checker: type[Checker], events: list[Event]) -> None:
    assert judge(checker(), events).outcome is Outcome.COULD_NOT_TELL
