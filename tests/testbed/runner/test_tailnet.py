"""The steps that show the tailnet, against members that are on it and members that are not quite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tana.types.errors import Unavailable
from testbed.backends.base import CONTROL, MESH
from testbed.checkers.tailnet import TAILNET_CHECKERS
from testbed.runner.run import record_run
from testbed.runner.tailnet import STEPS
from testbed.runner.tailnet_traffic import PAYLOAD_BYTES
from testbed.steps import Step, get_step_name
from testbed.verdict import Outcome, RunEnded, Verdict
from tests.testbed.faults.fakes import MEMBERS, NODES
from tests.testbed.runner.fake_tailnet import Behaviour, FakeTailnetCluster

Start = Callable[..., FakeTailnetCluster]


@pytest.fixture
def start() -> Start:
    """Makes a cluster that behaves as told, watched by every check of the tailnet."""

    def make(**behaviour: Any) -> FakeTailnetCluster:
        cluster = FakeTailnetCluster(Behaviour(**behaviour), [checker() for checker in TAILNET_CHECKERS])
        record_run(cluster, cluster.plan)
        return cluster

    return make


def get_step(cluster: FakeTailnetCluster, name: str) -> Step:
    return next(step for step in cluster.plan.scenario.steps if get_step_name(step) == name)


def run_steps(cluster: FakeTailnetCluster, names: Sequence[str]) -> dict[str, Verdict]:
    """Run steps of the scenario; the verdicts of the checks that belong to them."""
    for name in names:
        STEPS[name](cluster, get_step(cluster, name))
    return {checker.name: checker.finish() for checker in cluster.checkers if checker.steps & set(names)}


def assert_violated(cluster: FakeTailnetCluster, names: Sequence[str], words: str) -> None:
    """The steps end, there or in the verdict, with a violation in these words."""
    try:
        verdicts = list(run_steps(cluster, names).values())
        cluster.raise_violation()
    except RunEnded as end:
        verdicts = [end.verdict]
    violated = [verdict.line for verdict in verdicts if verdict.outcome is Outcome.VIOLATED]
    assert any(words in line for line in violated), verdicts


def list_events(cluster: FakeTailnetCluster, kind: str) -> list[dict[str, Any]]:
    return [{"node": event.node, **event.data} for event in cluster.events if event.kind == kind]


@pytest.mark.parametrize("names", [[name] for name in STEPS] + [list(STEPS)], ids="-".join)
def test_members_on_the_tailnet_are_proven(start: Start, names: list[str]) -> None:
    cluster = start()
    # Every place is asked first: the others compare with it.
    verdicts = run_steps(cluster, ["tailnet_places", *(name for name in names if name != "tailnet_places")])
    assert {verdict.outcome for verdict in verdicts.values()} == {Outcome.PROVEN}, verdicts
    assert not cluster.tailnet.down
    assert not any(cluster.tailnet.chains.values()), "no rule is left behind"


def test_every_way_between_members_is_asked(start: Start) -> None:
    cluster = start()
    run_steps(cluster, ["tailnet_places"])
    places = list_events(cluster, "tailnet_place")
    assert [place["node"] for place in places] == [MESH, *NODES]
    assert all(set(place["routes"]) == set(MEMBERS) - {place["node"]} for place in places)


def test_a_false_link_is_tried_only_by_the_key_that_dials(start: Start) -> None:
    cluster = start()
    run_steps(cluster, ["tailnet_links"])
    keys = {node.node_id: node.key.public_key for node in cluster.plan.nodes}
    claims = list_events(cluster, "tailnet_link_claim")
    assert len(claims) == 3
    assert all(keys[claim["claimed"]] < keys[claim["node"]] for claim in claims)
    assert all(claim["source"] not in (claim["claimed"], claim["node"]) for claim in claims)


def test_every_container_is_restarted_in_the_order_of_its_parts(start: Start) -> None:
    cluster = start()
    run_steps(cluster, ["tailnet_places", "tailnet_restarts"])
    acts = [act for act in cluster.tailnet.acts if act[0] in (CONTROL, "validator-2")]
    node = "validator-2"
    assert acts == [
        (CONTROL, "service", "stop"),
        (CONTROL, "service", "start"),
        (node, "service", "stop"),
        (node, "service", "start"),
        (node, "sidecar", "stop"),
        (node, "sidecar", "start"),
        *[(node, place, "stop") for place in ("service", "sidecar", "anchor")],
        *[(node, place, "start") for place in ("anchor", "sidecar", "service")],
    ]
    assert cluster.killed == set()


def test_every_packet_filter_goes_even_where_the_chain_stands_still(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start()

    def stand_still(*arguments: Any) -> None:
        raise RunEnded(Verdict("progress", Outcome.VIOLATED, "no block"))

    monkeypatch.setattr("testbed.runner.tailnet.wait_progress", stand_still)
    with pytest.raises(RunEnded):
        run_steps(cluster, ["tailnet_firewall"])
    assert not any(cluster.tailnet.chains.values())


def test_payload_is_larger_than_a_packet_and_full_of_the_marker(start: Start) -> None:
    cluster = start()
    run_steps(cluster, ["tailnet_traffic"])
    payload = list_events(cluster, "tailnet_payload")[0]
    assert payload["smallest"] > PAYLOAD_BYTES - 100
    memos = [event["body"]["metadata"]["memo"] for event in list_events(cluster, "submitted")]
    marker = memos[0][:48]
    assert all(memo == marker * (len(memo) // len(marker)) for memo in memos)


@pytest.mark.parametrize(
    ("behaviour", "steps", "words"),
    [
        ({"device": "eth0"}, ["tailnet_places"], "its way to validator-1 is 'eth0' ≠ 'tailscale0'"),
        ({"link_owner": "mesh"}, ["tailnet_links"], "which is of mesh ≠ validator-2"),
        ({"link_answer": "admitted"}, ["tailnet_links"], "key with 'admitted' ≠ 'wrong_identity'"),
        (
            {
                "bridge_answers": {
                    8080: "HTTP 200",
                    8180: "refused",
                    9000: "refused",
                    9001: "HTTP 403",
                    8190: "HTTP 403",
                }
            },
            ["tailnet_doors"],
            "port 8080 answered validator-2 on the bridge with 'HTTP 200' ≠ 'HTTP 403'",
        ),
        ({"firewalled_answer": "HTTP 403"}, ["tailnet_firewall"], "through the firewall with 'HTTP 403' ≠ 'silent'"),
        ({"claim_status": 201}, ["tailnet_claims"], "from validator-2 with 201 wrong_identity ≠ 403 wrong_identity"),
        ({"claim_is_logged": False}, ["tailnet_claims"], "log names nobody for a registration in another's name"),
        ({"eth0_has_marker": True}, ["tailnet_traffic"], "1 packets on eth0 hold the marker in the clear ≠ none"),
        ({"goes_elsewhere": True}, ["tailnet_traffic"], "bytes on the tailnet ≠ the"),
        ({"extra_nodes": ("validator-3-1",)}, ["tailnet_places", "tailnet_restarts"], "the control server lists"),
    ],
)
def test_invalid_behaviour(start: Start, behaviour: dict[str, Any], steps: list[str], words: str) -> None:
    assert_violated(start(**behaviour), steps, words)


def test_invalid_container_that_does_not_stop(start: Start) -> None:
    verdicts = run_steps(start(stops=False), ["tailnet_places", "tailnet_restarts"])
    assert verdicts["tailnet_identity"].outcome is Outcome.COULD_NOT_TELL
    assert "was not seen down and restarted" in verdicts["tailnet_identity"].line


def test_invalid_member_that_is_not_on_the_tailnet(start: Start) -> None:
    cluster = start()
    cluster.tailnet.told_down.add("validator-3")
    assert_violated(cluster, ["tailnet_places"], "validator-3's sidecar says Stopped")


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"takes_transactions": False}, "validator-1 answered 5 transactions with 503"),
        ({"loses_transactions": True}, "is not final on validator-1 after"),
    ],
)
def test_invalid_payload_that_is_not_final(start: Start, behaviour: dict[str, Any], words: str) -> None:
    cluster = start(**behaviour)
    with pytest.raises(Unavailable, match=words):
        run_steps(cluster, ["tailnet_traffic"])
    assert all(capture.is_set() for capture in cluster.tailnet._captures.values()), "no capture is left behind"
