"""What the machine wants done, in order: the order is law.

What must be durable stands before the message it guards: `Append`s and their `Flush` before a `Broadcast` of a vote,
`Commit` before anything of the next height and before any answer to a client.
"""

from __future__ import annotations

import msgspec

from tana.consensus.effects import (
    Append,
    Broadcast,
    Flush,
    Halt,
    LogRecord,
    Report,
    Seen,
    SetTimer,
    Signed,
)
from tana.ledger.ledger import Execution
from tana.ledger.mempool import Admission
from tana.types.block import Block, Certificate
from tana.types.messages import PeerMessage

__all__ = [
    "Admitted",
    "Append",
    "Broadcast",
    "Commit",
    "Dropped",
    "Effect",
    "Flush",
    "Halt",
    "LogRecord",
    "Report",
    "Seen",
    "Send",
    "ServeBlocks",
    "SetTimer",
    "Signed",
]


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send a message to one connected peer; lost without harm where the link is gone."""

    peer: bytes
    message: PeerMessage


class Commit(msgspec.Struct, frozen=True):
    """Persist a final block, its certificate and its state changes in one durable transaction."""

    block: Block
    certificate: Certificate
    execution: Execution


class Admitted(msgspec.Struct, frozen=True):
    """The mempool's answers to a `Submitted`, in the same order."""

    request_id: int
    admissions: tuple[Admission, ...]


class Dropped(msgspec.Struct, frozen=True):
    """Pending transactions that can no longer be executed: id and why (a stable code)."""

    transactions: tuple[tuple[str, str], ...]


class ServeBlocks(msgspec.Struct, frozen=True):
    """Answer a peer's request with `Blocks` from the store: as many of [first, last] as fit a frame."""

    peer: bytes
    first_height: int
    last_height: int


Effect = Append | Flush | Send | Broadcast | SetTimer | Commit | Admitted | Dropped | ServeBlocks | Report | Halt
