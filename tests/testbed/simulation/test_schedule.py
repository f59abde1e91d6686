"""Schedules: the seed decides them wholly, they survive being written, and what makes no sense is refused by name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tana.types.errors import SettingsError
from testbed.simulation.drawing import make_schedule
from testbed.simulation.schedule import (
    FAULT_KINDS,
    OPERATIONS,
    ClockPlan,
    LinkPlan,
    PlannedFault,
    Schedule,
    TimingPlan,
    TraitorPlan,
    format_schedule,
    load_schedule,
    parse_schedule,
)


def test_a_seed_decides_everything() -> None:
    assert make_schedule(7) == make_schedule(7)
    assert make_schedule(7) != make_schedule(8)


def test_seeds_differ_in_kind_and_rate_of_faults() -> None:
    schedules = [make_schedule(seed) for seed in range(1000)]
    counts = sorted(len(schedule.faults) for schedule in schedules)
    assert counts[0] == 0, "some are calm"
    assert counts[-1] >= 30, "some are violent"
    assert any(len({fault.kind for fault in schedule.faults}) == 1 < len(schedule.faults) for schedule in schedules)
    assert {fault.kind for schedule in schedules for fault in schedule.faults} == set(FAULT_KINDS)
    share = sum(schedule.has_real_signatures for schedule in schedules) / len(schedules)
    assert 0.05 < share < 0.15
    assert any(schedule.has_wire for schedule in schedules)
    assert any(schedule.adversary_ms for schedule in schedules)
    assert any(schedule.traitors for schedule in schedules)
    assert 20 < sum(schedule.has_split_locks for schedule in schedules) < 250
    assert all(schedule.broken for schedule in schedules if schedule.has_split_locks)


def test_operators_are_at_work_in_some_seeds_and_leave_the_others_as_they_were() -> None:
    schedules = [make_schedule(seed) for seed in range(400)]
    at_work = [item for item in schedules if any(fault.kind in OPERATIONS for fault in item.faults)]
    assert 60 < len(at_work) < 140
    assert all(item.nodes == 4 for item in schedules if item not in at_work)
    spare = [(item, fault) for item in at_work for fault in item.faults if fault.kind == "recovered_sign_state"]
    assert all(fault.nodes[0] in item.broken for item, fault in spare)
    replaced = [fault.nodes for item in at_work for fault in item.faults if fault.kind == "replaced_key"]
    assert any(new == 4 for _, new in replaced)
    assert any(old == 4 for old, _ in replaced), "and back"


@pytest.mark.parametrize("nodes", [1, 3, 4, 7])
def test_whatever_is_drawn_makes_sense_and_survives_being_written(tmp_path: Path, nodes: int) -> None:
    for seed in range(60):
        schedule = make_schedule(seed, nodes, heights=20)
        path = tmp_path / "schedule.json"
        path.write_text(format_schedule(schedule), "utf-8")
        assert load_schedule(path) == schedule


def refuse(schedule: Schedule) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse_schedule(msgspec.json.encode(schedule), "file.json")
    assert "file.json: " in str(caught.value)
    return caught.value


BASE = Schedule(seed=1, nodes=4, heights=10)


def test_invalid_json() -> None:
    with pytest.raises(SettingsError, match=r"file\.json: not a schedule"):
        parse_schedule("{", "file.json")


def test_invalid_unknown_field() -> None:
    with pytest.raises(SettingsError, match="unknown field `shape`"):
        parse_schedule('{"seed":1,"nodes":4,"heights":10,"shape":1}', "file.json")


def test_invalid_unknown_fault() -> None:
    with pytest.raises(SettingsError, match="flood"):
        parse_schedule('{"seed":1,"nodes":4,"heights":10,"faults":[{"kind":"flood","at_height":1}]}', "file.json")


def test_invalid_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_schedule(tmp_path / "absent.json")


def test_invalid_node_of_a_fault() -> None:
    error = refuse(replace(BASE, faults=(PlannedFault("pause", 1, nodes=(4,)),)))
    assert error.field == "faults[0].nodes"


def test_invalid_fault_on_nobody() -> None:
    assert "needs some" in str(refuse(replace(BASE, faults=(PlannedFault("pause", 1),))))


@pytest.mark.parametrize(
    ("fault", "field", "words"),
    [
        (PlannedFault("crash", 1, nodes=(1, 1)), "nodes", "names a node twice"),
        (PlannedFault("delay", 1, by=-5), "by", "delay wants 0 or more"),
        (PlannedFault("slow", 1, nodes=(1,), by=-5), "by", "slow wants 0 or more"),
        (PlannedFault("power", 1, nodes=(1,), by=-5), "by", "power wants 0 or more"),
        (PlannedFault("clock_drift", 1, nodes=(1,), by=-1_000_000), "by", "drifts by 500000 ppm at most"),
    ],
)
def test_invalid_fault_that_contradicts_itself(fault: PlannedFault, field: str, words: str) -> None:
    error = refuse(replace(BASE, faults=(fault,)))
    assert error.field == f"faults[0].{field}"
    assert words in error.message


def test_invalid_clock_that_stands_still() -> None:
    clocks = (ClockPlan(drift_ppm=-1_000_000), *(ClockPlan(),) * 3)
    assert refuse(replace(BASE, clocks=clocks)).field == "clocks[0].drift_ppm"


def test_invalid_least_delay_above_the_most() -> None:
    assert refuse(replace(BASE, links=LinkPlan(delay_ms_min=9, delay_ms_max=4))).field == "links.delay_ms_min"


def test_invalid_timeout_of_nothing() -> None:
    assert "`$.timing.sync_timeout_ms`" in str(refuse(replace(BASE, timing=TimingPlan(sync_timeout_ms=0))))


def test_invalid_node_unlinked_from_itself() -> None:
    assert refuse(replace(BASE, unlinked=(1, 1))).field == "unlinked"


def test_invalid_more_broken_than_there_may_be() -> None:
    assert "power 2 of 4: no quorum" in str(refuse(replace(BASE, broken=(0, 1))))


def test_invalid_traitors_beside_broken_nodes() -> None:
    traitors = (TraitorPlan(2, "silent"),)
    assert "no quorum" in str(refuse(replace(BASE, broken=(0,), traitors=traitors)))


def test_invalid_behaviour() -> None:
    assert refuse(replace(BASE, traitors=(TraitorPlan(2, "rude"),))).field == "traitors[0].behaviour"


def test_invalid_traitor_that_is_not_there() -> None:
    assert "not there" in str(refuse(replace(BASE, traitors=(TraitorPlan(9, "silent"),))))


def test_invalid_replaced_key_of_one_node() -> None:
    error = refuse(replace(BASE, faults=(PlannedFault("replaced_key", 1, nodes=(2, 2)),)))
    assert error.field == "faults[0].nodes"
    assert "name whose key goes, and whose comes" in str(error)


def test_invalid_recovered_node_beside_broken_ones() -> None:
    faults = (PlannedFault("recovered_sign_state", 1, nodes=(1,)),)
    assert "no quorum" in str(refuse(replace(BASE, broken=(0,), faults=faults)))


def test_invalid_number_of_powers() -> None:
    assert refuse(replace(BASE, powers=(1, 2))).field == "powers"


def test_invalid_number_of_clocks() -> None:
    assert refuse(replace(BASE, clocks=(ClockPlan(1),))).field == "clocks"
