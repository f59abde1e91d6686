"""A node's disk in memory: what was flushed survives a crash, what was not is gone.

The real log writes the records of one flush as one frame and cuts a torn frame off when it is opened. So a crash in
the middle of a flush leaves all of it or nothing; both are tried, by crashing before the flush and after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from tana.node.blocks import MemoryBlocks
from tana.node.effects import Commit, LogRecord, Signed
from tana.node.segment import Recovery
from tana.types.genesis import SignedGenesis
from tana.types.messages import Vote

NOTHING_SIGNED = (0, 0, 0)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[LogRecord] = msgspec.msgpack.Decoder(LogRecord)


@dataclass
class Disk:
    """What a node has made durable, and its log file (which the harness keeps)."""

    genesis: SignedGenesis | None = None
    blocks: MemoryBlocks = field(default_factory=MemoryBlocks)
    entries: dict[bytes, bytes] = field(default_factory=dict)
    records: list[LogRecord] = field(default_factory=list)
    sign_floor: tuple[int, int, int] = NOTHING_SIGNED
    abstain_reason: str = ""
    """Why the node must not sign: its sign-state is gone."""
    recoveries: tuple[Recovery, ...] = ()
    """That an operator went on without the sign-state, see `tana validator recover`."""
    log: list[dict[str, Any]] = field(default_factory=list)
    control: dict[str, str] = field(default_factory=dict)
    """What the harness wants of this node (see `testbed.hooks`)."""
    unflushed: list[LogRecord] = field(default_factory=list)

    def append(self, record: LogRecord) -> None:
        self.unflushed.append(record)

    def flush(self) -> None:
        """What was appended is durable from now on."""
        for record in self.unflushed:
            if type(record) is Signed:
                message = record.message
                slot = (message.height, message.round, message.kind if isinstance(message, Vote) else 0)
                self.sign_floor = max(self.sign_floor, slot)
        self.records += self.unflushed
        self.unflushed.clear()

    def commit(self, commit: Commit) -> None:
        """A final block, its certificate and its changes, at once; records of its height are needed no more.

        What was appended and not flushed stays so: the log is another file than the chain.
        """
        block, height = commit.block, commit.block.height
        self.blocks.append(block, commit.certificate, commit.execution)
        for key, value in commit.execution.changes:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value
        self.records = _list_later(self.records, height)
        self.unflushed = _list_later(self.unflushed, height)

    def lose_unflushed(self) -> int:
        """The machine lost its power. Returns how many records are gone."""
        lost, self.unflushed = len(self.unflushed), []
        return lost

    def reread(self) -> None:
        """Make every record anew from its bytes, as a node does that reads its log from a file."""
        self.records = [_decoder.decode(_encoder.encode(record)) for record in self.records]

    def wipe_sign_state(self, reason: str = "the sign-state is gone") -> None:
        """The log is lost, and with it the knowledge of what was signed: the node must not sign again by itself."""
        self.records = []
        self.sign_floor = NOTHING_SIGNED
        self.abstain_reason = reason

    def recover(self, sign_floor: tuple[int, int, int]) -> None:
        """What `tana validator recover` does where nothing is left: an empty log that begins at a floor."""
        self.records = []
        self.sign_floor = sign_floor
        self.abstain_reason = ""

    def wipe_data(self) -> None:
        """The blocks and the state are lost; genesis, key and sign-state are still there."""
        self.blocks = MemoryBlocks()
        self.entries = {}


def _list_later(records: list[LogRecord], height: int) -> list[LogRecord]:
    """The records of later heights. A node decides one height after another: the last record tells of most."""
    if not records or records[-1].message.height <= height:
        return []
    return [record for record in records if record.message.height > height]
