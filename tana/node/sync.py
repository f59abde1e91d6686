"""Catching up: which final blocks to ask of which peer, one request at a time.

A peer's announced height is a claim, nothing more: blocks count only with a certificate of their height's validators.
A peer that claimed and did not deliver, or delivered what does not verify, is asked last.
"""

from __future__ import annotations

from dataclasses import dataclass

from tana.types.messages import BlocksRequest

BLOCKS_PER_REQUEST = 64


@dataclass
class _Peer:
    height: int = 0
    failures: int = 0


class Sync:
    """Peers' claims and the one request under way. Heights are those being decided: one above the last final."""

    def __init__(self) -> None:
        self._peers: dict[bytes, _Peer] = {}
        self._asked: bytes | None = None

    @property
    def asked(self) -> bytes | None:
        """The peer whose answer is awaited."""
        return self._asked

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

    def on_answer(self, peer: bytes, *, is_good: bool) -> None:
        """The awaited blocks came (or what came was useless)."""
        self._asked = None
        if peer in self._peers:
            self._peers[peer].failures = 0 if is_good else self._peers[peer].failures + 1

    def on_timeout(self) -> None:
        """The awaited peer did not answer in time."""
        if self._asked is not None:
            self.on_answer(self._asked, is_good=False)

    def next_request(self, deciding_height: int) -> tuple[bytes, BlocksRequest] | None:
        """Whom to ask for what, where somebody claims to be ahead and nobody is being asked."""
        if self._asked is not None:
            return None
        ahead = [(peer.failures, key) for key, peer in self._peers.items() if peer.height > deciding_height]
        if not ahead:
            return None
        _, key = min(ahead)
        self._asked = key
        last = min(self._peers[key].height - 1, deciding_height + BLOCKS_PER_REQUEST - 1)
        return key, BlocksRequest(deciding_height, last)

    def is_behind(self, deciding_height: int) -> bool:
        """Whether a peer that has not disappointed us claims to be further on than the next decision brings us."""
        return any(peer.height > deciding_height + 1 and peer.failures == 0 for peer in self._peers.values())

    def claims(self) -> dict[bytes, int]:
        """The last final height that each peer claims."""
        return {key: max(peer.height - 1, 0) for key, peer in sorted(self._peers.items())}
