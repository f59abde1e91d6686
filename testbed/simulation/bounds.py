"""How long a simulated chain may take, in virtual time: it follows from the timeouts and from the rounds reached."""

from __future__ import annotations

from collections.abc import Sequence

from tana.node.machine import MachineConfig
from tana.node.sync import BLOCKS_PER_REQUEST
from testbed.simulation.schedule import Schedule


def compute_bound_ms(
    schedule: Schedule, config: MachineConfig, heights: Sequence[int], highest_round: int, height: int
) -> int:
    """Time in which a quorum whose links are good decides up to `height`: twice what the timeouts add up to.

    `heights` are the last blocks of all nodes, `highest_round` is the highest that any of them is in. A round may fail
    for each node that is broken, and at first for whoever proposes before all are in one round.
    """

    def last(rounds: range) -> int:
        kinds = ("propose", "prevote", "precommit")
        return sum(config.of(kind, round) for round in rounds for kind in kinds)

    nodes, growing = schedule.nodes, count_growing_rounds(schedule)
    first_ms = last(range(highest_round, highest_round + growing + nodes + 3)) + 10 * config.announce_interval_ms
    empty_ms = config.empty_block_interval_ms or 0
    each_ms = last(range(nodes)) + empty_ms + config.min_block_interval_ms + 2 * config.announce_interval_ms
    behind = height - min(heights)
    sync_ms = (behind // BLOCKS_PER_REQUEST + 2) * nodes * config.sync_timeout_ms
    return 2 * (first_ms + each_ms * max(height - max(heights), 1) + sync_ms)


def count_growing_rounds(schedule: Schedule) -> int:
    """Rounds until each timeout is longer than the way of a message between two nodes that have no link.

    What one of them says reaches the other through a third, which sends it on at the next announcement. Only once a
    proposal and the votes on it come that way in time can they count.
    """
    if not schedule.unlinked:
        return 0
    timing = schedule.timing
    shortest_ms = min(timing.propose_timeout_ms, timing.prevote_timeout_ms, timing.precommit_timeout_ms)
    relay_ms = 2 * timing.announce_interval_ms
    return max(-(-(relay_ms - shortest_ms) // max(timing.timeout_delta_ms, 1)), 0)
