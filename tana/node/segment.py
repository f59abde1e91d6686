"""One file of the consensus log: how it is written, read, and what damage in it looks like.

A segment is a chain of frames: a prefix (payload length, sequence number, checksum of the payload, checksum of the
prefix) and a msgpack payload. The first frame is the header; every later one holds the records of one flush.

A frame cut short at the end of the last segment is a torn write, which nothing can have followed. The file system may
also leave the end of a torn write as zeros: the same. Any other damage is an error.

Doubt: a flushed last frame that someone truncates looks like a torn write. No file format can tell the two apart.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tana.durable import sync_folder, write_new_file
from tana.node.effects import LogRecord, Signed
from tana.types.errors import StorageError
from tana.types.fields import PublicKey
from tana.types.messages import Vote

SignFloor = tuple[int, int, int]

NOTHING_SIGNED: SignFloor = (0, 0, 0)
UNBOUND = b""
"""The chain id in the header of a log that has not met its chain yet."""
RESTORE = (
    "restore the folder from where it was; where it is lost, stop this validator and run "
    "`tana validator recover`, which says how to go on"
)

_VERSION = 2
_PREFIX = struct.Struct(">IQI")
_CHECKSUM = struct.Struct(">I")
_PREFIX_BYTES = _PREFIX.size + _CHECKSUM.size
_SECTOR_BYTES = 512


class Recovery(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An operator went on without the sign-state: nothing is signed up to this height and round.

    `lost` says what had happened to it, `silent` which validators could not be asked what they had seen.
    """

    height: int
    round: int
    at_ms: int
    lost: str
    silent: tuple[str, ...] = ()


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whose log it is, for which chain, and the highest (height, round, kind) signed before this segment."""

    version: int
    public_key: PublicKey
    sign_floor: SignFloor
    chain_id: bytes = UNBOUND
    recoveries: tuple[Recovery, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(SegmentHeader)
_records_decoder = msgspec.msgpack.Decoder(list[LogRecord])


class SegmentReader:
    """Reads one segment, header first. `sequence` is that of the last frame read, −1 where nothing came before.

    Only the last segment of a log may end in a torn write, whose length is then in `torn_bytes`. Raises `StorageError`
    naming the file.
    """

    def __init__(self, path: Path, sequence: int = -1, *, is_last: bool) -> None:
        self.path = path
        self.sequence = sequence
        self.torn_bytes = 0
        self._is_last = is_last
        self._is_first = sequence < 0
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"the sign-state segment {path} cannot be read: {error.strerror}", remedy=RESTORE
            ) from None
        self._offset = 0
        payload = self._read_frame()
        if payload is None:
            # A segment is named in the list only once its header is durable.
            raise self._damaged("its header is cut short", code="torn_header")
        self.header = self._decode_header(payload)

    def read_records(self) -> Iterator[LogRecord]:
        while (payload := self._read_frame()) is not None:
            try:
                yield from _records_decoder.decode(payload)
            except msgspec.DecodeError as error:
                raise self._damaged(f"a record cannot be decoded: {error}") from None

    def _decode_header(self, payload: bytes) -> SegmentHeader:
        try:
            header = _header_decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise self._damaged(f"its header cannot be decoded: {error}") from None
        if header.version > _VERSION:
            raise StorageError(
                f"the sign-state segment {self.path} has layout {header.version}, and this program knows {_VERSION}",
                remedy="run the version of Tana that wrote it",
            )
        return header

    def _read_frame(self) -> bytes | None:
        """The payload of the next frame; None at the end, where a torn write is noted in `torn_bytes`."""
        rest = len(self._data) - self._offset
        if rest == 0:
            return None
        prefix = self._data[self._offset : self._offset + _PREFIX_BYTES]
        if len(prefix) < _PREFIX_BYTES:
            self._end_torn("a frame is cut short")
            return None
        length, sequence, payload_checksum = _PREFIX.unpack_from(prefix)
        if zlib.crc32(prefix[: _PREFIX.size]) != _CHECKSUM.unpack_from(prefix, _PREFIX.size)[0]:
            self._end_zeroed("a frame's prefix does not match its checksum")
            return None
        if rest < _PREFIX_BYTES + length:
            self._end_torn("a frame is cut short")
            return None
        payload = self._data[self._offset + _PREFIX_BYTES : self._offset + _PREFIX_BYTES + length]
        if zlib.crc32(payload) != payload_checksum:
            self._end_zeroed("a frame's records do not match their checksum", _PREFIX_BYTES + length)
            return None
        if not self._is_first and sequence != self.sequence + 1:
            raise self._damaged(f"frame {sequence} follows frame {self.sequence}: something between them is missing")
        self._is_first = False
        self.sequence = sequence
        self._offset += _PREFIX_BYTES + length
        return payload

    def _end_torn(self, fault: str) -> None:
        if not self._is_last:
            raise self._damaged(fault)
        self.torn_bytes = len(self._data) - self._offset

    def _end_zeroed(self, fault: str, frame_bytes: int = 0) -> None:
        """A frame whose end was never written shows as zeros from some sector of the disk to the end of the file."""
        if frame_bytes and self._offset + frame_bytes < len(self._data):
            raise self._damaged(fault)
        written = len(self._data.rstrip(b"\0"))
        first_zero_sector = -(-max(written, self._offset) // _SECTOR_BYTES) * _SECTOR_BYTES
        is_zeroed = first_zero_sector < len(self._data) or written <= self._offset
        if not is_zeroed:
            raise self._damaged(fault)
        self._end_torn(fault)

    def _damaged(self, fault: str, code: str = "") -> StorageError:
        return StorageError(
            f"the sign-state segment {self.path} is damaged at byte {self._offset}: {fault}", remedy=RESTORE, code=code
        )


def get_signed_position(record: LogRecord) -> SignFloor:
    """The slot that a record shows as signed, `NOTHING_SIGNED` for what was only seen."""
    if not isinstance(record, Signed):
        return NOTHING_SIGNED
    message = record.message
    return (message.height, message.round, message.kind if isinstance(message, Vote) else 0)


def encode_records(sequence: int, records: list[LogRecord]) -> bytes:
    """The frame of one flush."""
    return _encode_frame(sequence, _encoder.encode(records))


def create_segment(
    folder: Path,
    sequence: int,
    public_key: bytes,
    sign_floor: SignFloor,
    *,
    chain_id: bytes = UNBOUND,
    recoveries: tuple[Recovery, ...] = (),
    records: tuple[LogRecord, ...] = (),
) -> Path:
    """Make a segment whose header has a sequence number, durably. `records` follow in a frame of their own.

    Raises `OSError`.
    """
    path = folder / f"{sequence:016x}.log"
    header = SegmentHeader(_VERSION, public_key, sign_floor, chain_id, recoveries)
    data = _encode_frame(sequence, _encoder.encode(header))
    if records:
        data += encode_records(sequence + 1, list(records))
    write_new_file(path, data)
    sync_folder(folder)
    return path


def cut_tail(path: Path, torn_bytes: int) -> None:
    """Take the end of a torn write away and make the rest durable: what was read must not be lost by a later crash.

    Raises `OSError`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if torn_bytes:
            os.ftruncate(descriptor, path.stat().st_size - torn_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode_frame(sequence: int, payload: bytes) -> bytes:
    prefix = _PREFIX.pack(len(payload), sequence, zlib.crc32(payload))
    return prefix + _CHECKSUM.pack(zlib.crc32(prefix)) + payload
