"""What disks do to the data of a validator that is down: lose it, tear its last write, change a byte of it.

`python -m testbed.damage FOLDER HOW SEED` does it to a data folder where only a container sees it, and prints the harm.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from tana.node.effects import LogRecord, Signed
from tana.node.folder import DataFolder
from tana.node.log import list_segment_files
from tana.node.segment import SegmentReader, encode_records
from tana.types.errors import SettingsError, StorageError, TanaError
from tana.types.messages import PREVOTE, Vote

WIPE_SIGN_STATE = "wipe_sign_state"
WIPE_CHAIN = "wipe_chain"
TEAR = "tear"
GARBLE = "garble"
LOSES: Mapping[str, str] = {WIPE_SIGN_STATE: "sign_state", GARBLE: "sign_state", WIPE_CHAIN: "chain", TEAR: ""}
"""What a validator no longer knows after each: what it signed, the final blocks, or nothing."""
SECTOR_BYTES = 512
TORN_RECORDS = 8
"""How many records the write has that is torn."""


class Harm(msgspec.Struct, frozen=True):
    """What was done: in which file, from which byte on, and how many bytes are lost, torn or changed."""

    file: str
    at: int
    size_bytes: int


def damage(folder: Path, how: str, seed: str) -> Harm:
    """Do it to a validator's data folder. `seed` decides what is left to chance.

    Raises `StorageError` where there is nothing to damage, `SettingsError` for a damage that there is not.
    """
    if how not in DAMAGES:
        raise SettingsError(f"there is no damage {how!r}", remedy=f"use one of {', '.join(DAMAGES)}", field="how")
    try:
        return DAMAGES[how](DataFolder(folder), random.Random(f"{seed}/{how}"))
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be damaged: {error.strerror}") from None


def wipe_sign_state(data: DataFolder, draw: random.Random) -> Harm:
    """The log of consensus is gone; key and chain are still there."""
    size_bytes = sum(path.stat().st_size for path in list_segment_files(data.sign_state_path))
    shutil.rmtree(data.sign_state_path)
    return Harm(str(data.sign_state_path), 0, size_bytes)


def wipe_chain(data: DataFolder, draw: random.Random) -> Harm:
    """All is gone but the log of consensus; the key is elsewhere."""
    size_bytes = data.chain_path.stat().st_size
    for path in sorted(data.root.iterdir()):
        if path == data.sign_state_path:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return Harm(str(data.root), 0, size_bytes)


def tear(data: DataFolder, draw: random.Random) -> Harm:
    """The power failed during a write: its frame ends at a random byte, or is zeros from a random sector on.

    What was flushed before stays whole: a disk that loses that too has lied, and no log can notice.
    """
    path = _find_last(data)
    reader = SegmentReader(path, is_last=True)
    for _ in reader.read_records():
        pass
    frame = encode_records(reader.sequence + 1, [_make_record(reader.header.public_key, draw)] * TORN_RECORDS)
    begin = path.stat().st_size
    written = draw.randrange(1, len(frame))
    torn = frame[:written]
    sectors = range(-(-(begin + 1) // SECTOR_BYTES) * SECTOR_BYTES, begin + len(frame), SECTOR_BYTES)
    if sectors and draw.random() < 0.5:
        torn = frame[: draw.choice(sectors) - begin].ljust(len(frame), b"\0")
    with path.open("ab") as file:
        file.write(torn)
    return Harm(str(path), begin, len(torn))


def garble(data: DataFolder, draw: random.Random) -> Harm:
    """A byte in the middle of the log is another one."""
    path = _find_last(data)
    content = bytearray(path.read_bytes())
    at = draw.randrange(len(content) // 4, len(content) * 3 // 4)
    content[at] ^= draw.randrange(1, 256)
    path.write_bytes(content)
    return Harm(str(path), at, 1)


def _make_record(public_key: bytes, draw: random.Random) -> LogRecord:
    """A vote as it might have been signed next; nobody ever reads it."""
    return Signed(Vote(PREVOTE, 1, 0, draw.randbytes(32), public_key, draw.randbytes(64)))


def _find_last(data: DataFolder) -> Path:
    paths = list(list_segment_files(data.sign_state_path))
    if not paths:
        raise StorageError(f"{data.sign_state_path} has no segment: there is nothing to damage")
    return paths[-1]


DAMAGES: Mapping[str, Callable[[DataFolder, random.Random], Harm]] = {
    WIPE_SIGN_STATE: wipe_sign_state,
    WIPE_CHAIN: wipe_chain,
    TEAR: tear,
    GARBLE: garble,
}


def main() -> None:
    try:
        folder, how, seed = sys.argv[1:]
    except ValueError:
        sys.exit("usage: python -m testbed.damage FOLDER HOW SEED")
    try:
        print(msgspec.json.encode(damage(Path(folder), how, seed)).decode())
    except TanaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
