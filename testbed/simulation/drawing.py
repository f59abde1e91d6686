"""What a seed decides: the schedule of its run, drawn.

How often faults come, and of which kinds, is itself drawn: some seeds are calm, some violent, some know one kind
of fault only. What was thought of later is drawn from streams of its own, so that seeds decide what they did before.
"""

from __future__ import annotations

import random

import msgspec

from testbed.byzantine import BEHAVIOURS
from testbed.simulation.schedule import (
    FAULT_KINDS,
    MAX_NODES,
    MEMBERSHIP,
    OPERATIONS,
    ClockPlan,
    FaultKind,
    LinkPlan,
    PlannedFault,
    Schedule,
    TimingPlan,
    TraitorPlan,
)

_DRAWN_KINDS = tuple(kind for kind in FAULT_KINDS if kind not in OPERATIONS)


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
