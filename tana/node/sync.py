"""Catching up: which final blocks to ask of which peer, one request at a time.

A peer's announced height is a claim, nothing more: blocks count only with a certificate of their height's validators.
Peers are ranked by how often they have disappointed us, then by how fast their last answer was: one that claims and
does not deliver, or whose blocks do not verify, is asked last, and one that trickles behind all that do better. Who was
never asked comes first. An answer that comes after its time still counts, once: over a slow link, two peers of which
each is given up for the other must not keep us where we are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tana.types.messages import BlocksRequest

BLOCKS_PER_REQUEST = 64
"""As many as a node checks and stores in a fraction of a second: meanwhile it hears nobody."""
PAUSE_MS = 20
"""After an answer that disappointed: so long for each one in a row, up to `PAUSES_MAX` times as long."""
PAUSES_MAX = 100
HEIGHTS_PER_REPORT = 500
"""Progress is reported once in so many heights."""


@dataclass
class _Peer:
    """What one peer claims and did. `rate` is in blocks a second; `owes` says that a request is unanswered."""

    height: int = 0
    failures: int = 0
    rate: float = math.inf
    asked_ms: int = 0
    owes: bool = False
    disappointed_ms: int | None = None
    """When its last answer disappointed; None where it did not."""

    def is_resting(self, now_ms: int) -> bool:
        if self.disappointed_ms is None:
            return False
        # A clock that was set back since says nothing of how long ago that was.
        return 0 <= now_ms - self.disappointed_ms < PAUSE_MS * min(self.failures, PAUSES_MAX)


class Sync:
    """Peers' claims and the one request under way. Heights are those being decided: one above the last final."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Peer] = {}
        self._asked: bytes | None = None
        self._reported = -HEIGHTS_PER_REPORT

    def on_connected(self, peer: bytes) -> None:
        self._peers[peer] = _Peer()

    def on_disconnected(self, peer: bytes) -> None:
        self._peers.pop(peer, None)
        if self._asked == peer:
            self._asked = None

    def on_claim(self, peer: bytes, deciding_height: int) -> None:
        """A peer announced the height that it decides."""
        if peer in self._peers:
            self._peers[peer].height = deciding_height

    def is_owed(self, peer: bytes) -> bool:
        """Whether a peer was asked and has not answered yet, in time or not."""
        return peer in self._peers and self._peers[peer].owes

    def on_answer(self, peer: bytes, blocks: int, now_ms: int, *, is_good: bool) -> None:
        """What we were owed came: so many blocks that took us on; `is_good` says that none was wrong.

        Nothing new is a disappointment too, unless it came late and another peer was asked meanwhile.
        """
        entry = self._peers[peer]
        entry.owes = False
        if not is_good or (blocks == 0 and self._asked == peer):
            entry.failures += 1
            entry.disappointed_ms = now_ms
        elif blocks > 0:
            entry.failures = 0
            entry.disappointed_ms = None
            entry.rate = blocks * 1000 / max(now_ms - entry.asked_ms, 1)
        if self._asked == peer:
            self._asked = None

    def on_timeout(self) -> None:
        """The asked peer did not answer in time."""
        if self._asked is not None:
            self._peers[self._asked].failures += 1
            self._asked = None

    def next_request(self, deciding_height: int, now_ms: int) -> tuple[bytes, BlocksRequest] | None:
        """Whom to ask for what, where somebody claims to be ahead and nobody is being asked."""
        if self._asked is not None:
            return None
        ahead = [
            (peer.failures, -peer.rate, key)
            for key, peer in self._peers.items()
            if peer.height > deciding_height and not peer.is_resting(now_ms)
        ]
        if not ahead:
            return None
        _, _, key = min(ahead)
        self._asked = key
        entry = self._peers[key]
        entry.owes = True
        entry.asked_ms = now_ms
        last = min(entry.height - 1, deciding_height + BLOCKS_PER_REQUEST - 1)
        return key, BlocksRequest(deciding_height, last)

    def is_behind(self, deciding_height: int) -> bool:
        """Whether a peer that has not disappointed us claims to be further on than the next decision brings us."""
        return self.find_target() > deciding_height

    def find_target(self) -> int:
        """The last final height that we must get to, if those are right that have not disappointed us; 0 for none."""
        claims = (peer.height - 1 for peer in self._peers.values() if peer.failures == 0)
        return max(claims, default=0)

    def find_progress(self, deciding_height: int) -> int | None:
        """The target, where it is far and progress is worth a report again."""
        target = self.find_target()
        if target <= deciding_height + BLOCKS_PER_REQUEST or deciding_height < self._reported + HEIGHTS_PER_REPORT:
            return None
        self._reported = deciding_height
        return target

    def claims(self) -> dict[bytes, int]:
        """The last final height that each peer claims."""
        return {key: max(peer.height - 1, 0) for key, peer in sorted(self._peers.items())}
