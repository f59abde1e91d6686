"""The schedule of a simulated run: everything that will go wrong, as explicit data that the seed decides.

A run is `run_schedule(make_schedule(seed))`. Because the schedule is data, it can be written to a file, read, made
smaller (`testbed shrink`) and run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from tana.types.errors import SettingsError
from testbed.byzantine import BEHAVIOURS

VERSION = 1
MAX_NODES = 16

FaultKind = Literal[
    "crash",
    "crash_locked",
    "wiped_data",
    "wiped_sign_state",
    "pause",
    "isolated",
    "halves",
    "ring",
    "one_way",
    "half_connected",
    "loss",
    "duplicate",
    "reorder",
    "delay",
    "slow",
    "clock_offset",
    "clock_drift",
    "mesh_down",
    "power",
    "leave",
    "join",
    "denied",
    "recovered_sign_state",
    "replaced_key",
]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
OPERATIONS: tuple[FaultKind, ...] = ("recovered_sign_state", "replaced_key")
"""What operators do about a validator; drawn from a stream of their own."""
MEMBERSHIP: tuple[FaultKind, ...] = ("power", "leave", "join", "denied", "replaced_key")
"""What changes the validator set for good."""

ON_NOBODY: tuple[FaultKind, ...] = ("loss", "duplicate", "reorder", "delay", "ring", "mesh_down", "crash_locked")
"""What is about no node in particular."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Milliseconds = Annotated[int, msgspec.Meta(ge=-10_000_000, le=10_000_000)]
Timeout = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
"""In ms. Without any wait a node would do the same again for ever, and no time would pass."""
DRIFT_PPM_MAX = 500_000
"""A clock that is slower by a million ppm stands still."""


class PlannedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault: what, whom, and when. It begins `after_ms` after some node first decided `at_height`."""

    kind: FaultKind
    at_height: Count
    after_ms: Count = 0
    duration_ms: Count = 0
    nodes: tuple[Count, ...] = ()
    """Whom it is about; for `halves` one of the halves, for `one_way` first who is not heard, then by whom; for
    `replaced_key` first whose key goes, then whose comes."""
    effects: Count = 0
    """Of a crash: how many more effects the node performs before it dies."""
    rate: Rate = 0.0
    by: Milliseconds = 0
    """Of delays and clock offsets in ms, of a drift in ppm; the voting power that a node gets."""
    is_noticed: bool = False
    """Of cuts: whether the nodes notice that their links are gone, or wait in vain."""


class ClockPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How wrong a node's clock is from the start."""

    offset_ms: Milliseconds = 0
    drift_ppm: Milliseconds = 0


class TraitorPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A node that lies, from the start and for good. One node may have several, and lies in all those ways."""

    node: Count
    behaviour: str
    probability: Rate = 1.0
    """How likely it lies in one round of one height."""
    from_ms: Count = 0
    """When it begins to lie, after the genesis."""


class LinkPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How links are throughout the first phase."""

    delay_ms_min: Count = 1
    delay_ms_max: Count = 4
    loss: Rate = 0.0
    duplicate: Rate = 0.0
    reorder: Rate = 0.0


class TimingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of every node, in ms."""

    propose_timeout_ms: Timeout = 1000
    prevote_timeout_ms: Timeout = 500
    precommit_timeout_ms: Timeout = 500
    timeout_delta_ms: Timeout = 250
    empty_block_interval_ms: Count = 20
    announce_interval_ms: Timeout = 100
    sync_timeout_ms: Timeout = 1000


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole run. Nodes are numbered from 0.

    Phase 1 lasts until some node has decided `first_phase_heights`; then all heals but `broken`, and the others must go
    on for `second_phase_heights`; then all is well, and everybody must come to `heights`.
    """

    seed: int
    nodes: Annotated[int, msgspec.Meta(ge=1, le=MAX_NODES)]
    heights: Annotated[int, msgspec.Meta(ge=3, le=1_000_000)]
    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION
    powers: tuple[Annotated[int, msgspec.Meta(ge=0, le=1_000_000)], ...] = ()
    """Voting powers in the order of the nodes, 0 for one that only follows at first; empty: 1 each."""
    has_real_signatures: bool = False
    has_wire: bool = False
    """Whether every message is encoded and decoded again, so that nodes share nothing."""
    timing: TimingPlan = msgspec.field(default_factory=TimingPlan)
    links: LinkPlan = msgspec.field(default_factory=LinkPlan)
    clocks: tuple[ClockPlan, ...] = ()
    adversary_ms: Count = 0
    """How long the adversary holds back the vote that would complete a quorum; 0: there is none."""
    has_split_locks: bool = False
    """Whether the first phase ends with validators of the second phase's quorum locked on different blocks."""
    transaction_interval_ms: Count = 0
    """How often a client sends a transaction; 0: never."""
    faults: tuple[PlannedFault, ...] = ()
    traitors: tuple[TraitorPlan, ...] = ()
    broken: tuple[Count, ...] = ()
    """Nodes that stay broken in the second phase: crashed, or isolated where `is_broken_mute`."""
    is_broken_mute: bool = False
    unlinked: tuple[Count, ...] = ()
    """Two nodes of the second phase's quorum that do not hear each other in it: the others must pass their words on."""

    @property
    def first_phase_heights(self) -> int:
        return self.heights * 6 // 10

    @property
    def second_phase_heights(self) -> int:
        return self.heights * 2 // 10

    def get_powers(self) -> tuple[int, ...]:
        return self.powers or (1,) * self.nodes

    def list_bad(self) -> frozenset[int]:
        """Nodes that do not count among the quorum of the second phase: broken, lying, or without what they knew."""
        gone = ("wiped_data", "wiped_sign_state", "recovered_sign_state", "denied")
        without = (node for fault in self.faults if fault.kind in gone for node in fault.nodes)
        return frozenset((*self.broken, *(traitor.node for traitor in self.traitors), *without))

    def list_denied(self) -> frozenset[int]:
        """Nodes that are cut off for good."""
        return frozenset(node for fault in self.faults if fault.kind == "denied" for node in fault.nodes)

    def get_name(self, node: int) -> str:
        return f"validator-{node + 1}"


def parse_schedule(text: str | bytes, file: str) -> Schedule:
    """A schedule from JSON; `file` is its name in errors. Raises `SettingsError`."""
    try:
        schedule = msgspec.json.decode(text, type=Schedule)
    except msgspec.DecodeError as error:
        raise SettingsError(
            f"{file}: not a schedule: {error}", remedy="`testbed shrink SEED` and failed fuzz runs write such files"
        ) from None
    check_schedule(schedule, file)
    return schedule


def load_schedule(path: Path) -> Schedule:
    """A schedule from its file. Raises `SettingsError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path}: the schedule cannot be read: {error.strerror}",
            remedy="give a run's folder, a seed, or a file of `testbed shrink`",
        ) from None
    return parse_schedule(data, str(path))


def format_schedule(schedule: Schedule) -> str:
    """The JSON text of a schedule, for people too."""
    return msgspec.json.format(msgspec.json.encode(schedule), indent=2).decode() + "\n"


def check_schedule(schedule: Schedule, file: str) -> None:
    """Raises `SettingsError`, naming the field, where a schedule contradicts itself."""
    if schedule.powers and len(schedule.powers) != schedule.nodes:
        raise SettingsError(
            f"{file}: powers has {len(schedule.powers)} values for {schedule.nodes} nodes", field="powers"
        )
    if schedule.clocks and len(schedule.clocks) != schedule.nodes:
        raise SettingsError(
            f"{file}: clocks has {len(schedule.clocks)} values for {schedule.nodes} nodes", field="clocks"
        )
    if schedule.links.delay_ms_min > schedule.links.delay_ms_max:
        raise SettingsError(f"{file}: links.delay_ms_min is more than delay_ms_max", field="links.delay_ms_min")
    for index, clock in enumerate(schedule.clocks):
        if abs(clock.drift_ppm) > DRIFT_PPM_MAX:
            raise SettingsError(
                f"{file}: clocks[{index}].drift_ppm is {clock.drift_ppm}",
                remedy=f"give a number from {-DRIFT_PPM_MAX} to {DRIFT_PPM_MAX}",
                field=f"clocks[{index}].drift_ppm",
            )
    for index, fault in enumerate(schedule.faults):
        if complaint := _find_contradiction(fault, schedule.nodes):
            field, words = complaint
            raise SettingsError(f"{file}: faults[{index}].{field} {words}", field=f"faults[{index}].{field}")
    for index, traitor in enumerate(schedule.traitors):
        if traitor.behaviour not in BEHAVIOURS:
            raise SettingsError(
                f"{file}: traitors[{index}].behaviour {traitor.behaviour!r} is not a behaviour",
                remedy=f"use one of {', '.join(sorted(BEHAVIOURS))}",
                field=f"traitors[{index}].behaviour",
            )
    if (
        len(set(schedule.unlinked)) != len(schedule.unlinked)
        or len(schedule.unlinked) not in (0, 2)
        or any(node >= schedule.nodes for node in schedule.unlinked)
    ):
        raise SettingsError(
            f"{file}: unlinked is {list(schedule.unlinked)}: name two nodes that are there, or none", field="unlinked"
        )
    powers = schedule.get_powers()
    bad = schedule.list_bad()
    if any(node >= schedule.nodes for node in bad):
        raise SettingsError(f"{file}: broken or traitors name a node that is not there", field="broken")
    left = sum(power for node, power in enumerate(powers) if node not in bad)
    if 3 * left <= 2 * sum(powers):
        raise SettingsError(
            f"{file}: broken nodes, traitors and wiped sign-states leave power {left} of {sum(powers)}: no quorum",
            field="broken",
        )


def _find_contradiction(fault: PlannedFault, nodes: int) -> tuple[str, str] | None:
    """The field of a fault that cannot be, and why; None where all can."""
    if any(node >= nodes for node in fault.nodes):
        return "nodes", f"{list(fault.nodes)}: nodes are numbered 0 to {nodes - 1}"
    if fault.kind == "replaced_key" and len({*fault.nodes}) != 2:
        return "nodes", f"{list(fault.nodes)}: name whose key goes, and whose comes"
    if len(set(fault.nodes)) < len(fault.nodes):
        return "nodes", f"{list(fault.nodes)} names a node twice"
    if not fault.nodes and fault.kind not in ON_NOBODY:
        return "nodes", f"is empty and {fault.kind} needs some"
    if fault.by < 0 and fault.kind in ("delay", "slow", "power", "join"):
        return "by", f"is {fault.by}: {fault.kind} wants 0 or more"
    if fault.kind == "clock_drift" and abs(fault.by) > DRIFT_PPM_MAX:
        return "by", f"is {fault.by}: a clock drifts by {DRIFT_PPM_MAX} ppm at most"
    return None
