"""Faults of a validator's disk: each is verified by what the validator itself says, and its operator helps it back."""

from __future__ import annotations

from typing import Any

import pytest

from tana.types.errors import Conflict, Unavailable
from testbed.faults.base import NotApplied
from testbed.faults.data_wiped import BEHIND, DataWiped
from testbed.faults.log_garbled import LogGarbled
from testbed.faults.sign_state_wiped import MARGINS, SignStateWiped
from testbed.faults.torn_write import TORN, TornWrite
from tests.testbed.faults.fakes import COMPLAINTS, HARM, NODE, FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def wiped(cluster: FakeCluster) -> SignStateWiped:
    """A sign-state that is wiped, and the validator abstains."""
    fault = SignStateWiped(cluster, NODE, 1)
    fault.apply()
    return fault


def test_recovered_at_what_the_others_have_seen(cluster: FakeCluster, wiped: SignStateWiped) -> None:
    wiped.verify()
    wiped.undo()
    assert cluster.recovered == [cluster.seen]


def test_recovered_above_a_chain_that_goes_on(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()
    recover = FakeCluster.recover

    def move_on(self: FakeCluster, node: str, height: int, round: int) -> str:
        # What the operator has read is old by the time the command asks again.
        self.seen = (self.seen[0] + 3, 0)
        return recover(self, node, height, round)

    monkeypatch.setattr(FakeCluster, "recover", move_on)
    wiped.undo()
    assert cluster.recovered == [(11 + MARGINS[1], 0)], "the second try"


def test_every_one_that_was_struck_is_recovered(cluster: FakeCluster) -> None:
    fault = SignStateWiped(cluster, NODE, 1, ["validator-2"])
    assert SignStateWiped.find_broken(NODE, ["validator-2"], cluster.node_ids) == {NODE, "validator-2"}
    fault.apply()
    assert fault.verify().startswith("validator-1 and validator-2 abstain")
    fault.undo()
    assert len(cluster.recovered) == 2


def test_not_applied_where_it_does_not_abstain(cluster: FakeCluster, wiped: SignStateWiped) -> None:
    cluster.health = {"height": 7, "state": "validating", "reason": ""}
    with pytest.raises(NotApplied, match="validator-1 does not abstain but is validating"):
        wiped.verify()


@pytest.mark.parametrize(
    ("reason", "missing"), [("the sign-state is missing", "tana validator recover"), ("no reason at all", "is missing")]
)
def test_not_applied_where_it_does_not_say_why(
    cluster: FakeCluster, wiped: SignStateWiped, reason: str, missing: str
) -> None:
    assert cluster.health is not None
    cluster.health["reason"] = reason
    with pytest.raises(NotApplied, match=f"does not say '{missing}'"):
        wiped.verify()


def test_a_garbled_log_must_be_called_damaged(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMPLAINTS, LogGarbled.how, COMPLAINTS[SignStateWiped.how])
    fault = LogGarbled(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="does not say 'is damaged at byte'"):
        fault.verify()


def test_found_where_it_signs_without_its_sign_state(cluster: FakeCluster, wiped: SignStateWiped) -> None:
    wiped.verify()
    assert wiped.describe_effect()
    cluster.signed_height = cluster.seen[0] + 1
    with pytest.raises(NotApplied, match="signed block 9 without its sign-state, which it lost at 8"):
        wiped.describe_effect()


def test_found_where_it_signs_nothing_after_its_recovery(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()
    monkeypatch.setattr(cluster, "get_signed_height", lambda node: 7)
    with pytest.raises(NotApplied, match="signs nothing after its recovery above height 8"):
        wiped.undo()


def test_found_where_it_abstains_after_its_recovery(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()
    monkeypatch.setattr(cluster, "recover", lambda node, height, round: "")
    with pytest.raises(NotApplied, match="is abstaining after its recovery"):
        wiped.undo()


def test_invalid_every_slot_too_low(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()
    tried = []

    def refuse(node: str, height: int, round: int) -> str:
        tried.append(height)
        raise Conflict(f"height {height} round {round} is too low: validator-2 has seen more", code="slot_too_low")

    monkeypatch.setattr(cluster, "recover", refuse)
    with pytest.raises(NotApplied, match="cannot be recovered: height 72 round 0 is too low"):
        wiped.undo()
    assert tried == [8 + margin for margin in MARGINS]


def test_invalid_nothing_to_recover(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()

    def refuse(*arguments: Any) -> str:
        raise Conflict("the sign-state is whole", code="nothing_to_recover")

    monkeypatch.setattr(cluster, "recover", refuse)
    with pytest.raises(Conflict, match="is whole"):
        wiped.undo()


def test_invalid_nobody_says_what_it_has_seen(
    cluster: FakeCluster, wiped: SignStateWiped, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiped.verify()
    monkeypatch.setattr("testbed.faults.sign_state_wiped.read_seen", lambda health: None)
    with pytest.raises(NotApplied, match="no other validator says what it has seen"):
        wiped.undo()


def test_invalid_torn_write_that_cannot_be_made(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(node: str, how: str) -> None:
        raise Unavailable("no such container")

    monkeypatch.setattr(cluster, "damage", fail)
    with pytest.raises(Unavailable):
        TornWrite(cluster, NODE, 1).apply()


def test_found_where_a_torn_write_is_not_noticed(cluster: FakeCluster) -> None:
    fault = TornWrite(cluster, NODE, 1)
    fault.apply()
    cluster.logged.clear()
    with pytest.raises(NotApplied, match="says nothing of the torn write"):
        fault.verify()


def test_found_where_more_than_the_torn_write_is_cut_off(cluster: FakeCluster) -> None:
    fault = TornWrite(cluster, NODE, 1)
    fault.apply()
    cluster.logged[TORN][-1]["bytes"] += 1
    with pytest.raises(NotApplied, match=f"cut {HARM.size_bytes + 1} bytes off, and {HARM.size_bytes} were torn"):
        fault.verify()


def test_found_where_wiped_data_is_still_there(cluster: FakeCluster) -> None:
    fault = DataWiped(cluster, NODE, 1)
    fault.apply()
    cluster.logged[BEHIND][-1]["height"] = 7
    with pytest.raises(NotApplied, match="still began at height 7"):
        fault.verify()


def test_found_where_blocks_do_not_come_back(cluster: FakeCluster) -> None:
    fault = DataWiped(cluster, NODE, 1)
    fault.apply()
    fault.verify()
    cluster.health = {"height": 6, "state": "syncing"}
    with pytest.raises(NotApplied, match="does not come back to height 7"):
        fault.undo()


def test_invalid_data_before_the_second_block(cluster: FakeCluster) -> None:
    cluster.health = {"height": 1, "state": "validating"}
    with pytest.raises(NotApplied, match="had no block to lose"):
        DataWiped(cluster, NODE, 1).apply()
