"""What is left of a lost sign-state is kept, and a whole one is never replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tana.node.blocks import MemoryBlocks
from tana.node.effects import LogRecord, Seen, Signed
from tana.node.folder import DataFolder
from tana.node.identity import open_sign_state
from tana.node.log import SignLog
from tana.node.recovery import Remains, examine_sign_state, replace_sign_state
from tana.node.segment import Recovery
from tana.types.block import Block
from tana.types.errors import Conflict, StorageError
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, Vote
from tests.node.chain import VALIDATOR, Chain, make_vote
from tests.node.cluster import make_key

CHAIN = Chain()
CHAIN_ID = CHAIN.signed.chain_id
BLOCK: Block = CHAIN.grow()[0]
PART = Seen(BlockPart(1, BLOCK.data))


def make_lock(round: int = 0, block_hash: bytes = BLOCK.hash) -> Signed:
    return Signed(Vote(PRECOMMIT, 1, round, block_hash, VALIDATOR.public_key, b"s" * 64))


def make_log(root: Path, *flushes: list[LogRecord]) -> DataFolder:
    data = DataFolder(root)
    SignLog.create(data.sign_state_path, VALIDATOR.public_key)
    log, _, _ = SignLog.open(data.sign_state_path, VALIDATOR.public_key)
    log.bind(CHAIN_ID)
    for records in flushes:
        for record in records:
            log.append(record)
        log.flush()
    log.close()
    return data


def examine(data: DataFolder, blocks: MemoryBlocks | None = None) -> Remains:
    return examine_sign_state(data, VALIDATOR, CHAIN_ID, blocks or MemoryBlocks())


def lose_list(data: DataFolder) -> None:
    (data.sign_state_path / "segments").unlink()


def flip_last_byte(data: DataFolder) -> None:
    path = sorted(data.sign_state_path.glob("*.log"))[-1]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(("damage", "kept"), [(lose_list, 3), (flip_last_byte, 2)])
def test_readable_records_are_kept_with_the_lock(
    tmp_path: Path, damage: Callable[[DataFolder], None], kept: int
) -> None:
    data = make_log(tmp_path, [PART, make_lock()], [make_vote(1, 1, PREVOTE)])
    damage(data)
    remains = examine(data)
    assert (len(remains.records), remains.has_lock) == (kept, True)
    assert remains.sign_floor == ((1, 1, PREVOTE) if kept == 3 else (1, 0, PRECOMMIT))
    recovery = Recovery(1, 4, 123, remains.lost, ("validator-9",))
    copy = replace_sign_state(data, VALIDATOR, CHAIN_ID, remains, recovery)
    assert sorted(path.name for path in Path(copy).glob("*.log"))
    state = open_sign_state(data, VALIDATOR, CHAIN_ID, MemoryBlocks())
    assert state.log is not None
    assert state.log.recoveries == (recovery,)
    assert (state.records, state.sign_floor) == (remains.records, (1, 4, PRECOMMIT))
    state.log.close()


def test_wiped_sign_state_has_no_remains(tmp_path: Path) -> None:
    data = make_log(tmp_path, [make_vote(1)])
    shutil.rmtree(data.sign_state_path)
    remains = examine(data)
    assert (remains.records, remains.sign_floor) == ((), (0, 0, 0))
    assert "is missing" in remains.lost
    assert replace_sign_state(data, VALIDATOR, CHAIN_ID, remains, Recovery(3, 0, 1, remains.lost)) == ""


def test_lock_without_its_block_is_dropped(tmp_path: Path) -> None:
    data = make_log(tmp_path, [make_lock(block_hash=b"x" * 32)])
    lose_list(data)
    remains = examine(data)
    assert (remains.records, remains.has_lock) == ((), False)
    assert remains.sign_floor == (1, 0, PRECOMMIT), "that it was signed is not forgotten"


def test_records_of_final_heights_are_of_no_use(tmp_path: Path) -> None:
    data = make_log(tmp_path, [PART, make_lock()], [make_vote(2)])
    lose_list(data)
    blocks = MemoryBlocks()
    blocks.append(*CHAIN.steps[0])
    remains = examine(data, blocks)
    assert remains.records == (make_vote(2),)


def test_second_recovery_remembers_the_first(tmp_path: Path) -> None:
    data = make_log(tmp_path)
    for number in (1, 2):
        lose_list(data)
        remains = examine(data)
        replace_sign_state(data, VALIDATOR, CHAIN_ID, remains, Recovery(number, 0, number, remains.lost))
    state = open_sign_state(data, VALIDATOR, CHAIN_ID, MemoryBlocks())
    assert state.log is not None
    assert [recovery.height for recovery in state.log.recoveries] == [1, 2]
    state.log.close()
    assert len(list(tmp_path.glob("sign-state.before-recovery-*"))) == 2


def test_log_of_another_chain_says_nothing_of_this_one(tmp_path: Path) -> None:
    data = make_log(tmp_path, [make_vote(7000)])
    remains = examine_sign_state(data, VALIDATOR, b"z" * 32, MemoryBlocks())
    assert (remains.sign_floor, remains.records) == ((0, 0, 0), ())
    assert "is of chain" in remains.lost


def test_invalid_nothing_to_recover(tmp_path: Path) -> None:
    data = make_log(tmp_path, [make_vote(1)])
    with pytest.raises(Conflict, match="is whole") as caught:
        examine(data)
    assert caught.value.code == "nothing_to_recover"


@pytest.mark.parametrize("is_damaged", [False, True])
def test_invalid_sign_state_of_another_key(tmp_path: Path, is_damaged: bool) -> None:
    data = DataFolder(tmp_path)
    SignLog.create(data.sign_state_path, make_key("somebody else").public_key)
    if is_damaged:
        lose_list(data)
    with pytest.raises(StorageError, match="belongs to another key"):
        examine(data)
