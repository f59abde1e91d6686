"""Keys from the seed."""

from __future__ import annotations

from testbed.plan import make_key, make_plan
from testbed.ports import Ports
from testbed.scenario import load_scenario
from tests.testbed.forging import CONVERGE

PORTS = [Ports(1, 2, 3, 4)] * 3


def test_keys_come_from_the_seed() -> None:
    scenario = load_scenario(CONVERGE)
    first, again, other = (make_plan(scenario, seed, 8190, PORTS) for seed in (1, 1, 2))
    assert first == again
    keys = {key for plan in (first, other) for key in (plan.sovereign, plan.outsider, *(n.key for n in plan.nodes))}
    assert len(keys) == 10, "every role of every seed has a key of its own"
    assert make_key(1, "sovereign") == first.sovereign
