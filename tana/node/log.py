"""The consensus log, which is also the sign-state: what this node signed and what it accepted, in order.

On disk, a folder of segments (`tana/node/segment.py`). The header of each has the key that owns the log, its chain,
and the *sign floor*: the highest (height, round, kind) that was ever signed (kind 0 proposal, 1 prevote,
2 precommit). The file `segments` names the segments that make up the log, oldest first.

Rules:
1. Nothing is overwritten. A flush appends one frame and makes it durable with one fdatasync.
2. Sequence numbers run on across segments: a frame or segment that is missing in the middle is noticed.
3. `segments` is replaced after a new segment is durable and before an old one is removed, and a new segment takes
   records only once the list that names it is durable. So a file that it names and that is not there was lost; one
   that it does not name is left over from a crash and is removed, unless it is newer and holds records: then it is
   the list that was lost.
4. What `open` returns is durable: it is flushed again, for a process may have died between writing and flushing.
5. A frame that could not be made durable is cut off again: its messages never left.
6. A log belongs to one chain, which `bind` writes into it before anything is signed.
7. A log whose folder is missing is never made anew by `open`: without it, nobody knows what was signed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tana.durable import make_folder, sync_folder, write_all, write_atomically
from tana.node.effects import LogRecord
from tana.node.segment import (
    NOTHING_SIGNED,
    RESTORE,
    UNBOUND,
    Recovery,
    SegmentReader,
    SignFloor,
    create_segment,
    cut_tail,
    encode_records,
    get_signed_position,
)
from tana.types.errors import StorageError

SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment that has grown to this size is closed at the next commit."""

_LIST_NAME = "segments"
_OURS = re.compile(rf"[0-9a-f]{{16}}\.log|\.{_LIST_NAME}\.[0-9a-f]+")
_FREE_SPACE = "free space on its disk, then start the validator again"


class _SegmentList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    segments: tuple[str, ...]


@dataclass
class _Segment:
    """A segment and the highest height that its records belong to (0: none)."""

    path: Path
    max_height: int = 0


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
        chain_id: bytes = UNBOUND,
        recoveries: tuple[Recovery, ...] = (),
        torn_bytes: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.sign_floor = sign_floor
        self.chain_id = chain_id
        self.recoveries = recoveries
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
            make_folder(folder.parent)
            folder.mkdir()
            path = create_segment(folder, 0, public_key, NOTHING_SIGNED)
            _write_list(folder, [path.name])
            sync_folder(folder.parent)
        except OSError as error:
            raise StorageError(
                f"the sign-state {folder} cannot be made: {error.strerror}",
                remedy="free space or mend the permissions, or give another folder with --data",
            ) from None

    @classmethod
    def open(
        cls, folder: Path, public_key: bytes, *, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[SignLog, list[LogRecord], SignFloor]:
        """The log of a key, its records oldest first, and the highest (height, round, kind) ever signed.

        Raises `StorageError` (code `sign_state_missing` where there is none) for damage, loss or another key.
        """
        names = _read_list(folder)
        records: list[LogRecord] = []
        segments: list[_Segment] = []
        sequence, floor, torn_bytes = -1, NOTHING_SIGNED, 0
        chain_id, recoveries = UNBOUND, tuple[Recovery, ...]()
        for index, name in enumerate(names):
            reader = SegmentReader(folder / name, sequence, is_last=index == len(names) - 1)
            check_owner(reader, public_key)
            segment = _Segment(reader.path)
            floor = max(floor, reader.header.sign_floor)
            chain_id, recoveries = reader.header.chain_id, reader.header.recoveries
            for record in reader.read_records():
                segment.max_height = max(segment.max_height, record.message.height)
                floor = max(floor, get_signed_position(record))
                records.append(record)
            segments.append(segment)
            sequence, torn_bytes = reader.sequence, reader.torn_bytes
        try:
            _remove_leftovers(folder, names)
            cut_tail(segments[-1].path, torn_bytes)
            sync_folder(folder)
            log = cls(
                folder,
                public_key,
                segments,
                sequence + 1,
                floor,
                chain_id=chain_id,
                recoveries=recoveries,
                torn_bytes=torn_bytes,
                segment_bytes=segment_bytes,
            )
        except OSError as error:
            raise StorageError(
                f"the sign-state {folder} cannot be opened: {error.strerror}",
                remedy="make it writable for the user that runs this validator",
            ) from None
        return log, records, floor

    def bind(self, chain_id: bytes) -> None:
        """Make this the log of a chain, durably, or check that it is. Raises `StorageError` where it is another's.

        What a node signed on another chain says nothing of what it signed on this one.
        """
        if self.chain_id == chain_id:
            return
        if self.chain_id != UNBOUND or self.sign_floor != NOTHING_SIGNED:
            owner = f"chain {self.chain_id.hex()}" if self.chain_id else "a chain that it does not name"
            raise StorageError(
                f"the sign-state {self.folder} is of {owner} and not of chain {chain_id.hex()}",
                remedy="give each chain a data folder of its own with --data; where this node's sign-state of this "
                "chain is lost, stop this validator and run `tana validator recover`",
                code="other_chain",
            )
        self.chain_id = chain_id
        self._rotate()

    def append(self, record: LogRecord) -> None:
        """Add a record. It is durable only after `flush`."""
        self._pending.append(record)

    def flush(self) -> None:
        """Make every appended record durable. Raises `StorageError`; after that the log takes nothing more."""
        if self._is_broken:
            raise StorageError(f"the sign-state {self.folder} failed earlier", remedy="start the validator again")
        if not self._pending:
            return
        frame = encode_records(self._next_sequence, self._pending)
        try:
            write_all(self._file, frame)
            os.fdatasync(self._file)
        except OSError as error:
            raise self._break("written", error) from None
        self._next_sequence += 1
        self._size_bytes += len(frame)
        for record in self._pending:
            self._segments[-1].max_height = max(self._segments[-1].max_height, record.message.height)
            self.sign_floor = max(self.sign_floor, get_signed_position(record))
        self._pending.clear()

    def prune(self, below_height: int) -> None:
        """Forget records below a height, by whole segments, oldest first. Never forgets the sign floor.

        What is not durable yet stays pending: what was signed was flushed by whoever sent it, the rest can wait.
        """
        self._pending = [record for record in self._pending if record.message.height >= below_height]
        if self._size_bytes >= self._segment_bytes:
            self.flush()
            self._rotate()
        old = list(itertools.takewhile(lambda segment: segment.max_height < below_height, self._segments[:-1]))
        if not old:
            return
        self._name_segments(self._segments[len(old) :])
        try:
            for segment in old:
                segment.path.unlink()
        except OSError as error:
            raise self._break("pruned", error) from None

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
        """Go on in a new segment, whose header has the floor and the chain."""
        try:
            path = create_segment(
                self.folder,
                self._next_sequence,
                self._public_key,
                self.sign_floor,
                chain_id=self.chain_id,
                recoveries=self.recoveries,
            )
            self._name_segments([*self._segments, _Segment(path)])
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.close(self._file)
            self._file = file
            self._size_bytes = path.stat().st_size
        except OSError as error:
            raise self._break("continued in a new segment", error) from None
        self._next_sequence += 1

    def _name_segments(self, segments: list[_Segment]) -> None:
        """These segments are the log from now on."""
        try:
            _write_list(self.folder, [segment.path.name for segment in segments])
        except StorageError:
            # Either list may be the one on the disk: nothing may be added to the log of one of them.
            self._is_broken = True
            raise
        self._segments = segments

    def _break(self, doing: str, error: OSError) -> StorageError:
        self._is_broken = True
        # Whether the frame reached the disk is unknown. Nobody was told of it: the next start must not find it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self._size_bytes)
            os.fsync(self._file)
        return StorageError(
            f"the sign-state {self._segments[-1].path} cannot be {doing}: {error.strerror}", remedy=_FREE_SPACE
        )


def recover_log(
    folder: Path,
    public_key: bytes,
    sign_floor: SignFloor,
    *,
    chain_id: bytes,
    recoveries: tuple[Recovery, ...],
    records: tuple[LogRecord, ...],
) -> None:
    """Make a log that begins at a floor, with these records, in the place of a lost or damaged one.

    Whenever it is interrupted, either all of it is there or the old state is. Raises `StorageError`.
    """
    try:
        make_folder(folder)
        taken = [
            int(path.stem, 16) for path in folder.iterdir() if path.suffix == ".log" and _OURS.fullmatch(path.name)
        ]
        path = create_segment(
            folder,
            max(taken, default=-1) + 1,
            public_key,
            sign_floor,
            chain_id=chain_id,
            recoveries=recoveries,
            records=records,
        )
        _write_list(folder, [path.name])
    except OSError as error:
        raise StorageError(
            f"the sign-state {folder} cannot be made: {error.strerror}",
            remedy="free space or mend the permissions, then run this again",
        ) from None


def check_owner(reader: SegmentReader, public_key: bytes) -> None:
    """Raises `StorageError` where a segment belongs to another key."""
    if reader.header.public_key != public_key:
        raise StorageError(
            f"the sign-state {reader.path.parent} belongs to another key, ed25519_{reader.header.public_key.hex()}",
            remedy="give each node its own data folder, or put this node's key file back",
            code="other_key",
        )


def list_segment_files(folder: Path) -> Iterator[Path]:
    """Every segment in a folder, oldest first, whether the list names it or not."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix == ".log" and _OURS.fullmatch(path.name))


def _write_list(folder: Path, names: list[str]) -> None:
    write_atomically(folder / _LIST_NAME, msgspec.json.encode(_SegmentList(1, tuple(names))))


def _read_list(folder: Path) -> tuple[str, ...]:
    path = folder / _LIST_NAME
    if not folder.is_dir() or not any(folder.iterdir()):
        raise StorageError(f"the sign-state {folder} is missing", remedy=RESTORE, code="sign_state_missing")
    try:
        names = _list_decoder.decode(path.read_bytes()).segments
    except FileNotFoundError:
        raise StorageError(f"the sign-state's list {path} is missing", remedy=RESTORE) from None
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(f"the sign-state's list {path} is damaged: {error}", remedy=RESTORE) from None
    if not names or any(Path(name).name != name for name in names):
        raise StorageError(f"the sign-state's list {path} names no segment", remedy=RESTORE)
    return names


def _remove_leftovers(folder: Path, names: tuple[str, ...]) -> None:
    """Remove what a crash left: the unfinished next segment, pruned ones, unfinished lists. Raises `StorageError`
    where a newer segment than the list names holds records."""
    for path in sorted(folder.iterdir()):
        if path.name in names or not _OURS.fullmatch(path.name):
            continue
        if path.suffix == ".log" and path.name > names[-1] and _has_records(path):
            raise StorageError(
                f"the sign-state's list {folder / _LIST_NAME} is older than the segment {path}, which it does not name",
                remedy=RESTORE,
            )
        path.unlink()


def _has_records(path: Path) -> bool:
    try:
        return any(True for _ in SegmentReader(path, is_last=True).read_records())
    except StorageError as error:
        if error.code == "torn_header":
            return False
        raise
