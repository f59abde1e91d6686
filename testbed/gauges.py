"""What a machine holds in memory at a moment, read from outside: for the bound of invariant 15."""

from __future__ import annotations

from tana.node.machine import Machine
from testbed.invariants.facts import Gauges


def read_gauges(machine: Machine) -> Gauges:
    """The gauges of a machine that has taken its first step. Cost: looks at every vote held."""
    core, mempool = machine.core, machine.mempool
    return Gauges(
        validators=len(core.validators),
        round=core.round,
        votes=core.votes.count(),
        proposals=len(core.proposals),
        blocks=len(core.blocks),
        early_messages=sum(len(waiting) for waiting in machine._early.values()),
        peers=len(machine._early),
        mempool_transactions=len(mempool),
        mempool_bytes=mempool.size_bytes,
        mempool_bytes_max=mempool.max_bytes,
    )
