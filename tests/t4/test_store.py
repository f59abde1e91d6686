"""The content store: durable before it answers, and never half of anything."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.t4.store import ContentStore, check_hash
from tana.types.errors import InvalidInput, NotFound, StorageError, TooLarge, Unavailable

DATA = b"forty-two" * 1000


def hash_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


HASH = hash_of(DATA)


def put(store: ContentStore, *pieces: bytes, content_hash: str = "") -> str:
    name = content_hash or hash_of(b"".join(pieces))
    with store.begin(name) as upload:
        for piece in pieces:
            upload.write(piece)
        upload.commit()
    return name


def read(store: ContentStore, content_hash: str) -> bytes:
    file, size_bytes = store.open(content_hash)
    with file:
        data = file.read()
    assert len(data) == size_bytes
    return data


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def raise_error(number: int) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "t4", max_bytes=10_000)


def test_content_lies_under_its_hash(store: ContentStore) -> None:
    put(store, DATA[:5000], DATA[5000:])
    assert files(store.root) == [f"{HASH[:2]}/{HASH}"]
    assert read(store, HASH) == DATA
    assert store.get_size(HASH) == len(DATA)


def test_empty_content(store: ContentStore) -> None:
    assert read(store, put(store)) == b""


def test_content_at_the_bound(store: ContentStore) -> None:
    assert store.get_size(put(store, b"x" * 10_000)) == 10_000


def test_storing_twice_is_storing_once(store: ContentStore) -> None:
    put(store, DATA)
    put(store, DATA)
    assert files(store.root) == [f"{HASH[:2]}/{HASH}"]


def test_delete_removes(store: ContentStore) -> None:
    put(store, DATA)
    store.delete(HASH)
    assert files(store.root) == []
    for ask in (store.delete, store.get_size, store.open):
        with pytest.raises(NotFound):
            ask(HASH)


def test_a_reader_reads_on_after_delete(store: ContentStore) -> None:
    put(store, DATA)
    file, _ = store.open(HASH)
    with file:
        store.delete(HASH)
        assert file.read() == DATA


def test_a_new_process_finds_content_and_sweeps_what_was_half_written(store: ContentStore) -> None:
    put(store, DATA)
    (store.root / ".incoming" / "tmpabc").write_bytes(b"half")
    again = ContentStore(store.root)
    assert read(again, HASH) == DATA
    assert files(store.root) == [f"{HASH[:2]}/{HASH}"]


def test_a_name_appears_only_after_its_bytes_are_on_disk(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        calls.append("fsync " + os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), store.root).split("/")[0])
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        assert source.stat().st_size == len(DATA)
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    put(store, DATA)
    assert calls == ["fsync .incoming", "fsync .", "rename", f"fsync {HASH[:2]}"]


def test_uploads_of_one_hash_at_the_same_time(store: ContentStore) -> None:
    barrier = threading.Barrier(4)
    errors: list[BaseException] = []

    def upload() -> None:
        try:
            with store.begin(HASH) as item:
                barrier.wait(timeout=30)
                for start in range(0, len(DATA), 100):
                    item.write(DATA[start : start + 100])
                item.commit()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert files(store.root) == [f"{HASH[:2]}/{HASH}"]
    assert read(store, HASH) == DATA


VICTIM = """
import sys, time
from pathlib import Path
from tana.t4.store import ContentStore
store = ContentStore(Path(sys.argv[1]))
with store.begin(sys.argv[2]) as upload:
    upload.write(b"forty-two" * 1000)
    upload.commit()
with store.begin("00" * 32) as upload:
    upload.write(b"half" * 100_000)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_kill_9_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    command = [sys.executable, "-c", VICTIM, str(tmp_path), HASH]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    assert len(files(tmp_path)) == 2
    store = ContentStore(tmp_path)
    assert files(tmp_path) == [f"{HASH[:2]}/{HASH}"]
    assert read(store, HASH) == DATA


def test_invalid_hash_mismatch(store: ContentStore) -> None:
    with pytest.raises(InvalidInput) as caught:
        put(store, b"other", content_hash=HASH)
    assert caught.value.code == "hash_mismatch"
    assert files(store.root) == []


def test_invalid_too_large(store: ContentStore) -> None:
    with pytest.raises(TooLarge):
        put(store, b"x" * 6000, b"x" * 4001)
    assert files(store.root) == []


def test_invalid_abandoned_upload_leaves_nothing(store: ContentStore) -> None:
    with store.begin(HASH) as upload:
        upload.write(DATA)
    assert files(store.root) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_invalid_full_disk(store: ContentStore, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    monkeypatch.setattr(os, call, raise_error(number))
    with pytest.raises(Unavailable) as caught:
        put(store, DATA)
    assert caught.value.code == "disk_full"
    assert caught.value.remedy
    assert files(store.root) == []


def test_invalid_full_disk_found_while_writing(store: ContentStore) -> None:
    with store.begin(HASH) as upload:
        # The kernel's own full device: every write to it fails with ENOSPC.
        with Path("/dev/full").open("wb") as full:
            os.dup2(full.fileno(), upload._file.fileno())
        with pytest.raises(Unavailable):
            upload.write(b"x" * 10_000)
    assert files(store.root) == []


def test_invalid_failing_disk(store: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", raise_error(errno.EIO))
    with pytest.raises(StorageError, match="Input/output error"):
        put(store, DATA)
    assert files(store.root) == []


def test_invalid_unwritable_root(tmp_path: Path) -> None:
    blocker = tmp_path / "t4"
    blocker.write_bytes(b"a file where the folder should be")
    with pytest.raises(StorageError) as caught:
        ContentStore(blocker)
    assert str(blocker) in caught.value.message


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA + b"x", b"X" + DATA[1:]])
def test_invalid_damaged_file_is_never_served_and_a_new_upload_heals_it(store: ContentStore, damage: bytes) -> None:
    put(store, DATA)
    store.get_path(HASH).write_bytes(damage)
    with pytest.raises(StorageError) as caught:
        store.open(HASH)
    assert caught.value.code == "content_damaged"
    put(store, DATA)
    assert read(store, HASH) == DATA


@pytest.mark.parametrize(
    "name",
    ["", "..", "../" * 10 + "etc/passwd", "/etc/passwd", "ab" * 31, HASH.upper(), HASH + "\n", "٣" * 64, "\0" * 64],
)
def test_invalid_hash_never_becomes_a_path(store: ContentStore, name: str) -> None:
    for ask in (store.begin, store.open, store.get_size, store.delete, store.get_path):
        with pytest.raises(InvalidInput):
            ask(name)


@given(st.text())
def test_invalid_any_text_is_no_hash(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_hash(name)
