"""What the consensus core wants done, in order.

Durable before visible: an `Append` and its `Flush` stand before the `Broadcast` they guard, and a `Decide` before
anything of the next height.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import msgspec

from tana.types.block import Block, Certificate
from tana.types.evidence import Evidence
from tana.types.messages import BlockPart, PeerMessage, Proposal, Vote


class Timer(msgspec.Struct, frozen=True, gc=False):
    """A timer. There is one of each kind: setting a kind again replaces the earlier timer."""

    kind: str
    height: int = 0
    round: int = 0


class Signed(msgspec.Struct, frozen=True, array_like=True, tag="signed", forbid_unknown_fields=True, gc=False):
    """Log record: this node signed `message`. What is in the log may be sent again, byte for byte, ever."""

    message: Vote | Proposal


class Seen(msgspec.Struct, frozen=True, array_like=True, tag="seen", forbid_unknown_fields=True, gc=False):
    """Log record: this node accepted `message` (verified) at the height it decides, or built that block."""

    message: Vote | Proposal | BlockPart


LogRecord = Signed | Seen


class Append(msgspec.Struct, frozen=True, gc=False):
    """Add a record to the log. Not durable until `Flush`."""

    record: LogRecord


class Flush(msgspec.Struct, frozen=True, gc=False):
    """Make every appended record durable before any later effect is performed."""


class Broadcast(msgspec.Struct, frozen=True, gc=False):
    """Send a message to every connected peer (encode it once)."""

    message: PeerMessage


class SetTimer(msgspec.Struct, frozen=True, gc=False):
    """Give the timer back when it fires after `delay_ms`; replaces a pending timer of the same kind."""

    timer: Timer
    delay_ms: int


@final
class Decide(msgspec.Struct, frozen=True):
    """The height is decided: the block is final and the certificate proves it."""

    block: Block
    certificate: Certificate


@final
class Accuse(msgspec.Struct, frozen=True):
    """A validator signed two conflicting messages, and here they are, both verified."""

    evidence: Evidence


class Report(msgspec.Struct, frozen=True):
    """Something an operator or a checker may want to know: goes to the log, never back into the protocol."""

    name: str
    fields: Mapping[str, object] = msgspec.field(default_factory=dict)


class Halt(msgspec.Struct, frozen=True):
    """The node must not go on: what was certified cannot be reconciled with what this node computed."""

    reason: str


ConsensusEffect = Append | Flush | Broadcast | SetTimer | Decide | Accuse | Report | Halt
