"""What the machine is told: each input names a fact, and `Machine.step` answers with effects."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Started:
    """The node runs and its listeners answer. Comes first, once."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A link to an admitted peer is up; `peer` is its 32-byte node key, proven by the handshake."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The link to a peer is gone."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A decoded frame from a connected peer. Its signatures are not yet checked."""

    peer: bytes
    message: PeerMessage


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that an effect had set has run out (it may be stale by now: the machine knows)."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Submitted:
    """Transactions from a client. Answered by one `Admitted` with the same `request_id`."""

    request_id: int
    transactions: tuple[SignedTransaction, ...]


Input = Started | PeerConnected | PeerDisconnected | Received | TimerFired | Submitted
