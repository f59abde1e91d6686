"""The consensus log: what was flushed is there again, and what is missing or damaged is noticed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from tana.node.effects import LogRecord
from tana.node.log import SignLog
from tana.node.segment import NOTHING_SIGNED, SegmentHeader, _encode_frame, encode_records
from tana.types.errors import StorageError
from tana.types.messages import PRECOMMIT, PREVOTE
from tests.node.chain import VALIDATOR, make_part, make_vote
from tests.node.cluster import make_key
from tests.node.full_disk import limit_file_size

KEY = VALIDATOR.public_key


def _create(folder: Path) -> Path:
    path = folder / "sign-state"
    SignLog.create(path, KEY)
    return path


def _write(path: Path, *flushes: list[LogRecord], segment_bytes: int = 1 << 20) -> None:
    log, _, _ = SignLog.open(path, KEY, segment_bytes=segment_bytes)
    for records in flushes:
        for record in records:
            log.append(record)
        log.flush()
    log.close()


def _read(path: Path) -> list[LogRecord]:
    log, records, _ = SignLog.open(path, KEY)
    log.close()
    return records


def _get_segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.log"))


def test_new_log_is_empty(tmp_path: Path) -> None:
    log, records, floor = SignLog.open(_create(tmp_path), KEY)
    log.close()
    assert (records, floor, log.torn_bytes) == ([], NOTHING_SIGNED, 0)


def test_flushed_records_are_read_in_order(tmp_path: Path) -> None:
    path = _create(tmp_path)
    flushes: list[list[LogRecord]] = [
        [make_vote(1, kind=PREVOTE)],
        [make_part(1, 5000), make_vote(1)],
        [make_vote(2, 3)],
    ]
    _write(path, *flushes)
    log, records, floor = SignLog.open(path, KEY)
    log.close()
    assert records == [record for flush in flushes for record in flush]
    assert floor == (2, 3, PRECOMMIT)


def test_sign_floor_counts_only_what_was_signed(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(3, 1, PREVOTE), make_part(9, 10)])
    log, _, floor = SignLog.open(path, KEY)
    log.close()
    assert floor == (3, 1, PREVOTE)


def test_unflushed_record_is_kept_by_close_only(tmp_path: Path) -> None:
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY)
    log.append(make_vote(1))
    assert _read(path) == []
    log.close()
    assert _read(path) == [make_vote(1)]


def test_torn_tail_is_cut_at_every_byte(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)], [make_vote(2)])
    (segment,) = _get_segments(path)
    before = segment.stat().st_size
    _write(path, [make_vote(3), make_vote(4)])
    whole = segment.read_bytes()
    for size in range(before, len(whole)):
        segment.write_bytes(whole[:size])
        log, records, floor = SignLog.open(path, KEY)
        assert log.torn_bytes == size - before
        assert records == [make_vote(1), make_vote(2)]
        assert floor == (2, 0, PRECOMMIT)
        log.append(make_vote(5))
        log.close()
        assert _read(path) == [make_vote(1), make_vote(2), make_vote(5)]


def test_zeroed_tail_is_a_torn_write(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)], [make_part(2, 4000)])
    (segment,) = _get_segments(path)
    data = segment.read_bytes()
    segment.write_bytes(data[:1024] + bytes(len(data) - 1024))
    assert _read(path) == [make_vote(1)]


def test_invalid_flipped_bit(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)], [make_vote(2)])
    (segment,) = _get_segments(path)
    whole = segment.read_bytes()
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        segment.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"is damaged|belongs to another key") as caught:
            _read(path)
        assert str(segment) in caught.value.message or str(path) in caught.value.message
    segment.write_bytes(whole)
    assert _read(path) == [make_vote(1), make_vote(2)]


def test_invalid_missing_middle(tmp_path: Path) -> None:
    path = _create(tmp_path)
    (segment,) = _get_segments(path)
    sizes = [segment.stat().st_size]
    for height in (1, 2, 3):
        _write(path, [make_vote(height)])
        sizes.append(segment.stat().st_size)
    data = segment.read_bytes()
    segment.write_bytes(data[: sizes[1]] + data[sizes[2] :])
    with pytest.raises(StorageError, match="something between them is missing"):
        _read(path)


def test_invalid_garbage_at_the_end(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)])
    (segment,) = _get_segments(path)
    with segment.open("ab") as file:
        file.write(b"\x07" * 40)
    with pytest.raises(StorageError, match="does not match its checksum"):
        _read(path)


def test_invalid_wrong_key(tmp_path: Path) -> None:
    path = _create(tmp_path)
    with pytest.raises(StorageError, match="belongs to another key"):
        SignLog.open(path, make_key("somebody else").public_key)


def test_invalid_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        SignLog.open(tmp_path / "sign-state", KEY)
    assert caught.value.code == "sign_state_missing"
    assert not (tmp_path / "sign-state").exists()


def test_invalid_emptied_folder(tmp_path: Path) -> None:
    path = _create(tmp_path)
    shutil.rmtree(path)
    path.mkdir()
    with pytest.raises(StorageError, match="is missing"):
        SignLog.open(path, KEY)


def test_invalid_create_over_existing(tmp_path: Path) -> None:
    path = _create(tmp_path)
    with pytest.raises(StorageError, match="cannot be made"):
        SignLog.create(path, KEY)


def _fill_three_segments(path: Path) -> None:
    log, _, _ = SignLog.open(path, KEY, segment_bytes=400)
    for height in range(1, 10):
        log.append(make_part(height, 150))
        log.append(make_vote(height))
        log.flush()
        log.prune(1)
    log.close()
    assert len(_get_segments(path)) >= 3


def test_segments_are_read_as_one_log(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _fill_three_segments(path)
    votes = [record for record in _read(path) if record == make_vote(record.message.height)]
    assert [vote.message.height for vote in votes] == list(range(1, 10))


def test_invalid_missing_segment(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _fill_three_segments(path)
    for segment in _get_segments(path):
        data = segment.read_bytes()
        segment.unlink()
        with pytest.raises(StorageError, match="cannot be read"):
            _read(path)
        segment.write_bytes(data)
    assert _read(path)


def test_invalid_torn_tail_before_the_last_segment(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _fill_three_segments(path)
    first = _get_segments(path)[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(StorageError, match="is damaged"):
        _read(path)


def test_prune_keeps_the_sign_floor(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _fill_three_segments(path)
    log, _, _ = SignLog.open(path, KEY, segment_bytes=1)
    log.prune(10)
    log.close()
    assert len(_get_segments(path)) == 1
    log, records, floor = SignLog.open(path, KEY)
    log.close()
    assert (records, floor) == ([], (9, 0, PRECOMMIT))


def test_prune_keeps_heights_that_are_not_final(tmp_path: Path) -> None:
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY, segment_bytes=1)
    log.append(make_vote(1))
    log.append(make_vote(2))
    log.prune(2)
    log.close()
    assert make_vote(2) in _read(path)


def test_leftover_of_a_crash_is_removed(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)])
    leftover = path / "00000000000000ff.log"
    leftover.write_bytes(_get_segments(path)[0].read_bytes()[:20])
    unfinished_list = path / ".segments.0123456789abcdef"
    unfinished_list.write_bytes(b"half of a li")
    note = path / "README of the operator"
    note.touch()
    assert _read(path) == [make_vote(1)]
    assert not leftover.exists()
    assert not unfinished_list.exists()
    assert note.exists(), "what is not ours is left alone"


def test_invalid_list_of_before_a_segment(tmp_path: Path) -> None:
    """The rename of the list was lost though it was flushed (cometbft#6031): its newest segment must not be removed."""
    path = _create(tmp_path)
    old_list = (path / "segments").read_bytes()
    _fill_three_segments(path)
    newest = _get_segments(path)[-1]
    (path / "segments").write_bytes(old_list)
    with pytest.raises(StorageError, match="older than the segment") as caught:
        _read(path)
    assert str(path / "segments") in caught.value.message
    assert "tana validator recover" in caught.value.remedy
    assert newest.exists()


def test_invalid_missing_list(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)])
    (path / "segments").unlink()
    with pytest.raises(StorageError, match="segments is missing"):
        _read(path)


def test_invalid_newer_layout(tmp_path: Path) -> None:
    path = _create(tmp_path)
    (segment,) = _get_segments(path)
    header = SegmentHeader(3, KEY, NOTHING_SIGNED)
    segment.write_bytes(_encode_frame(0, msgspec.msgpack.encode(header)))
    with pytest.raises(StorageError, match="layout 3"):
        _read(path)


def test_log_of_the_first_layout_is_read(tmp_path: Path) -> None:
    path = _create(tmp_path)
    (segment,) = _get_segments(path)
    header = msgspec.msgpack.encode([1, KEY, [0, 0, 0]])
    segment.write_bytes(_encode_frame(0, header) + encode_records(1, [make_vote(1)]))
    assert _read(path) == [make_vote(1)]


def test_log_is_bound_to_its_chain(tmp_path: Path) -> None:
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY, segment_bytes=1)
    log.bind(b"a" * 32)
    log.bind(b"a" * 32)
    log.append(make_vote(1))
    log.prune(1)
    log.close()
    log, records, _ = SignLog.open(path, KEY)
    log.bind(b"a" * 32)
    log.close()
    assert records == [make_vote(1)]


def test_invalid_log_of_another_chain(tmp_path: Path) -> None:
    """Signatures of an older chain must not silence a node up to their height, nor count on this one (0.33.6)."""
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY)
    log.bind(b"a" * 32)
    with pytest.raises(StorageError, match="of chain 6161") as caught:
        log.bind(b"b" * 32)
    log.close()
    assert caught.value.code == "other_chain"
    assert "--data" in caught.value.remedy


def test_invalid_signatures_of_an_unnamed_chain(tmp_path: Path) -> None:
    path = _create(tmp_path)
    _write(path, [make_vote(1)])
    log, _, _ = SignLog.open(path, KEY)
    with pytest.raises(StorageError, match="does not name"):
        log.bind(b"b" * 32)
    log.close()


def test_prune_forgets_the_oldest_only(tmp_path: Path) -> None:
    """A later segment without records of its own must not be taken out of the middle."""
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY, segment_bytes=1)
    log.append(make_vote(9))
    log.prune(1)
    log.append(make_vote(3))
    log.prune(1)
    log.prune(5)
    log.close()
    assert _read(path) == [make_vote(9), make_vote(3)]


def test_real_full_disk(tmp_path: Path) -> None:
    """The kernel refuses the bytes, at every length at which the file can be full."""
    path = _create(tmp_path)
    _write(path, [make_vote(1)])
    (segment,) = _get_segments(path)
    size_bytes = segment.stat().st_size
    for free_bytes in range(0, 120, 7):
        log, _, _ = SignLog.open(path, KEY)
        log.append(make_vote(2))
        with limit_file_size(size_bytes + free_bytes), pytest.raises(StorageError, match="cannot be written") as caught:
            log.flush()
        log.close()
        assert str(segment) in caught.value.message
        assert "free space" in caught.value.remedy
        assert _read(path) == [make_vote(1)], "what never became durable is not found"


def test_full_disk_ends_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _create(tmp_path)
    log, _, _ = SignLog.open(path, KEY)
    log.append(make_vote(1))

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(StorageError, match="No space left"):
        log.flush()
    monkeypatch.undo()
    with pytest.raises(StorageError, match="failed earlier"):
        log.flush()
    log.close()
