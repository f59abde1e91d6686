"""What a scenario or a check may need beyond what every backend gives, and which backend gives it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

CONTAINERS = "containers"
TAILNET = "tailnet"
CUTS = "cuts"
"""Links that the harness can cut."""
LOSSES = "losses"
"""Links over which the harness can lose what is sent."""
LINKS = "links"
"""Links that belong to the harness."""
CONNECTIONS = "connections"
"""Links that are real connections, whose ends may disagree about them."""

REMEDIES: Mapping[str, str] = {
    CONTAINERS: "choose BACKEND=docker (testbed run … --backend docker)",
    TAILNET: "choose BACKEND=docker NETWORK=tailnet (testbed run … --backend docker --network tailnet)",
    CUTS: "choose any backend: each can cut links",
    LOSSES: "choose any backend: each can lose what is sent",
    LINKS: "choose BACKEND=processes or BACKEND=simulation (testbed run … --backend processes)",
    CONNECTIONS: "choose BACKEND=processes (testbed run … --backend processes)",
}
"""How to choose a backend that has it, by need."""

ANSWERS = "answers"
STEPS = "steps"
GAUGES = "gauges"
CHAIN = "chain"
TRANSACTIONS = "transactions"
EXPECTATIONS = "expectations"
RUNS = "runs"

BACKENDS = ("simulation", "processes", "docker")
FEEDS: Mapping[str, tuple[str, ...]] = {
    ANSWERS: BACKENDS,
    STEPS: BACKENDS,
    CHAIN: BACKENDS,
    GAUGES: BACKENDS,
    TRANSACTIONS: BACKENDS,
    EXPECTATIONS: BACKENDS,
    RUNS: ("simulation",),
    CONTAINERS: ("docker",),
    TAILNET: ("docker",),
}
"""Who can feed a check with what: answers of nodes and mesh; steps and gauges of every node, from its journal; the
chain from its genesis on; what clients sent and were told; what quorum arithmetic expects; two runs of one seed; what
only containers can show."""


def find_backends(needs: Collection[str]) -> tuple[str, ...]:
    """The backends that can feed a check with all it needs."""
    return tuple(backend for backend in BACKENDS if all(backend in FEEDS[need] for need in needs))


def get_offers(backend: str, network: str) -> frozenset[str]:
    """What a backend has of these; `network` matters to backends of containers only."""
    if backend == "simulation":
        return frozenset({CUTS, LOSSES, LINKS})
    if backend == "processes":
        return frozenset({CUTS, LOSSES, LINKS, CONNECTIONS})
    offers = frozenset({CONTAINERS, CUTS, LOSSES})
    return offers | {TAILNET} if network == TAILNET else offers
