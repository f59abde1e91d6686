"""The schedule of a simulated run: everything that will go wrong, as explicit data that the seed decides.

A run is `run_schedule(make_schedule(seed))`. Because the schedule is data, it can be written to a file, read, made
smaller (`testbed shrink`) and run again. How often faults come, and of which kinds, is itself drawn per seed: some
seeds are calm, some violent, some know one kind of fault only.
"""

from __future__ import annotations

import random
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
_DRAWN_KINDS = tuple(kind for kind in FAULT_KINDS if kind not in OPERATIONS)
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


def make_schedule(seed: int, nodes: int = 4, heights: int = 60) -> Schedule:
    """What the seed decides for so many nodes and heights."""
    draw = random.Random(f"{seed}/{nodes}/schedule")
    kinds, rate = _draw_character(draw)
    powers = _draw_powers(draw, nodes)
    # Where the set itself changes, who can be spared changes too: all others are correct, and in the end all are well.
    is_changing = nodes > 3 and any(kind in MEMBERSHIP for kind in kinds) and draw.random() < 0.4
    if not is_changing:
        kinds = [kind for kind in kinds if kind not in MEMBERSHIP]
    elif draw.random() < 0.5:
        powers = (*(powers or (1,) * nodes)[:-1], 0)
    spare = () if is_changing else _draw_spare(draw, powers or (1,) * nodes)
    traitors, spare = _draw_traitors(draw, spare)
    if not spare:
        kinds = [kind for kind in kinds if kind not in ("wiped_data", "wiped_sign_state")]
    faults = _draw_faults(draw, kinds, rate, nodes, last=heights * 6 // 10, spare=spare)
    is_rough = rate > 0.5
    timing = _draw_timing(draw)
    schedule = Schedule(
        seed=seed,
        nodes=nodes,
        heights=heights,
        powers=powers,
        has_real_signatures=draw.random() < 0.1,
        has_wire=draw.random() < 0.25,
        timing=timing,
        links=LinkPlan(
            delay_ms_max=draw.choice((2, 4, 4, 10, 40)) if is_rough else 4,
            loss=_draw_rate(draw, 0.2) if is_rough and "loss" in kinds else 0.0,
            duplicate=_draw_rate(draw, 0.2) if is_rough and "duplicate" in kinds else 0.0,
            reorder=_draw_rate(draw, 0.3) if is_rough and "reorder" in kinds else 0.0,
        ),
        clocks=_draw_clocks(draw, nodes) if "clock_offset" in kinds or "clock_drift" in kinds else (),
        adversary_ms=_draw_delay(draw, timing),
        transaction_interval_ms=draw.choice((0, 30, 50, 100, 100, 200)),
        faults=faults,
        traitors=traitors,
        broken=spare,
        is_broken_mute=draw.random() < 0.5,
    )
    schedule = msgspec.structs.replace(schedule, unlinked=_draw_unlinked(draw, schedule))
    # From a stream of its own: what else a seed decides stays as it was before there were split locks.
    schedule = msgspec.structs.replace(schedule, has_split_locks=_draw_split(seed, schedule))
    return _draw_operations(random.Random(f"{seed}/{nodes}/operations"), schedule)


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


def _draw_character(draw: random.Random) -> tuple[list[FaultKind], float]:
    """Which kinds of faults this seed knows, and how many of them come per height."""
    character = draw.random()
    if character < 0.1:
        return [], 0.0
    if character < 0.35:
        return [draw.choice(_DRAWN_KINDS)], draw.choice((0.1, 0.3, 1.0))
    chosen = draw.sample(_DRAWN_KINDS, draw.randint(2, len(_DRAWN_KINDS)))
    return chosen, draw.choice((0.05, 0.1, 0.2, 0.5, 1.0))


def _draw_powers(draw: random.Random, nodes: int) -> tuple[int, ...]:
    return tuple(draw.choice((1, 1, 2, 3)) for _ in range(nodes)) if draw.random() < 0.15 else ()


def _draw_spare(draw: random.Random, powers: tuple[int, ...]) -> tuple[int, ...]:
    """A random set of nodes without which there is still a quorum."""
    order = list(range(len(powers)))
    draw.shuffle(order)
    total, spare = sum(powers), list[int]()
    for node in order:
        gone = sum(powers[item] for item in (*spare, node))
        if 3 * (total - gone) > 2 * total:
            spare.append(node)
    return tuple(sorted(spare))


def _draw_unlinked(draw: random.Random, schedule: Schedule) -> tuple[int, ...]:
    """Two nodes of the second phase's quorum, where there is a third that hears both."""
    quorum = [node for node in range(schedule.nodes) if node not in schedule.list_bad()]
    return tuple(sorted(draw.sample(quorum, 2))) if len(quorum) > 2 and draw.random() < 0.3 else ()


def _draw_split(seed: int, schedule: Schedule) -> bool:
    """Locks that clash matter where nobody of the quorum can be spared."""
    return bool(schedule.broken) and random.Random(f"{seed}/{schedule.nodes}/split locks").random() < 0.25


def _draw_operations(draw: random.Random, schedule: Schedule) -> Schedule:
    """In a quarter of the seeds operators are at work too: most others are as they were before there were any."""
    if draw.random() >= 0.25:
        return schedule
    last = schedule.heights * 6 // 10
    faults = list(schedule.faults)
    if schedule.broken:
        # As with a sign-state that is wiped for good: only a node that can be spared.
        faults += [
            PlannedFault(
                "recovered_sign_state",
                draw.randint(0, last - 1),
                draw.randint(0, 100),
                draw.choice((5, 30, 250)),
                (draw.choice(schedule.broken),),
                effects=draw.randint(0, 30),
            )
            for _ in range(draw.randint(1, 3))
        ]
    liars = {traitor.node for traitor in schedule.traitors}
    honest = [node for node, power in enumerate(schedule.get_powers()) if power and node not in liars]
    if honest and schedule.nodes < MAX_NODES and draw.random() < 0.7:
        old, new = draw.choice(honest), schedule.nodes
        schedule = msgspec.structs.replace(
            schedule,
            nodes=new + 1,
            powers=(*schedule.get_powers(), 0),
            clocks=(*schedule.clocks, ClockPlan()) if schedule.clocks else (),
        )
        height = draw.randint(0, last - 1)
        faults.append(PlannedFault("replaced_key", height, draw.randint(0, 100), 500, (old, new)))
        if draw.random() < 0.5:
            # Whoever comes or goes dies about when that takes force.
            node = draw.choice((old, new))
            faults.append(
                PlannedFault("crash", height + 1, draw.randint(0, 60), 30, (node,), effects=draw.randint(0, 30))
            )
        if draw.random() < 0.5:
            back = min(height + draw.randint(2, 8), last)
            faults.append(PlannedFault("replaced_key", back, draw.randint(0, 100), 500, (new, old)))
    faults.sort(key=lambda fault: (fault.at_height, fault.after_ms))
    return msgspec.structs.replace(schedule, faults=tuple(faults))


def _draw_traitors(draw: random.Random, spare: tuple[int, ...]) -> tuple[tuple[TraitorPlan, ...], tuple[int, ...]]:
    """Who of the spare nodes lies, and who is left to break."""
    if not spare or draw.random() < 0.4:
        return (), spare
    chosen = draw.sample(spare, draw.randint(1, len(spare)))
    traitors = tuple(
        TraitorPlan(node, behaviour, draw.choice((1.0, 0.5, 0.1)), draw.choice((0, 0, 500)))
        for node in sorted(chosen)
        for behaviour in draw.sample(tuple(BEHAVIOURS), draw.choice((1, 3, 6)))
    )
    return traitors, tuple(node for node in spare if node not in chosen)


def _draw_faults(
    draw: random.Random, kinds: list[FaultKind], rate: float, nodes: int, *, last: int, spare: tuple[int, ...]
) -> tuple[PlannedFault, ...]:
    """Faults that begin at heights below `last`."""
    if not kinds:
        return ()
    count = max(1, round(rate * last))
    faults = [_draw_fault(draw, draw.choice(kinds), nodes, draw.randint(0, last - 1), spare) for _ in range(count)]
    return tuple(sorted(faults, key=lambda fault: (fault.at_height, fault.after_ms)))


def _draw_fault(
    draw: random.Random, kind: FaultKind, nodes: int, at_height: int, spare: tuple[int, ...]
) -> PlannedFault:
    after_ms = draw.choice((0, 0, draw.randint(0, 40), draw.randint(0, 600)))
    duration_ms = draw.choice((5, 30, 100, 250, 800))
    chosen: tuple[int, ...] = (draw.randrange(nodes),)
    effects, rate, by = 0, 0.0, 0
    match kind:
        case "crash":
            effects = draw.randint(0, 30)
        case "wiped_data" | "wiped_sign_state":
            # What it knew may be nowhere else, and it may not vote again: only a node that can be spared.
            chosen, effects = (draw.choice(spare),), draw.randint(0, 30)
        case "halves":
            chosen = tuple(sorted(draw.sample(range(nodes), max(1, nodes // 2))))
        case "ring":
            chosen = ()
        case "one_way" | "half_connected":
            others = [node for node in range(nodes) if node != chosen[0]]
            size = len(others) // 2 if kind == "half_connected" else draw.randint(1, max(len(others), 1))
            chosen = (*chosen, *sorted(draw.sample(others, min(max(size, 1), len(others)))))
        case "loss" | "duplicate" | "reorder":
            chosen, rate = (), draw.choice((0.05, 0.2, 0.5, 0.9))
        case "delay":
            chosen, by = (), draw.choice((10, 50, 200))
        case "slow":
            by = draw.choice((20, 100, 500))
        case "clock_offset":
            by = draw.choice((-3000, -500, 500, 3000))
        case "clock_drift":
            by = draw.choice((-50_000, -1000, 1000, 50_000))
        case "power" | "join":
            by = draw.choice((1, 1, 2, 3))
        case "denied":
            chosen = (nodes - 1,)
        case "mesh_down":
            chosen = ()
        case "crash_locked":
            chosen, duration_ms = (), draw.choice((300, 800))
        case _:
            pass
    is_noticed = draw.random() < 0.5
    is_cut = kind in ("isolated", "halves", "ring", "one_way", "half_connected")
    return PlannedFault(
        kind, at_height, after_ms, duration_ms, chosen, effects, rate, by, is_noticed=is_cut and is_noticed
    )


def _draw_delay(draw: random.Random, timing: TimingPlan) -> int:
    """How long the adversary holds a vote back: around the timeouts that it wants to run out."""
    if draw.random() < 0.7:
        return 0
    return min(round(timing.propose_timeout_ms * draw.choice((0.5, 1.5, 3))), 1500)


def _draw_timing(draw: random.Random) -> TimingPlan:
    """As shipped, or in a hurry: short timeouts make many rounds, and those are where locks matter."""
    if draw.random() < 0.15:
        return TimingPlan()
    base = draw.choice((20, 60, 60, 200))
    return TimingPlan(
        propose_timeout_ms=base,
        prevote_timeout_ms=base // 2,
        precommit_timeout_ms=base // 2,
        timeout_delta_ms=base // 4,
        announce_interval_ms=draw.choice((50, 100, 200)),
        sync_timeout_ms=200,
    )


def _draw_clocks(draw: random.Random, nodes: int) -> tuple[ClockPlan, ...]:
    """Wrong by less than half of what a proposal may lie ahead, so that every node can still vote for each other's."""
    return tuple(
        ClockPlan(draw.choice((0, draw.randint(-2000, 2000))), draw.choice((0, draw.randint(-1000, 1000))))
        for _ in range(nodes)
    )


def _draw_rate(draw: random.Random, highest: float) -> float:
    return round(draw.random() * highest, 3)
