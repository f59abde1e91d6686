"""What a scenario may ask of its backend beyond what every backend gives, and who gives it."""

from __future__ import annotations

from collections.abc import Mapping

CONTAINERS = "containers"
TAILNET = "tailnet"

REMEDIES: Mapping[str, str] = {
    CONTAINERS: "choose BACKEND=docker (testbed run … --backend docker)",
    TAILNET: "choose BACKEND=docker NETWORK=tailnet (testbed run … --backend docker --network tailnet)",
}
"""How to choose a backend that has it, by need."""


def get_offers(backend: str, network: str) -> frozenset[str]:
    """What a backend has of these; `network` matters to backends of containers only."""
    if backend != "docker":
        return frozenset()
    return frozenset({CONTAINERS, TAILNET} if network == TAILNET else {CONTAINERS})
