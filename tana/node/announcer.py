"""When this node announces what it holds, and which announcements of its peers are worth a look."""

from __future__ import annotations

from tana.consensus.announcements import create_announcement
from tana.consensus.tendermint import Step, Tendermint
from tana.ledger.evidence_pool import EvidencePool
from tana.types.messages import Announcement

IDLE_INTERVALS = 10
"""While nothing is being decided, only every so many intervals bring an announcement."""


class Announcer:
    """Announcements made and heard. `count` is how many were made since the last change of height, round or step."""

    def __init__(self, core: Tendermint, evidence: EvidencePool) -> None:
        self._core = core
        self._evidence = evidence
        self.count = 0
        self._version = 0
        """Grows with every input that may change what an announcement says, or what we answer to one."""
        self._heard: dict[bytes, tuple[int, Announcement]] = {}
        """Per peer the announcement to which there was nothing to say, and our version then."""
        self._said: tuple[int, Announcement | None] = (0, None)
        self._announced_step = (0, 0, 0)
        self._quiet_intervals = 0

    def on_change(self) -> None:
        """Something happened that may change what is announced, or answered."""
        self._version += 1

    def create(self) -> Announcement:
        """What this node holds now."""
        version, said = self._said
        if said is not None and version == self._version:
            return said
        announcement = create_announcement(self._core, self._evidence.accused)
        if not announcement.past:
            self._said = (self._version, announcement)
        return announcement

    def on_interval(self) -> Announcement | None:
        """What to tell every peer now, if anything."""
        core = self._core
        step = (core.height, core.round, int(core.step))
        if step != self._announced_step:
            self._announced_step = step
            self.count = 0
        elif core.step == Step.NEW_HEIGHT and self._quiet_intervals < IDLE_INTERVALS:
            self._quiet_intervals += 1
            return None
        self._quiet_intervals = 0
        self.count += 1
        announcement = self.create()
        core.past.on_announced()
        return announcement

    def is_answered(self, peer: bytes, announcement: Announcement) -> bool:
        """Whether there was nothing to say to the very same, and nothing has changed here either.

        While a round waits, peers say the same again and again.
        """
        return self._heard.get(peer) == (self._version, announcement)

    def note_answered(self, peer: bytes, announcement: Announcement) -> None:
        """There is nothing to say to this announcement."""
        self._heard[peer] = (self._version, announcement)

    def forget(self, peer: bytes) -> None:
        self._heard.pop(peer, None)
