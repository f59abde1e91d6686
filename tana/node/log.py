"""The consensus log, which is also the sign-state: what this node signed and what it accepted, in order.

On disk, a folder of segments. A segment is a chain of frames: a prefix (payload length, sequence number, checksum of
the payload, checksum of the prefix) and a msgpack payload. The first frame of a segment is its header, with the key
that owns the log and the *sign floor*: the highest (height, round, kind) that was ever signed (kind 0 proposal,
1 prevote, 2 precommit). Every later frame holds the records of one flush. The file `segments` names the segments
that make up the log, oldest first.

Rules:
1. Nothing is overwritten. A flush appends one frame and makes it durable with one fdatasync.
2. Sequence numbers run on across segments: a frame or segment that is missing in the middle is noticed.
3. `segments` is replaced after a new segment is durable and before an old one is removed. So a file that it names and
   that is not there was lost; a file that it does not name is left over from a crash, and is removed.
4. A frame cut short at the very end is a torn write, which nothing can have followed: it is cut off and reported.
   Any other damage is an error. The file system may also leave the end of a torn write as zeros: the same.
5. A log whose folder is missing is never made anew by `open`: without it, nobody knows what was signed.

Doubt: a flushed last frame that someone truncates looks like a torn write. No file format can tell the two apart.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tana.durable import sync_folder, write_atomically
from tana.node.effects import LogRecord, Signed
from tana.types.block import PublicKey
from tana.types.errors import StorageError
from tana.types.messages import Vote

SignFloor = tuple[int, int, int]

NOTHING_SIGNED: SignFloor = (0, 0, 0)
SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment that has grown to this size is closed at the next commit."""

_PREFIX = struct.Struct(">IQI")
_CHECKSUM = struct.Struct(">I")
_PREFIX_BYTES = _PREFIX.size + _CHECKSUM.size
_SECTOR_BYTES = 512
_LIST_NAME = "segments"
_RESTORE = "restore the folder from where it was; if it is lost, this node must go on with a new key"


class _SegmentHeader(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    version: int
    public_key: PublicKey
    sign_floor: SignFloor


class _SegmentList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    segments: tuple[str, ...]


@dataclass
class _Segment:
    """A segment and the highest height that its records belong to (0: none)."""

    path: Path
    max_height: int = 0


_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(_SegmentHeader)
_records_decoder = msgspec.msgpack.Decoder(list[LogRecord])
_list_decoder = msgspec.json.Decoder(_SegmentList)


class SignLog:
    """An open log. `append` then `flush`; `prune` after a commit; `close` at the end.

    Made by `create` (once, with the key) and `open`; `torn_bytes` says how much of a torn write `open` cut off.
    """

    def __init__(
        self,
        folder: Path,
        public_key: bytes,
        segments: list[_Segment],
        next_sequence: int,
        sign_floor: SignFloor,
        *,
        torn_bytes: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.sign_floor = sign_floor
        self.torn_bytes = torn_bytes
        self._public_key = public_key
        self._segments = segments
        self._next_sequence = next_sequence
        self._segment_bytes = segment_bytes
        self._pending: list[LogRecord] = []
        self._file = os.open(segments[-1].path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size_bytes = segments[-1].path.stat().st_size
        self._is_broken = False

    @classmethod
    def create(cls, folder: Path, public_key: bytes) -> None:
        """Make the empty log of a key that has signed nothing. Raises `StorageError` where the folder is there."""
        try:
            folder.mkdir(parents=True)
            path = _create_segment(folder, 0, public_key, NOTHING_SIGNED)
        except OSError as error:
            raise StorageError(f"the sign-state {folder} cannot be made: {error.strerror}") from None
        _write_list(folder, [path.name])
        sync_folder(folder.parent)

    @classmethod
    def open(
        cls, folder: Path, public_key: bytes, *, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[SignLog, list[LogRecord], SignFloor]:
        """The log of a key, its records oldest first, and the highest (height, round, kind) ever signed.

        Raises `StorageError` (code `sign_state_missing` where there is none) for damage, loss or another key.
        """
        names = _read_list(folder)
        _remove_leftovers(folder, names)
        records: list[LogRecord] = []
        segments: list[_Segment] = []
        sequence, floor, torn_bytes = -1, NOTHING_SIGNED, 0
        for index, name in enumerate(names):
            reader = _SegmentReader(folder / name, public_key, sequence, is_last=index == len(names) - 1)
            segment = _Segment(reader.path)
            floor = max(floor, reader.header.sign_floor)
            for record in reader.read_records():
                segment.max_height = max(segment.max_height, record.message.height)
                floor = max(floor, _get_signed_position(record))
                records.append(record)
            segments.append(segment)
            sequence, torn_bytes = reader.sequence, reader.torn_bytes
        if torn_bytes:
            _cut_tail(segments[-1].path, torn_bytes)
        log = cls(folder, public_key, segments, sequence + 1, floor, torn_bytes=torn_bytes, segment_bytes=segment_bytes)
        return log, records, floor

    def append(self, record: LogRecord) -> None:
        """Add a record. It is durable only after `flush`."""
        self._pending.append(record)

    def flush(self) -> None:
        """Make every appended record durable. Raises `StorageError`; after that the log takes nothing more."""
        if self._is_broken:
            raise StorageError(f"the sign-state {self.folder} failed earlier", remedy="start the validator again")
        if not self._pending:
            return
        frame = _encode_frame(self._next_sequence, _encoder.encode(self._pending))
        try:
            _write_all(self._file, frame)
            os.fdatasync(self._file)
        except OSError as error:
            # What reached the disk is unknown now: only reading it again, at the next start, can tell.
            self._is_broken = True
            raise StorageError(
                f"the sign-state {self._segments[-1].path} cannot be written: {error.strerror}",
                remedy="free space on its disk, then start the validator again",
            ) from None
        self._next_sequence += 1
        self._size_bytes += len(frame)
        for record in self._pending:
            self._segments[-1].max_height = max(self._segments[-1].max_height, record.message.height)
            self.sign_floor = max(self.sign_floor, _get_signed_position(record))
        self._pending.clear()

    def prune(self, below_height: int) -> None:
        """Forget records below a height, by whole segments. Never forgets the sign floor.

        What is not durable yet stays pending: what was signed was flushed by whoever sent it, the rest can wait.
        """
        self._pending = [record for record in self._pending if record.message.height >= below_height]
        if self._size_bytes >= self._segment_bytes:
            self.flush()
            self._rotate()
        old = [segment for segment in self._segments[:-1] if segment.max_height < below_height]
        if not old:
            return
        self._segments = [segment for segment in self._segments if segment not in old]
        _write_list(self.folder, [segment.path.name for segment in self._segments])
        for segment in old:
            segment.path.unlink()

    def close(self) -> None:
        """Flush, and close the files."""
        if self._file < 0:
            return
        try:
            if not self._is_broken:
                self.flush()
        finally:
            os.close(self._file)
            self._file = -1

    def _rotate(self) -> None:
        try:
            path = _create_segment(self.folder, self._next_sequence, self._public_key, self.sign_floor)
            _write_list(self.folder, [*(segment.path.name for segment in self._segments), path.name])
            os.close(self._file)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            self._is_broken = True
            raise StorageError(
                f"a new segment of the sign-state {self.folder} cannot be made: {error.strerror}",
                remedy="free space on its disk, then start the validator again",
            ) from None
        self._segments.append(_Segment(path))
        self._next_sequence += 1
        self._size_bytes = path.stat().st_size


class _SegmentReader:
    """Reads one segment. `sequence` is that of the last frame read, −1 where nothing came before."""

    def __init__(self, path: Path, public_key: bytes, sequence: int, *, is_last: bool) -> None:
        self.path = path
        self.sequence = sequence
        self.torn_bytes = 0
        self._is_last = is_last
        self._is_first = sequence < 0
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise StorageError(
                f"the sign-state segment {path} cannot be read: {error.strerror}", remedy=_RESTORE
            ) from None
        self._offset = 0
        payload = self._read_frame()
        if payload is None:
            # A segment is named in the list only once its header is durable.
            raise self._damaged("its header is cut short")
        self.header = self._decode_header(payload)
        if self.header.public_key != public_key:
            raise StorageError(
                f"the sign-state {path.parent} belongs to another key, ed25519_{self.header.public_key.hex()}",
                remedy="give each node its own data folder, or put this node's key file back",
            )

    def read_records(self) -> Iterator[LogRecord]:
        while (payload := self._read_frame()) is not None:
            try:
                yield from _records_decoder.decode(payload)
            except msgspec.DecodeError as error:
                raise self._damaged(f"a record cannot be decoded: {error}") from None

    def _decode_header(self, payload: bytes) -> _SegmentHeader:
        try:
            return _header_decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise self._damaged(f"its header cannot be decoded: {error}") from None

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

    def _damaged(self, fault: str) -> StorageError:
        return StorageError(
            f"the sign-state segment {self.path} is damaged at byte {self._offset}: {fault}", remedy=_RESTORE
        )


def _get_signed_position(record: LogRecord) -> SignFloor:
    if not isinstance(record, Signed):
        return NOTHING_SIGNED
    message = record.message
    return (message.height, message.round, message.kind if isinstance(message, Vote) else 0)


def _encode_frame(sequence: int, payload: bytes) -> bytes:
    prefix = _PREFIX.pack(len(payload), sequence, zlib.crc32(payload))
    return prefix + _CHECKSUM.pack(zlib.crc32(prefix)) + payload


def _create_segment(folder: Path, sequence: int, public_key: bytes, sign_floor: SignFloor) -> Path:
    path = folder / f"{sequence:016x}.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, _encode_frame(sequence, _encoder.encode(_SegmentHeader(1, public_key, sign_floor))))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(folder)
    return path


def _write_list(folder: Path, names: list[str]) -> None:
    write_atomically(folder / _LIST_NAME, msgspec.json.encode(_SegmentList(1, tuple(names))))


def _read_list(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir() or not any(folder.iterdir()):
        raise StorageError(f"the sign-state {folder} is missing", remedy=_RESTORE, code="sign_state_missing")
    try:
        names = _list_decoder.decode((folder / _LIST_NAME).read_bytes()).segments
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(
            f"the sign-state's list {folder / _LIST_NAME} is damaged: {error}", remedy=_RESTORE
        ) from None
    if not names or any(Path(name).name != name for name in names):
        raise StorageError(f"the sign-state's list {folder / _LIST_NAME} names no segment", remedy=_RESTORE)
    return names


def _remove_leftovers(folder: Path, names: tuple[str, ...]) -> None:
    for path in folder.iterdir():
        if path.name not in names and path.name != _LIST_NAME:
            path.unlink()


def _cut_tail(path: Path, torn_bytes: int) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, path.stat().st_size - torn_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
