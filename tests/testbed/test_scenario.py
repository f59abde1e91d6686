"""Scenarios are checked wholly before anything starts; errors name file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from tana.types.errors import SettingsError
from testbed.needs import get_offers
from testbed.scenario import load_scenario, parse_scenario
from testbed.steps import Byzantine, Perturb, Start, describe_step
from testbed.timeline import make_timeline
from tests.testbed.forging import CONVERGE

HEAD = 'name = "small"\ndescription = "A small one."\nvalidators = 2\n'
START = '\n[[steps]]\ndo = "start"\n'
READY = START + '[[steps]]\ndo = "approve"\n[[steps]]\ndo = "genesis"\n'


def refuse(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        parse_scenario(text, "small.toml")
    assert caught.value.remedy, "an error says what to do next"
    return caught.value


def test_the_default_scenario() -> None:
    scenario = load_scenario(CONVERGE)
    assert scenario.validators == 3
    assert scenario.get_powers() == (1, 1, 1)
    assert scenario.node_ids == ("validator-1", "validator-2", "validator-3")
    faults = [step.fault for step in scenario.steps if isinstance(step, Perturb)]
    assert faults == ["heartbeat_stopped", "kill"]
    assert describe_step(scenario.steps[-2]) == "perturb kill validator-3"


def test_every_scenario_of_the_repository_is_usable() -> None:
    for path in CONVERGE.parent.glob("*.toml"):
        assert isinstance(load_scenario(path).steps[0], Start)


def test_invalid_file_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml: the scenario cannot be read: No such file"):
        load_scenario(tmp_path / "none.toml")


def test_invalid_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"name = \xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_scenario(path)


def test_invalid_toml() -> None:
    assert "small.toml: not TOML" in refuse(HEAD + "oops").message
    assert "at line 4" in refuse(HEAD + "oops = \n").message


def test_invalid_unknown_field() -> None:
    error = refuse(HEAD + "validatorz = 3\n" + START)
    assert error.message == "small.toml:4: validatorz is not a field that scenarios have"
    assert error.field == "validatorz"


def test_invalid_unknown_field_of_a_step() -> None:
    error = refuse(HEAD + START + '\n[[steps]]\ndo = "progress"\nheightz = 3\n')
    assert error.message == "small.toml:10: steps[1].heightz is not a field that scenarios have"


def test_invalid_unknown_field_of_a_table() -> None:
    error = refuse(HEAD + "[timing]\nheartbeat_interval_ms = 100\nbeat = 3\n" + START)
    assert error.message == "small.toml:6: timing.beat is not a field that scenarios have"


def test_invalid_missing_validators() -> None:
    error = refuse(HEAD.replace("validators = 2\n", "") + START)
    assert "validators is missing" in error.message


def test_invalid_wrong_type() -> None:
    error = refuse(HEAD.replace("= 2", '= "two"') + START)
    assert error.message.startswith("small.toml:3: validators is 'two': expected int, got str")


def test_invalid_out_of_range() -> None:
    error = refuse(HEAD + START + '[[steps]]\ndo = "load"\nusers = 1\n')
    assert error.message.startswith("small.toml:9: steps[1].users is 1: expected int >= 2")


def test_invalid_unknown_step() -> None:
    error = refuse(HEAD + START + '[[steps]]\ndo = "dance"\n')
    assert error.message == "small.toml:8: steps[1].do is 'dance': there is no such step"
    assert "use one of approve, byzantine, converge" in error.remedy


def test_invalid_unknown_fault() -> None:
    error = refuse(HEAD + START + '[[steps]]\ndo = "perturb"\nfault = "earthquake"\nnode = "validator-1"\n')
    assert error.message == "small.toml:9: steps[1].fault 'earthquake' is not a fault"
    assert "heartbeat_stopped, jitter, key_expired, kill" in error.remedy


def test_invalid_unknown_node() -> None:
    error = refuse(HEAD + START + '[[steps]]\ndo = "perturb"\nfault = "kill"\nnode = "validator-3"\n')
    assert error.message == "small.toml:10: steps[1].node 'validator-3' is not a validator of this scenario"


PERTURB = START + '[[steps]]\ndo = "perturb"\n'


def test_a_fault_with_a_target_of_its_own_and_one_between_peers() -> None:
    text = (
        HEAD
        + READY
        + PERTURB.removeprefix(START)
        + 'fault = "control_down"\n'
        + PERTURB.replace(START, "")
        + 'fault = "partition"\n'
    )
    scenario = parse_scenario(text + 'node = "validator-1"\npeers = ["mesh"]\n', "small.toml")
    assert [describe_step(step) for step in scenario.steps[3:]] == [
        "perturb control_down",
        "perturb partition validator-1 from mesh",
    ]


def test_invalid_node_of_a_fault_with_a_target_of_its_own() -> None:
    error = refuse(HEAD + PERTURB + 'fault = "control_down"\nnode = "validator-1"\n')
    assert error.message == "small.toml:10: steps[1].node 'validator-1': control_down always acts on headscale"


def test_invalid_peers_of_a_fault_that_has_none() -> None:
    error = refuse(HEAD + PERTURB + 'fault = "kill"\nnode = "validator-1"\npeers = ["validator-2"]\n')
    assert error.message == "small.toml:11: steps[1].peers: kill has none"


@pytest.mark.parametrize("peer", ["validator-1", "validator-3", "headscale"])
def test_invalid_peer(peer: str) -> None:
    error = refuse(HEAD + PERTURB + f'fault = "partition"\nnode = "validator-1"\npeers = ["{peer}"]\n')
    assert error.message == f"small.toml:11: steps[1].peers: {peer!r} is not another member of this scenario"
    assert error.remedy == "use some of validator-2, mesh"


@pytest.mark.parametrize(
    ("validators", "fields", "words"),
    [
        (3, 'fault = "ring"\n', "ring touches nothing among 3 validators"),
        (1, 'fault = "latency"\n', "latency touches nothing among 1 validators"),
        (1, 'fault = "reset"\nnode = "validator-1"\n', "reset touches nothing among 1 validators"),
        (1, 'fault = "half_open"\nnode = "validator-1"\n', "half_open touches nothing among 1 validators"),
        (1, 'fault = "halves"\nnode = "validator-1"\n', "halves touches nothing among 1 validators"),
        (
            2,
            'fault = "halves"\nnode = "validator-1"\npeers = ["validator-2"]\n',
            "halves with peers validator-2 touches nothing among 2 validators",
        ),
    ],
)
def test_invalid_fault_that_touches_nothing(validators: int, fields: str, words: str) -> None:
    error = refuse(HEAD.replace("2", str(validators)) + PERTURB + fields)
    assert error.message.endswith(words)


@pytest.mark.parametrize(
    "fields",
    [
        'fault = "clock_offset"\nnode = "mesh"\n',
        'fault = "clock_drift"\nnode = "validator-3"\n',
        'fault = "torn_write"\nnode = "validator-3"\n',
        'fault = "sign_state_wiped"\nnode = "validator-3"\n',
        'fault = "rate"\nnode = "validator-1"\n',
        'fault = "ring"\nnode = "validator-9"\n',
        'fault = "one_way"\n',
    ],
)
def test_invalid_node_of_a_fault_of_links_clocks_or_disks(fields: str) -> None:
    assert refuse(HEAD + PERTURB + fields).field.endswith(".node")


@pytest.mark.parametrize(
    "fields",
    ['fault = "latency"\ndelay_ms = 100\n', 'fault = "clock_offset"\nnode = "validator-1"\nby_ms = 3000\n'],
)
def test_invalid_strength_of_a_fault(fields: str) -> None:
    assert "is not a field that scenarios have" in refuse(HEAD + PERTURB + fields).message


@pytest.mark.parametrize(
    ("backend", "network", "fault", "missing"),
    [
        ("processes", "", "disconnect", "containers"),
        ("simulation", "tailnet", "disconnect", "containers"),
        ("processes", "", "sidecar_stopped", "containers and tailnet"),
        ("docker", "bridge", "sidecar_stopped", "tailnet"),
    ],
)
def test_invalid_backend_cannot_do_it(backend: str, network: str, fault: str, missing: str) -> None:
    text = HEAD + PERTURB + f'fault = "{fault}"\nnode = "validator-1"\n'
    with pytest.raises(SettingsError) as caught:
        parse_scenario(text, "small.toml", get_offers(backend, network))
    error = caught.value
    assert error.message == f"small.toml:9: steps[1].fault {fault!r} needs {missing}: this backend has no such thing"
    assert error.field == "steps[1].fault"
    assert "BACKEND=docker" in error.remedy
    assert ("NETWORK=tailnet" in error.remedy) == (fault == "sidecar_stopped")


def test_invalid_fault_of_links_where_they_are_not_the_harness_s_own() -> None:
    text = (CONVERGE.parent / "link-faults.toml").read_text("utf-8")
    with pytest.raises(SettingsError, match=r"fault 'latency' needs links: this backend has no such thing") as caught:
        parse_scenario(text, "links.toml", get_offers("docker", "bridge"))
    assert "BACKEND=processes" in caught.value.remedy
    for backend in ("simulation", "processes"):
        assert parse_scenario(text, "links.toml", get_offers(backend, "")).validators == 5


@pytest.mark.parametrize(
    ("backend", "network", "missing"),
    [
        ("simulation", "", "connections"),
        ("docker", "bridge", "connections and links"),
        ("docker", "tailnet", "connections and links"),
    ],
)
def test_invalid_fault_of_connections_where_the_harness_carries_none(backend: str, network: str, missing: str) -> None:
    text = HEAD + PERTURB + 'fault = "half_open"\nnode = "validator-1"\n'
    with pytest.raises(SettingsError, match=f"fault 'half_open' needs {missing}: this backend has no such") as caught:
        parse_scenario(text, "small.toml", get_offers(backend, network))
    assert "BACKEND=processes" in caught.value.remedy


@pytest.mark.parametrize("backend", ["simulation", "processes", "docker"])
def test_every_backend_cuts_links(backend: str) -> None:
    text = HEAD + READY + PERTURB.removeprefix(START) + 'fault = "partition"\nnode = "validator-1"\n'
    assert parse_scenario(text, "small.toml", get_offers(backend, "")).validators == 2


def test_a_backend_that_can_do_it() -> None:
    text = HEAD + READY + PERTURB.removeprefix(START) + 'fault = "sidecar_stopped"\nnode = "validator-1"\n'
    assert parse_scenario(text, "small.toml", get_offers("docker", "tailnet")).validators == 2
    plain = HEAD + READY + PERTURB.removeprefix(START) + 'fault = "pause"\nnode = "validator-1"\n'
    assert parse_scenario(plain, "small.toml", get_offers("processes", "")).validators == 2


def test_invalid_start_is_not_first() -> None:
    assert "the first step must be" in refuse(HEAD + '[[steps]]\ndo = "approve"\n').message


def test_invalid_started_twice() -> None:
    assert "steps[1] starts the cluster again" in refuse(HEAD + START + START).message


def test_invalid_powers_of_another_number() -> None:
    assert refuse(HEAD + "powers = [1, 2, 3]\n" + START).message.startswith("small.toml:4: powers has 3 values for 2")


def test_invalid_offline_before_the_next_heartbeat() -> None:
    error = refuse(HEAD + "[timing]\noffline_after_ms = 500\n" + START)
    assert error.message.startswith("small.toml:5: timing.offline_after_ms")


def test_invalid_no_steps() -> None:
    assert "steps" in refuse(HEAD + "steps = []\n").message


BETRAYAL = START + '[[steps]]\ndo = "byzantine"\n'


@pytest.mark.parametrize(
    ("fields", "line", "field", "words"),
    [
        ('behaviour = "rude"\nnodes = ["validator-1"]\n', 9, "behaviour", "'rude' is not a Byzantine behaviour"),
        ('behaviour = "silent"\n', 7, "nodes", "names nobody"),
        ('behaviour = "silent"\nnodes = ["validator-1", "validator-2", "x"]\n', 10, "nodes", "3 traitors of 2"),
        ('behaviour = "silent"\nnodes = ["validator-1", "validator-2"]\n', 10, "nodes", "2 traitors of 2"),
        ('behaviour = "silent"\nnodes = ["validator-9"]\n', 10, "nodes", "'validator-9' is not a validator"),
        ('behaviour = "silent"\nnodes = ["validator-1"]\nprobability = 0.0\n', 11, "probability", "> 0"),
        ('behaviour = "silent"\nnodes = ["validator-1"]\nprobability = 1.5\n', 11, "probability", "<= 1"),
        ('behaviour = "silent"\nnodes = ["validator-1"]\nat_heights = [0]\n', 11, "at_heights[0]", ">= 1"),
        ('behaviour = "silent"\nnodes = ["validator-1"]\nat_round = [0]\n', 11, "at_round", "is not a field"),
        (
            'behaviour = "silent"\nnodes = ["validator-1"]\nto_ms = 5\nfrom_ms = 5\n',
            12,
            "from_ms",
            "they would never lie",
        ),
        (
            'behaviour = "silent"\nnodes = ["validator-1"]\nat_heights = [3]\nto_ms = 5\n',
            12,
            "to_ms",
            "contradicts at_heights",
        ),
    ],
)
def test_invalid_byzantine_step(fields: str, line: int, field: str, words: str) -> None:
    error = refuse(HEAD + BETRAYAL + fields)
    assert error.message.startswith(f"small.toml:{line}: ")
    assert error.field == f"steps[1].{field}"
    assert words in error.message


def test_invalid_traitor_named_twice() -> None:
    text = HEAD.replace("2", "4") + BETRAYAL + 'behaviour = "silent"\nnodes = ["validator-1", "validator-1"]\n'
    assert "names a validator twice" in refuse(text).message


def test_invalid_nobody_is_correct_throughout() -> None:
    steps = "".join(
        f'[[steps]]\ndo = "byzantine"\nbehaviour = "silent"\nnodes = ["validator-{number}"]\n' for number in (1, 2)
    )
    assert "every validator lies in some step" in refuse(HEAD + START + steps).message


def test_invalid_transfers_while_the_chain_may_stand_still() -> None:
    lies = 'behaviour = "censorship"\nnodes = ["validator-1"]\ntransfers = 5\n'
    text = HEAD + BETRAYAL.replace(START, READY) + lies
    error = refuse(text)
    assert error.message.startswith(f"small.toml:{len(text.splitlines())}: ")
    assert "transfers could not become final: the chain may progress while validator-1 lie" in error.message


def test_invalid_dotted_keys_are_found_by_their_first() -> None:
    assert refuse(HEAD + "timing.offline_after_ms = 100\n" + START).message.startswith("small.toml:4: ")


def test_invalid_workload_sent_twice() -> None:
    lies = 'behaviour = "censorship"\nnodes = ["validator-1"]\ntransfers = 5\n'
    error = refuse(HEAD + BETRAYAL + lies + '[[steps]]\ndo = "load"\n')
    assert "steps[2] sends the workload again, which steps[1] has sent" in error.message


REPLACEMENT = "powers = [1, 1, 1, 0]\n" + START + '[[steps]]\ndo = "replace_key"\n'


@pytest.mark.parametrize(
    ("fields", "line", "field", "words"),
    [
        ('node = "validator-9"\nby = "validator-4"\n', 10, "node", "'validator-9' is not a validator"),
        ('node = "validator-1"\n', 8, "by", "'' is not a validator"),
        ('node = "validator-4"\nby = "validator-4"\n', 10, "node", "has no vote then"),
        ('node = "validator-1"\nby = "validator-2"\n', 11, "by", "votes already then"),
    ],
)
def test_invalid_replacement(fields: str, line: int, field: str, words: str) -> None:
    error = refuse(HEAD.replace("2", "4") + REPLACEMENT + fields)
    assert error.message.startswith(f"small.toml:{line}: ")
    assert error.field == f"steps[1].{field}"
    assert words in error.message


def test_invalid_replacement_of_too_much_power() -> None:
    text = HEAD.replace("2", "4") + REPLACEMENT.replace("[1, 1, 1, 0]", "[2, 1, 1, 0]")
    error = refuse(text + 'node = "validator-1"\nby = "validator-4"\n')
    assert "has power 2 of 4" in error.message
    assert error.remedy == "a block may move at most a third"


def test_invalid_replacement_before_the_workload() -> None:
    text = HEAD.replace("2", "4") + REPLACEMENT + 'node = "validator-1"\nby = "validator-4"\n[[steps]]\ndo = "load"\n'
    assert "comes before the workload" in refuse(text).message


def test_invalid_powers_of_nobody() -> None:
    error = refuse(HEAD + "powers = [0, 0]\n" + START)
    assert error.field == "powers"
    assert "gives nobody a vote" in error.message


def test_a_replacement_moves_power_on_the_timeline() -> None:
    text = HEAD.replace("2", "4") + REPLACEMENT.replace(START, READY) + 'node = "validator-1"\nby = "validator-4"\n'
    kills = "".join(f'[[steps]]\ndo = "perturb"\nfault = "kill"\nnode = "validator-{number}"\n' for number in (1, 4))
    scenario = parse_scenario(text + kills, "small.toml")
    assert describe_step(scenario.steps[3]) == "replace key validator-1 by validator-4"
    timeline = make_timeline(scenario.node_ids, scenario.get_powers(), scenario.steps)
    assert [window.progress for window in timeline] == ["must", "must_not"]


def test_invalid_replacement_before_the_genesis() -> None:
    error = refuse(HEAD.replace("2", "4") + REPLACEMENT + 'node = "validator-1"\nby = "validator-4"\n')
    assert 'replace_key comes before any do = "genesis"' in error.message


def test_a_byzantine_step() -> None:
    text = (
        HEAD
        + READY
        + BETRAYAL.removeprefix(START)
        + 'behaviour = "replay"\nnodes = ["validator-2"]\nat_rounds = [1]\nprobability = 0.5\n'
    )
    step = parse_scenario(text, "small.toml").steps[3]
    assert isinstance(step, Byzantine)
    assert describe_step(step) == "byzantine replay validator-2"
    assert (step.trigger.rounds, step.trigger.probability) == ((1,), 0.5)


FAULT = PERTURB + 'node = "validator-1"\n'


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("", 1, "name", "name is missing"),
        (HEAD, 1, "steps", "steps is missing"),
        (HEAD.replace("small", "../x") + START, 1, "name", "name is '../x': not a name"),
        (HEAD.replace("2", "0") + START, 3, "validators", "validators is 0: expected int >= 1"),
        (HEAD.replace("2", "99999999999999999999") + START, 3, "validators", "expected int <= 32"),
        (HEAD.replace("2", "4.5") + START, 3, "validators", "validators is 4.5: expected int, got float"),
        (HEAD.replace("2", "true") + START, 3, "validators", "expected int, got bool"),
        (HEAD + "powers = [\n  1,\n  -1]\n" + START, 6, "powers[1]", "powers[1] is -1: expected int >= 0"),
        (HEAD + "timing.color = 1\n" + START, 4, "timing.color", "is not a field"),
        (HEAD + "timing = { color = 1 }\n" + START, 4, "timing.color", "is not a field"),
        (HEAD + 'steps = [\n{ do = "start" },\n{ do = "dance" },\n]\n', 6, "steps[1].do", "there is no such step"),
        (HEAD + START + '"do" = "x"\n', 7, "", "not TOML"),
        (HEAD + START + "timeout_ms = 0\n", 7, "steps[0].timeout_ms", "expected int >= 1"),
        (HEAD + PERTURB, 7, "steps[1].fault", "fault is missing"),
        (HEAD + PERTURB + 'fault = "kill"\n', 7, "steps[1].node", "node is missing"),
        (HEAD + PERTURB + 'fault = "kill"\nnode = "mesh"\n', 10, "steps[1].node", "'mesh' is not a validator"),
        (HEAD + FAULT + 'fault = "kill"\nheights = 0\n', 11, "steps[1].heights", "heights is 0"),
        (HEAD + FAULT + 'fault = "one_way"\npeers = ["mesh", "mesh"]\n', 11, "steps[1].peers", "a member twice"),
        (HEAD + START + '[[steps]]\ndo = "genesis"\n', 8, "steps[1].do", 'before any do = "approve"'),
        (HEAD + FAULT + 'fault = "kill"\n', 8, "steps[1].do", 'before any do = "genesis"'),
        (HEAD + START + '[[steps]]\ndo = "load"\n', 8, "steps[1].do", 'before any do = "genesis"'),
    ],
)
def test_invalid_scenario_names_line_and_field(text: str, line: int, field: str, words: str) -> None:
    error = refuse(text)
    assert (error.field, words in error.message) == (field, True), error.message
    assert error.message.startswith(f"small.toml:{line}: ") or f"line {line}," in error.message
