"""One direction of one connection: what waits in it, and when each piece comes out at the other end.

Rules:
1. A lane does no input or output and reads no clock: `now` is handed in, in seconds of any clock that never steps.
2. Pieces keep their order, however late they are, as TCP keeps it: what is late keeps waiting what follows. Only a
   message that is overtaken (`reorder`) lets later ones pass.
3. Loss, doubling and overtaking are of whole messages. The first `HANDSHAKE_MESSAGES` of a direction, and what keeps
   the connection (upgrade, pings, its end), are spared: a connection that could not be made would show nothing.
4. What is sent over a way that is cut waits, and comes out when it is healed, as what TCP sends again and again does.
   The end of a connection waits as well: the other end does not learn of it.
"""

from __future__ import annotations

import enum
import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

from testbed.backends.base import MAX_RATE
from testbed.proxy.pieces import Piece

HANDSHAKE_MESSAGES = 2
"""What each side says before a link is one: see `tana.node.handshake`."""


class End(enum.Enum):
    """How a direction ended."""

    EOF = "eof"
    CLOSED = "closed"
    RESET = "reset"


@dataclass
class Conditions:
    """How pieces fare on all ways. Rates are shares from 0 to 1; more than `MAX_RATE` counts as that."""

    delay_ms_min: int = 0
    delay_ms_max: int = 0
    bytes_per_second: int = 0
    """What each way carries at most; 0 is as much as comes."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay_ms: int = 30
    """How much later than it should a message comes that is overtaken by others, at most."""


@dataclass
class Way:
    """From one member to another, over whatever connections there are. Cuts add up."""

    cuts: int = 0
    is_silent: bool = False
    """Whether nothing has come through since it was last cut or reset."""
    free_at: float = 0.0
    """When it has carried all that it took at its rate."""


@dataclass
class Traffic:
    """What all lanes of a proxy have in common."""

    conditions: Conditions = field(default_factory=Conditions)
    counts: Counter[str] = field(default_factory=Counter)
    """Messages by what became of them: sent, lost, duplicated, reordered, delayed; and pieces that a cut held back."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))


class Lane:
    """See the rules above."""

    def __init__(self, way: Way, traffic: Traffic) -> None:
        self.way = way
        self.held_bytes = 0
        self._traffic = traffic
        self._waiting: list[tuple[float, int, Piece | End, float]] = []
        """Heap of when each comes out, its number, what it is, and when it was put in."""
        self._number = 0
        self._messages = 0
        self._last_due = 0.0
        """When the last piece in order comes out."""

    def put(self, piece: Piece, now: float) -> None:
        """A piece was sent."""
        conditions, counts, chance = self._traffic.conditions, self._traffic.counts, self._traffic.chance.random
        is_talk = False
        counts["cut"] += self.way.cuts > 0
        if piece.is_message:
            self._messages += 1
            counts["sent"] += 1
            is_talk = self._messages > HANDSHAKE_MESSAGES
        if is_talk and conditions.loss and chance() < min(conditions.loss, MAX_RATE):
            counts["lost"] += 1
            return
        due = self._compute_due(piece, now)
        if is_talk and conditions.duplicate and chance() < min(conditions.duplicate, MAX_RATE):
            counts["duplicated"] += 1
            self._push(due + chance() * conditions.reorder_delay_ms / 1000, piece, now)
        if is_talk and conditions.reorder and chance() < min(conditions.reorder, MAX_RATE):
            counts["reordered"] += 1
            due += chance() * conditions.reorder_delay_ms / 1000
        else:
            due = self._last_due = max(due, self._last_due)
        self._push(due, piece, now)

    def put_end(self, end: End, now: float) -> None:
        """The direction ended. That comes out after everything else."""
        due = max([now, self._last_due, *(entry[0] for entry in self._waiting)])
        self._last_due = due
        self._push(due, end, now)

    def take(self, now: float) -> list[bytes | End]:
        """What comes out now."""
        if self.way.cuts:
            return []
        taken: list[bytes | End] = []
        while self._waiting and self._waiting[0][0] <= now:
            due, _, item, put_at = heapq.heappop(self._waiting)
            if isinstance(item, End):
                taken.append(item)
                continue
            self.held_bytes -= len(item.data)
            self.way.is_silent = False
            self._traffic.counts["delayed"] += item.is_message and due > put_at
            taken.append(item.data)
        return taken

    def get_next_due(self) -> float | None:
        """When something comes out, unless the way is cut then; None where nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def hurry(self, now: float) -> None:
        """Let everything that waits come out as soon as it may, in its order: the way is fast again."""
        self._waiting = [(min(due, now), number, item, put_at) for due, number, item, put_at in self._waiting]
        heapq.heapify(self._waiting)
        self._last_due = min(self._last_due, now)

    def _compute_due(self, piece: Piece, now: float) -> float:
        conditions = self._traffic.conditions
        due = now
        if conditions.bytes_per_second:
            due = max(now, self.way.free_at) + len(piece.data) / conditions.bytes_per_second
            self.way.free_at = due
        if conditions.delay_ms_max:
            spread_ms = conditions.delay_ms_max - conditions.delay_ms_min
            due += (conditions.delay_ms_min + self._traffic.chance.random() * spread_ms) / 1000
        return due

    def _push(self, due: float, item: Piece | End, now: float) -> None:
        self._number += 1
        if isinstance(item, Piece):
            self.held_bytes += len(item.data)
        heapq.heappush(self._waiting, (due, self._number, item, now))
