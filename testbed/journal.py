"""Journals: what a node was told and what it wanted, step by step, so that every step can be taken again.

Every node of the testbed keeps one, in a folder beside its data: a file for each incarnation, of frames

    length (4 bytes) · CRC-32 of the payload (4 bytes) · payload (msgpack)

The first frame says how the machine began, each further one is a step (its input, its time, what it signed, and a
digest of each effect) or, once in a second, what the node holds in memory. Frames are given to the kernel without
`fsync`: they survive the death of the process, also by kill -9, and need no more, for the harness does not cut the
power. A tail that is torn nevertheless is cut off.

A step is written before any of its effects is performed that outlives the process or that anybody could see; so of the
last step before a death some effects may never have happened. Steps that have no such effect wait for one that has, and
are encoded and written with it, which costs less. Kill -9 takes those that wait, and everything that came of
them: it was in memory. At `MAX_BYTES` a journal ends with a frame that says so.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tana.crypto import keys
from tana.node.effects import (
    Admitted,
    Append,
    Broadcast,
    Commit,
    Dropped,
    Effect,
    Flush,
    Halt,
    LogRecord,
    Report,
    Send,
    ServeBlocks,
    SetTimer,
    Signed,
)
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, Timer, TimerFired
from tana.node.machine import MachineGauges
from tana.types.block import RawTransaction
from tana.types.messages import PeerMessage, Proposal, Vote
from tana.types.transaction import parse_signed_text

MAX_BYTES = 1024 * 1024 * 1024
"""Of one incarnation: hours of a busy chain."""
GAUGES_INTERVAL_MS = 1_000
MAX_WAITING = 64
"""Steps that wait to be written; each may hold a message of the largest size."""
FOLDER = "journal"
"""In a node's folder, beside its data: what wipes the data leaves it."""
SUFFIX = ".journal"

_FRAME = struct.Struct(">II")
_DIGEST = struct.Struct(">BI")
DIGEST_BYTES = _DIGEST.size
"""Of one effect: its kind and the CRC-32 of what it says."""

_UNSEEN = (Append, SetTimer)
"""Effects that end with the process: a record is only in memory until its `Flush`."""

Sink = Callable[[bytes], object]
"""Takes whole frames, one or several at a time."""


@dataclass(frozen=True)
class JournalClock:
    """Two clocks in µs: one that all nodes of a run share and that never steps, and the wall clock."""

    read_us: Callable[[], int] = lambda: time.monotonic_ns() // 1000
    read_wall_us: Callable[[], int] = lambda: time.time_ns() // 1000


class BeginFrame(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    """What a machine was made from. `genesis` is its canonical text; `config` the machine's timing by field."""

    at_us: int
    wall_us: int
    key: bytes
    genesis: str
    config: dict[str, int | None]
    height: int
    block_hash: bytes
    state_root: bytes
    records: list[LogRecord]
    sign_floor: tuple[int, int, int]
    abstain_reason: str
    is_real: bool
    """Whether signatures are real ones, and not a simulation's stand-in."""


class ReceivedInput(msgspec.Struct, frozen=True, array_like=True, tag="received"):
    peer: bytes
    message: PeerMessage


class SubmittedInput(msgspec.Struct, frozen=True, array_like=True, tag="submitted"):
    request_id: int
    transactions: list[RawTransaction]


class TimerInput(msgspec.Struct, frozen=True, array_like=True, tag="timer"):
    kind: str
    height: int
    round: int


class ConnectedInput(msgspec.Struct, frozen=True, array_like=True, tag="connected"):
    peer: bytes


class DisconnectedInput(msgspec.Struct, frozen=True, array_like=True, tag="disconnected"):
    peer: bytes


class StartedInput(msgspec.Struct, frozen=True, array_like=True, tag="started"):
    pass


class StepFrame(msgspec.Struct, frozen=True, array_like=True, tag="step"):
    """One step: `digests` has `DIGEST_BYTES` for each effect, in order; `signed` is what the node signed in it."""

    at_us: int
    now_ms: int
    input: ReceivedInput | SubmittedInput | TimerInput | ConnectedInput | DisconnectedInput | StartedInput
    digests: bytes
    signed: list[Vote | Proposal]


class GaugesFrame(msgspec.Struct, frozen=True, array_like=True, tag="gauges"):
    at_us: int
    gauges: MachineGauges


class FullFrame(msgspec.Struct, frozen=True, array_like=True, tag="full"):
    """The journal has reached its bound: nothing follows."""

    at_us: int


Frame = BeginFrame | StepFrame | GaugesFrame | FullFrame

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class JournalHooks(Hooks):
    """Hooks that write a node's journal, and then do what `inner` does: lies come after what is recorded."""

    def __init__(
        self,
        sink: Sink,
        inner: Hooks,
        clock: JournalClock | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._sink = sink
        self._inner = inner
        self._clock = clock or JournalClock()
        self._room_bytes = max_bytes
        self._beginning: Beginning | None = None
        self._waiting: list[tuple[int, int, Input, list[Effect]]] = []
        self._gauges_ms = 0
        self.now_ms = inner.now_ms  # type: ignore[method-assign]
        self.may_send_heartbeat = inner.may_send_heartbeat  # type: ignore[method-assign]
        self.get_route = inner.get_route  # type: ignore[method-assign]
        self.wrap_ledger = inner.wrap_ledger  # type: ignore[method-assign]

    def on_begin(self, beginning: Beginning) -> None:
        self.flush()
        self._beginning = beginning
        self._write([make_begin(beginning, self._clock)])
        self._inner.on_begin(beginning)

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        at_us = self._clock.read_us()
        # A list of its own: lies may change the other.
        self._waiting.append((at_us, now_ms, input, [*effects]))
        if not 0 <= now_ms - self._gauges_ms < GAUGES_INTERVAL_MS:
            self._gauges_ms = now_ms
            assert self._beginning is not None, "a machine begins before it takes a step"
            self.flush()
            self._write([GaugesFrame(at_us, self._beginning.machine.gauges())])
        elif len(self._waiting) >= MAX_WAITING or not all(isinstance(effect, _UNSEEN) for effect in effects):
            self.flush()
        return self._inner.on_step(input, now_ms, effects)

    def flush(self) -> None:
        """Write the steps that wait: whoever ends a node in good order calls it last."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._write([make_step(*step) for step in waiting])

    def _write(self, frames: Sequence[Frame]) -> None:
        whole: list[bytes] = []
        for frame in frames:
            if self._room_bytes <= 0:
                break
            data = pack_frame(frame)
            self._room_bytes -= len(data)
            whole.append(data if self._room_bytes > 0 else pack_frame(FullFrame(self._clock.read_us())))
        if whole:
            self._sink(b"".join(whole))


def open_journal(folder: Path) -> Sink:
    """A sink that writes the next file of a node's journal folder, whatever it is given at once."""
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob(f"*{SUFFIX}"))) + 1
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(folder / f"{number:06}{SUFFIX}", flags, 0o600)

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write


def collect_journals(nodes_folder: Path, node_ids: Sequence[str], folder: Path) -> None:
    """Put each node's journal files together as `<node>.journal`, without torn tails. A node without any has none."""
    folder.mkdir(exist_ok=True)
    for node in node_ids:
        parts = sorted((nodes_folder / node / FOLDER).glob(f"*{SUFFIX}"))
        if parts:
            with (folder / f"{node}{SUFFIX}").open("wb") as whole:
                for part in parts:
                    data = part.read_bytes()
                    whole.write(data[: find_end(data)])


class MemoryJournals:
    """The journals of nodes that live in this process, on the clock of the simulation."""

    def __init__(self, read_now_ms: Callable[[], int]) -> None:
        self._read_now_ms = read_now_ms
        self._last_us = 0
        self._parts: dict[str, list[bytes]] = {}
        self._hooks: dict[str, JournalHooks] = {}

    def wrap(self, node: str, hooks: Hooks) -> Hooks:
        """Hooks that keep the node's journal and do what `hooks` do."""
        clock = JournalClock(self._count_us, lambda: self._last_us)
        if node in self._hooks:
            self._hooks[node].flush()
        self._hooks[node] = JournalHooks(self._parts.setdefault(node, []).append, hooks, clock)
        return self._hooks[node]

    def write(self, folder: Path) -> None:
        """Leave `<node>.journal` of every node in the folder."""
        folder.mkdir(exist_ok=True)
        for hooks in self._hooks.values():
            hooks.flush()
        for node, parts in self._parts.items():
            (folder / f"{node}{SUFFIX}").write_bytes(b"".join(parts))

    def _count_us(self) -> int:
        """The time of the simulation; within one of its ms each look is later than the one before."""
        self._last_us = max(self._last_us + 1, self._read_now_ms() * 1000)
        return self._last_us


def pack_frame(frame: Frame) -> bytes:
    payload = _encoder.encode(frame)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def find_end(data: bytes) -> int:
    """Where the last whole frame ends."""
    return max((end for _, end in _split(data)), default=0)


def read_frames(data: bytes) -> Iterator[Frame]:
    """The frames of a journal, up to the first that is not whole."""
    for payload, _ in _split(data):
        yield _decoder.decode(payload)


def _split(data: bytes) -> Iterator[tuple[memoryview, int]]:
    """The payload of each whole frame, and where it ends."""
    view, position = memoryview(data), 0
    while position + _FRAME.size <= len(data):
        size, checksum = _FRAME.unpack_from(data, position)
        begin = position + _FRAME.size
        position = begin + size
        payload = view[begin:position]
        if len(payload) < size or zlib.crc32(payload) != checksum:
            return
        yield payload, position


# ---------------------------------------------------------------------- beginnings and inputs


def make_begin(beginning: Beginning, clock: JournalClock) -> BeginFrame:
    machine = beginning.machine
    return BeginFrame(
        at_us=clock.read_us(),
        wall_us=clock.read_wall_us(),
        key=machine.own_key,
        genesis=beginning.genesis.to_text(),
        config=msgspec.to_builtins(machine.config),
        height=machine.ledger.height,
        block_hash=machine.ledger.block_hash,
        state_root=machine.ledger.state_root,
        records=list(beginning.records),
        sign_floor=beginning.sign_floor,
        abstain_reason=beginning.abstain_reason,
        is_real=beginning.verifier is keys.verify,
    )


def make_step(at_us: int, now_ms: int, input: Input, effects: Sequence[Effect]) -> StepFrame:
    return StepFrame(at_us, now_ms, write_input(input), digest_effects(effects), list_signed(effects))


def write_input(input: Input) -> Any:
    """An input as it stands in a frame."""
    match input:
        case Received(peer, message):
            return ReceivedInput(peer, message)
        case TimerFired(timer):
            return TimerInput(timer.kind, timer.height, timer.round)
        case Submitted(request_id, transactions):
            return SubmittedInput(request_id, [RawTransaction(item.text, item.signature) for item in transactions])
        case PeerConnected(peer):
            return ConnectedInput(peer)
        case PeerDisconnected(peer):
            return DisconnectedInput(peer)
        case Started():
            return StartedInput()


def read_input(written: Any) -> Input:
    """The input of a frame."""
    match written:
        case ReceivedInput():
            return Received(written.peer, written.message)
        case TimerInput():
            return TimerFired(Timer(written.kind, written.height, written.round))
        case SubmittedInput():
            transactions = tuple(parse_signed_text(raw.text, raw.signature) for raw in written.transactions)
            return Submitted(written.request_id, transactions)
        case ConnectedInput():
            return PeerConnected(written.peer)
        case DisconnectedInput():
            return PeerDisconnected(written.peer)
        case _:
            return Started()


# ---------------------------------------------------------------------- effects


def list_signed(effects: Sequence[Effect]) -> list[Vote | Proposal]:
    """What a node signed in a step."""
    return [
        effect.record.message for effect in effects if isinstance(effect, Append) and isinstance(effect.record, Signed)
    ]


def digest_effects(effects: Sequence[Effect]) -> bytes:
    """`DIGEST_BYTES` for each effect, in order."""
    return b"".join([_DIGEST.pack(*_digest(effect)) for effect in effects])


KINDS = (
    "append",
    "flush",
    "broadcast",
    "send",
    "set timer",
    "commit",
    "admitted",
    "dropped",
    "serve blocks",
    "report",
    "halt",
)
"""What the first byte of a digest stands for."""


def read_kind(digests: bytes, index: int) -> str:
    """The kind of an effect in a step's digests; empty where there is none."""
    return KINDS[digests[index * DIGEST_BYTES]] if index * DIGEST_BYTES < len(digests) else ""


def _digest(effect: Effect) -> tuple[int, int]:
    match effect:
        case Append(record):
            return 0, zlib.crc32(_encoder.encode(record))
        case Flush():
            return 1, 0
        case Broadcast(message):
            return 2, zlib.crc32(_encoder.encode(message))
        case Send(peer, message):
            return 3, zlib.crc32(_encoder.encode(message), zlib.crc32(peer))
        case SetTimer(timer, delay_ms):
            return 4, _checksum((timer.kind, timer.height, timer.round, delay_ms))
        case Commit(block, certificate, execution):
            return 5, _checksum((block.hash, certificate, execution.state_root, execution.changes))
        case Admitted(request_id, admissions):
            return 6, _checksum((request_id, [(item.status, item.id, item.code) for item in admissions]))
        case Dropped(transactions):
            return 7, _checksum(transactions)
        case ServeBlocks(peer, first_height, last_height):
            return 8, _checksum((peer, first_height, last_height))
        case Report(name, fields):
            return 9, zlib.crc32(repr((name, sorted(fields.items()))).encode("utf-8", "backslashreplace"))
        case Halt(reason):
            return 10, zlib.crc32(reason.encode("utf-8", "backslashreplace"))


def _checksum(value: object) -> int:
    return zlib.crc32(_encoder.encode(value))
