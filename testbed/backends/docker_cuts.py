"""Cuts between containers: packets that a member gets from or sends to another are dropped in the member's network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from testbed.backends.base import Containers, Pair
from testbed.faults.base import NotApplied
from testbed.faults.firewall import DROP, Firewall
from testbed.faults.sidecars import read_status
from testbed.needs import TAILNET


class PacketCuts:
    """See `testbed.backends.base.Cuts`. The verbs raise `NotApplied` where a packet filter does not obey.

    Only packets between services are dropped: on a tailnet those between its addresses, whatever way they take. The
    host still reaches every member.
    """

    unit = "packets"

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._walls: list[tuple[tuple[Pair, ...], list[Firewall]]] = []
        """What is cut now, by what was asked for."""
        self._number = 0
        self._dropped = 0
        """By walls that are gone."""

    def cut(self, pairs: Sequence[Pair]) -> None:
        walls = []
        for member, own in share_out(pairs):
            self._number += 1
            rules = [self._make_rule(member, pair) for pair in own]
            walls.append(Firewall(self._containers, member, f"cut-{self._number}", rules))
            walls[-1].insert()
        self._walls.append((tuple(pairs), walls))

    def heal(self, pairs: Sequence[Pair]) -> None:
        index = next(index for index, (cut, _) in enumerate(self._walls) if cut == tuple(pairs))
        for wall in self._walls[index][1]:
            self._dropped += wall.count_dropped()
            wall.remove()
        del self._walls[index]

    def carries(self, pair: Pair) -> bool:
        return not any(pair in cut for cut, _ in self._walls)

    def count_cut(self) -> int:
        return self._dropped + sum(wall.count_dropped() for _, walls in self._walls for wall in walls)

    def _make_rule(self, member: str, pair: Pair) -> tuple[str, ...]:
        source, target = pair
        side, peer = ("-d", target) if source == member else ("-s", source)
        return (side, find_address(self._containers, member, peer), *DROP)


def find_address(containers: Containers, member: str, peer: str) -> str:
    """A peer's address as a member knows it, on the network that services use. Raises `NotApplied`."""
    if containers.network != TAILNET:
        return containers.get_underlay_ip(peer)
    status = read_status(containers, member)
    found = status.find_peer(peer) if status else None
    if found is None or not found.ip:
        raise NotApplied(f"{member}'s sidecar does not know {peer}'s address")
    return found.ip


def share_out(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[Pair]]]:
    """Who drops what, so that few members have to: each costs a moment. Whoever has most links left is next."""
    left = list(pairs)
    while left:
        counts = Counter(member for pair in left for member in pair)
        member = max(counts, key=lambda name: counts[name])
        yield member, [pair for pair in left if member in pair]
        left = [pair for pair in left if member not in pair]
