"""The workload: real signatures, nonces in order, the same transactions for the same seed."""

from __future__ import annotations

from collections import Counter

from tana.crypto.keys import parse_signature
from tana.types.transaction import sign_body
from testbed.plan import Plan, make_plan
from testbed.ports import Ports
from testbed.scenario import load_scenario
from testbed.steps import Load
from testbed.workload import Phase, Workload
from tests.testbed.forging import CONVERGE

LOAD = Load(users=6, transfers=48, retries=20)


def make(seed: int = 1) -> tuple[Plan, list[Phase]]:
    plan = make_plan(load_scenario(CONVERGE), seed, 8190, [Ports(1, 2, 3, 4)] * 3)
    workload = Workload(plan, LOAD, "ab" * 32)
    return plan, [workload.make_users(1), workload.make_deposits(2), workload.make_transfers(3)]


def test_every_validator_is_used() -> None:
    plan, phases = make()
    for phase in (phases[0], phases[2]):
        assert {sending.target for sending in phase.sendings} == set(plan.node_ids)


def test_one_senders_transactions_go_to_one_validator_in_order_of_nonces() -> None:
    _, phases = make()
    nonces: Counter[str] = Counter()
    targets: dict[tuple[str, str], set[str]] = {}
    for phase in phases:
        for sending in phase.sendings:
            assert sending.body["nonce"] == nonces[sending.body["from"]]
            nonces[sending.body["from"]] += 1
            targets.setdefault((phase.name, sending.body["from"]), set()).add(sending.target)
    assert all(len(found) == 1 for found in targets.values())


def test_retries_are_the_same_transactions_for_another_validator() -> None:
    _, phases = make()
    assert sum(len(phase.retries) for phase in phases) == LOAD.retries
    for phase in phases:
        first = {sending.id: sending for sending in phase.sendings}
        for retry in phase.retries:
            assert retry.body == first[retry.id].body
            assert retry.target != first[retry.id].target


def test_ids_and_signatures_are_those_of_the_wire_format() -> None:
    _, phases = make()
    for sending in phases[2].sendings:
        fields = {key: value for key, value in sending.body.items() if key != "signature"}
        assert sign_body(fields, parse_signature(sending.body["signature"])).id == sending.id


def test_the_seed_decides() -> None:
    assert make(1)[1] == make(1)[1] != make(2)[1]
