"""What the machine is told: each input names a fact, and `Machine.step` answers with effects."""

from __future__ import annotations

import msgspec

from tana.consensus.effects import Timer
from tana.types.messages import PeerMessage
from tana.types.transaction import SignedTransaction

__all__ = [
    "Input",
    "PeerConnected",
    "PeerDisconnected",
    "Received",
    "Started",
    "Submitted",
    "Timer",
    "TimerFired",
]


class Started(msgspec.Struct, frozen=True):
    """The node runs and its listeners answer. Comes first, once."""


class PeerConnected(msgspec.Struct, frozen=True, gc=False):
    """A link to an admitted peer is up; `peer` is its 32-byte node key, proven by the handshake."""

    peer: bytes


class PeerDisconnected(msgspec.Struct, frozen=True, gc=False):
    """The link to a peer is gone."""

    peer: bytes


class Received(msgspec.Struct, frozen=True, gc=False):
    """A decoded frame from a connected peer. Its signatures are not yet checked."""

    peer: bytes
    message: PeerMessage


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """A timer that an effect had set has run out (it may be stale by now: the machine knows)."""

    timer: Timer


class Submitted(msgspec.Struct, frozen=True):
    """Transactions from a client. Answered by one `Admitted` with the same `request_id`."""

    request_id: int
    transactions: tuple[SignedTransaction, ...]


Input = Started | PeerConnected | PeerDisconnected | Received | TimerFired | Submitted
