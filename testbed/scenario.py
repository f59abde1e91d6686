"""Scenarios: what a run does, as data in a TOML file, checked wholly before anything starts.

A scenario states how many validators there are, its timings, and the steps in their order. What a fault must do
to the chain is not written in it: the plan derives that from quorum arithmetic.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import msgspec

from tana.types.errors import SettingsError
from testbed.backends.base import MESH
from testbed.byzantine import ALL_BEHAVIOURS
from testbed.faults import FAULTS
from testbed.needs import REMEDIES
from testbed.steps import (
    Approve,
    Byzantine,
    Converge,
    Load,
    MakeGenesis,
    Milliseconds,
    Perturb,
    Progress,
    ReplaceKey,
    Start,
    Step,
    get_step_name,
)
from testbed.timeline import MUST, make_timeline
from testbed.toml_lines import find_line

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?\Z")]


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings that every node of the run gets."""

    heartbeat_interval_ms: Milliseconds = 1_000
    offline_after_ms: Milliseconds = 4_000
    empty_block_interval_ms: Milliseconds = 300


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One scenario file. Every scenario states its number of validators."""

    name: Name
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    validators: Annotated[int, msgspec.Meta(ge=1, le=32)]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=200)]
    powers: tuple[Annotated[int, msgspec.Meta(ge=0, le=1_000_000)], ...] = ()
    """Voting powers in the order of the validators, 0 for one that follows at first; empty: 1 each."""
    timing: Timing = msgspec.field(default_factory=Timing)

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(f"validator-{number}" for number in range(1, self.validators + 1))

    def get_powers(self) -> tuple[int, ...]:
        return self.powers or (1,) * self.validators


_COMES_AFTER: dict[type[Step], type[Step]] = {
    MakeGenesis: Approve,
    Progress: MakeGenesis,
    Load: MakeGenesis,
    Perturb: MakeGenesis,
    Byzantine: MakeGenesis,
    ReplaceKey: MakeGenesis,
    Converge: MakeGenesis,
}
"""What a step cannot do without: there is no chain before the genesis, and none for nodes that nobody approved."""
_STEP_NAMES = [kind.__struct_config__.tag for kind in Step.__args__]


def load_scenario(path: Path, offers: Collection[str] | None = None) -> Scenario:
    """A scenario from its file, for a backend that offers this (see `testbed.needs`), or whatever backend.

    Raises `SettingsError` that names the file, the line and the field.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path}: the scenario cannot be read: {getattr(error, 'strerror', None) or error}",
            remedy="`testbed list` names the scenarios",
        ) from None
    return parse_scenario(text, str(path), offers)


def parse_scenario(text: str, file: str, offers: Collection[str] | None = None) -> Scenario:
    """A scenario from TOML text; `file` is its name in errors. Raises `SettingsError`."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}", remedy="correct that line") from None
    try:
        scenario = msgspec.convert(values, Scenario)
    except msgspec.ValidationError as error:
        raise _explain(text, file, values, str(error)) from None
    _check_meaning(scenario, _Refusals(text, file))
    if offers is not None:
        _check_needs(scenario, _Refusals(text, file), offers)
    _check_order(scenario, _Refusals(text, file))
    _check_transfers(scenario, _Refusals(text, file))
    return scenario


class _Refusals:
    """Makes errors that name file, line and field."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file

    def __call__(self, path: tuple[str | int, ...], message: str, remedy: str) -> SettingsError:
        where = f"{self._file}:{find_line(self._text, path)}"
        return SettingsError(f"{where}: {message}", remedy=remedy, field=_name(path))


def _check_needs(scenario: Scenario, refuse: _Refusals, offers: Collection[str]) -> None:
    for index, step in enumerate(scenario.steps):
        needs = FAULTS[step.fault].needs if isinstance(step, Perturb) else step.needs
        missing = sorted(needs - set(offers))
        if missing:
            field, value = ("fault", step.fault) if isinstance(step, Perturb) else ("do", get_step_name(step))
            raise refuse(
                ("steps", index, field),
                f"steps[{index}].{field} {value!r} needs {' and '.join(missing)}: this backend has no such thing",
                REMEDIES[missing[-1]],
            )


def _check_meaning(scenario: Scenario, refuse: _Refusals) -> None:
    if scenario.powers and len(scenario.powers) != scenario.validators:
        raise refuse(
            ("powers",),
            f"powers has {len(scenario.powers)} values for {scenario.validators} validators",
            "give one for each, or leave it out for 1 each",
        )
    if not any(scenario.get_powers()):
        raise refuse(("powers",), "powers gives nobody a vote", "give at least one of them 1 or more")
    if scenario.timing.offline_after_ms <= scenario.timing.heartbeat_interval_ms:
        raise refuse(
            ("timing", "offline_after_ms"),
            "timing.offline_after_ms must be longer than timing.heartbeat_interval_ms",
            "or every node is offline between two heartbeats",
        )
    if not isinstance(scenario.steps[0], Start):
        raise refuse(("steps", 0, "do"), 'the first step must be do = "start"', "nothing runs before it")
    for index, step in enumerate(scenario.steps):
        if index and isinstance(step, Start):
            raise refuse(("steps", index, "do"), f"steps[{index}] starts the cluster again", "start comes once")
        if isinstance(step, Perturb):
            _check_fault(scenario, index, step, refuse)
        if isinstance(step, Byzantine):
            _check_traitors(scenario, index, step, refuse)
            _check_trigger(index, step, refuse)
    _check_replacements(scenario, refuse)
    loads = [index for index, step in enumerate(scenario.steps) if _has_load(step)]
    if len(loads) > 1:
        raise refuse(
            ("steps", loads[1], "transfers"),
            f"steps[{loads[1]}] sends the workload again, which steps[{loads[0]}] has sent",
            "a scenario sends it once: its users and nonces come from the seed",
        )


def _check_transfers(scenario: Scenario, refuse: _Refusals) -> None:
    """Transfers that are sent while somebody lies must be able to become final."""
    for window in make_timeline(scenario.node_ids, scenario.get_powers(), scenario.steps):
        step = scenario.steps[window.step]
        if isinstance(step, Byzantine) and step.transfers and window.progress != MUST:
            raise refuse(
                ("steps", window.step, "transfers"),
                f"steps[{window.step}].transfers could not become final: the chain {window.progress.replace('_', ' ')}"
                f" progress while {', '.join(step.nodes)} lie ({window.why})",
                "leave them out, or let fewer lie",
            )


def _check_order(scenario: Scenario, refuse: _Refusals) -> None:
    for index, step in enumerate(scenario.steps):
        needed = _COMES_AFTER.get(type(step))
        if needed is not None and not any(isinstance(earlier, needed) for earlier in scenario.steps[:index]):
            name, before = get_step_name(step), needed.__struct_config__.tag
            raise refuse(
                ("steps", index, "do"),
                f'steps[{index}]: {name} comes before any do = "{before}", which it needs',
                f'put do = "{before}" before it',
            )


def _check_replacements(scenario: Scenario, refuse: _Refusals) -> None:
    powers = dict(zip(scenario.node_ids, scenario.get_powers(), strict=True))
    for index, step in enumerate(scenario.steps):
        if not isinstance(step, ReplaceKey):
            continue
        for field, node in (("node", step.node), ("by", step.by)):
            if node not in powers:
                raise refuse(
                    ("steps", index, field),
                    f"steps[{index}].{field} {node!r} is not a validator of this scenario",
                    f"use one of {', '.join(scenario.node_ids)}",
                )
        if not powers[step.node]:
            raise refuse(
                ("steps", index, "node"),
                f"steps[{index}].node {step.node!r} has no vote then: there is no key of its to replace",
                "name one that votes",
            )
        if powers[step.by]:
            raise refuse(
                ("steps", index, "by"),
                f"steps[{index}].by {step.by!r} votes already then",
                "name one that follows: give it 0 in powers",
            )
        if 3 * powers[step.node] > sum(powers.values()):
            raise refuse(
                ("steps", index, "node"),
                f"steps[{index}].node {step.node!r} has power {powers[step.node]} of {sum(powers.values())}",
                "a block may move at most a third",
            )
        if any(_has_load(later) for later in scenario.steps[index:]):
            raise refuse(
                ("steps", index, "do"),
                f"steps[{index}] comes before the workload, whose transactions are the sovereign's first",
                "send the workload before",
            )
        powers[step.node], powers[step.by] = 0, powers[step.node]


def _has_load(step: Step) -> bool:
    return isinstance(step, Load) or (isinstance(step, Byzantine) and step.transfers > 0)


def _check_traitors(scenario: Scenario, index: int, step: Byzantine, refuse: _Refusals) -> None:
    if step.behaviour not in ALL_BEHAVIOURS:
        raise refuse(
            ("steps", index, "behaviour"),
            f"steps[{index}].behaviour {step.behaviour!r} is not a Byzantine behaviour",
            f"use one of {', '.join(sorted(ALL_BEHAVIOURS))}",
        )
    if not step.nodes:
        raise refuse(("steps", index, "nodes"), f"steps[{index}].nodes names nobody", "say who lies")
    if len(step.nodes) >= scenario.validators:
        raise refuse(
            ("steps", index, "nodes"),
            f"steps[{index}].nodes names {len(step.nodes)} traitors of {scenario.validators} validators",
            "leave at least one of them correct: only correct ones are judged",
        )
    for node in step.nodes:
        if node not in scenario.node_ids:
            raise refuse(
                ("steps", index, "nodes"),
                f"steps[{index}].nodes: {node!r} is not a validator of this scenario",
                f"use some of {', '.join(scenario.node_ids)}",
            )
    if len(set(step.nodes)) < len(step.nodes):
        raise refuse(("steps", index, "nodes"), f"steps[{index}].nodes names a validator twice", "name it once")
    liars = {node for other in scenario.steps if isinstance(other, Byzantine) for node in other.nodes}
    if len(liars) >= scenario.validators:
        raise refuse(
            ("steps", index, "nodes"),
            "every validator lies in some step of this scenario",
            "leave at least one of them correct throughout: only such are judged",
        )


def _check_trigger(index: int, step: Byzantine, refuse: _Refusals) -> None:
    if step.from_ms is not None and step.to_ms is not None and step.from_ms >= step.to_ms:
        raise refuse(
            ("steps", index, "from_ms"),
            f"steps[{index}].from_ms {step.from_ms} is not before to_ms {step.to_ms}: they would never lie",
            "let it begin before it ends",
        )
    if step.at_heights and (step.from_ms is not None or step.to_ms is not None):
        field = "from_ms" if step.from_ms is not None else "to_ms"
        raise refuse(
            ("steps", index, field),
            f"steps[{index}].{field} contradicts at_heights: nobody knows at which time a height comes",
            "give either heights or times",
        )


def _check_fault(scenario: Scenario, index: int, step: Perturb, refuse: _Refusals) -> None:
    if not step.fault:
        raise refuse(("steps", index, "fault"), f"steps[{index}].fault is missing", "`testbed list` names the faults")
    if step.fault not in FAULTS:
        raise refuse(
            ("steps", index, "fault"),
            f"steps[{index}].fault {step.fault!r} is not a fault",
            f"use one of {', '.join(sorted(FAULTS))}",
        )
    fault = FAULTS[step.fault]
    if fault.fixed_target and step.node:
        raise refuse(
            ("steps", index, "node"),
            f"steps[{index}].node {step.node!r}: {step.fault} always acts on {fault.fixed_target}",
            "leave it out",
        )
    if not fault.fixed_target and not step.node:
        raise refuse(
            ("steps", index, "node"), f"steps[{index}].node is missing", f"use one of {', '.join(scenario.node_ids)}"
        )
    if not fault.fixed_target and step.node not in scenario.node_ids:
        raise refuse(
            ("steps", index, "node"),
            f"steps[{index}].node {step.node!r} is not a validator of this scenario",
            f"use one of {', '.join(scenario.node_ids)}",
        )
    if step.peers and not fault.takes_peers:
        raise refuse(("steps", index, "peers"), f"steps[{index}].peers: {step.fault} has none", "leave them out")
    if len(set(step.peers)) < len(step.peers):
        raise refuse(("steps", index, "peers"), f"steps[{index}].peers names a member twice", "name it once")
    others = [*(name for name in scenario.node_ids if name != step.node), MESH]
    for peer in step.peers:
        if peer not in others:
            raise refuse(
                ("steps", index, "peers"),
                f"steps[{index}].peers: {peer!r} is not another member of this scenario",
                f"use some of {', '.join(others)}",
            )
    if fault.is_void(step.node, step.peers, scenario.node_ids):
        whom = f" with peers {', '.join(step.peers)}" if step.peers else ""
        raise refuse(
            ("steps", index, "peers" if step.peers else "fault"),
            f"steps[{index}]: {step.fault}{whom} touches nothing among {scenario.validators} validators",
            "give it more validators, or other peers",
        )


_PATH = re.compile(r" - at `\$(.*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def _explain(text: str, file: str, values: dict[str, Any], message: str) -> SettingsError:
    """msgspec's message turned into one that names line and field."""
    found = _PATH.search(message)
    trail = found.group(1) if found else ""
    path: tuple[str | int, ...] = tuple(
        int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", trail)
    )
    reason = message[: found.start()] if found else message
    if unknown := _UNKNOWN.search(reason):
        path = (*path, unknown.group(1))
        return SettingsError(
            f"{file}:{find_line(text, path)}: {_name(path)} is not a field that scenarios have",
            remedy="remove it or correct its spelling",
            field=_name(path),
        )
    if missing := _MISSING.search(reason):
        name = _name((*path, missing.group(1)))
        return SettingsError(
            f"{file}:{find_line(text, path)}: {name} is missing", remedy=f"give {name} a value", field=name
        )
    remedy = "correct the value"
    if path[-1:] == ("do",):
        reason, remedy = "there is no such step", f"use one of {', '.join(sorted(_STEP_NAMES))}"
    elif path == ("name",):
        reason, remedy = "not a name", "use up to 42 small letters, digits and hyphens, no hyphen at either end"
    reason = reason.replace("`", "").replace("Expected", "expected")
    return SettingsError(
        f"{file}:{find_line(text, path)}: {_name(path)} is {_get(values, path)!r:.60}: {reason}",
        remedy=remedy,
        field=_name(path),
    )


def _get(values: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        values = values[part]
    return values


def _name(path: tuple[str | int, ...]) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return name.lstrip(".") or "the scenario"
