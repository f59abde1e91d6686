"""What the machine wants done, in order: the order is law.

What must be durable stands before the message it guards: `Append`s and their `Flush` before a `Broadcast` of a vote,
`Commit` before anything of the next height and before any answer to a client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from tana.ledger.ledger import Execution
from tana.ledger.mempool import Admission
from tana.node.inputs import Timer
from tana.types.block import Block, Certificate
from tana.types.messages import BlockPart, PeerMessage, Proposal, Vote


class Signed(msgspec.Struct, frozen=True, array_like=True, tag="signed", forbid_unknown_fields=True):
    """Log record: this node signed `message`. What is in the log may be sent again, byte for byte, ever."""

    message: Vote | Proposal


class Seen(msgspec.Struct, frozen=True, array_like=True, tag="seen", forbid_unknown_fields=True):
    """Log record: this node accepted `message` (verified) at the current height, or built that block."""

    message: Vote | Proposal | BlockPart


LogRecord = Signed | Seen


@dataclass(frozen=True, slots=True)
class Append:
    """Add a record to the log. Not durable until `Flush`."""

    record: LogRecord


@dataclass(frozen=True, slots=True)
class Flush:
    """Make every appended record durable before any later effect is performed."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to one connected peer; lost without harm where the link is gone."""

    peer: bytes
    message: PeerMessage


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send a message to every connected peer (encode it once)."""

    message: PeerMessage


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Give `TimerFired(timer)` back after `delay_ms`; replaces a pending timer of the same kind."""

    timer: Timer
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Persist a final block, its certificate and its state changes in one durable transaction."""

    block: Block
    certificate: Certificate
    execution: Execution


@dataclass(frozen=True, slots=True)
class Admitted:
    """The mempool's answers to a `Submitted`, in the same order."""

    request_id: int
    admissions: tuple[Admission, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Pending transactions that can no longer be executed: id and why (a stable code)."""

    transactions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServeBlocks:
    """Answer a peer's request with `Blocks` from the store: as many of [first, last] as fit a frame."""

    peer: bytes
    first_height: int
    last_height: int


@dataclass(frozen=True, slots=True)
class Report:
    """Something an operator or a checker may want to know: goes to the log, never back into the protocol."""

    name: str
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Halt:
    """The node must not go on (a certified block with another state root than ours): state `stopped`."""

    reason: str


Effect = Append | Flush | Send | Broadcast | SetTimer | Commit | Admitted | Dropped | ServeBlocks | Report | Halt
