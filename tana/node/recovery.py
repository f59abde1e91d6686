"""The way back for a validator whose sign-state is lost: a new one that begins at a slot above everything it may have
signed, with what the old one and the final blocks still prove.

Rules:
1. Only where the node abstains; a whole sign-state is never replaced.
2. The new floor is at or above every slot that the remains show, and above every final block here.
3. What can still be read of the height being decided is kept: with it the node's lock, and what it signed is sent
   again byte for byte. A precommit whose block is gone is dropped: the lock cannot be kept without it.
4. The recovery is part of the log for good, and said at every start.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tana.crypto.keys import KeyPair
from tana.node.blocks import BlockSource
from tana.node.effects import LogRecord, Signed
from tana.node.folder import DataFolder
from tana.node.identity import open_log
from tana.node.log import check_owner, list_segment_files, recover_log
from tana.node.segment import NOTHING_SIGNED, UNBOUND, Recovery, SegmentReader, SignFloor, get_signed_position
from tana.types.block import Block
from tana.types.errors import Conflict, StorageError, Unavailable
from tana.types.messages import PRECOMMIT, BlockPart, Vote

Slot = tuple[int, int]


@dataclass(frozen=True)
class Answer:
    """What one validator says of the highest (height, round) that it has seen; `seen` None where it gave no answer."""

    node_id: str
    url: str
    seen: Slot | None = None
    fault: str = ""


@dataclass(frozen=True)
class Remains:
    """What can still be read of a sign-state, and why it is of no use as it is (`lost`).

    `sign_floor` is the highest slot that it shows as signed; `records` are of heights that are not final here.
    """

    lost: str
    sign_floor: SignFloor = NOTHING_SIGNED
    records: tuple[LogRecord, ...] = ()
    recoveries: tuple[Recovery, ...] = ()

    @property
    def has_lock(self) -> bool:
        """Whether a precommit for a block is among the records."""
        return any(_get_precommitted(record) is not None for record in self.records)


def examine_sign_state(data: DataFolder, key: KeyPair, chain_id: bytes, blocks: BlockSource) -> Remains:
    """What is left of a lost sign-state. Raises `Conflict` where it is whole, `StorageError` where it is another
    key's."""
    try:
        log, _, _ = open_log(data, key, chain_id, blocks)
    except StorageError as error:
        if error.code == "other_key":
            raise
        return _read_remains(data.sign_state_path, key, chain_id, blocks.height, error.message)
    log.close()
    raise Conflict(
        f"the sign-state {data.sign_state_path} is whole: there is nothing to recover",
        remedy="start the validator with `tana validator run`",
        code="nothing_to_recover",
    )


def replace_sign_state(data: DataFolder, key: KeyPair, chain_id: bytes, remains: Remains, recovery: Recovery) -> str:
    """Make the new sign-state, with the floor of `recovery`. Returns where a copy of the old one is, or nothing.

    Raises `StorageError`.
    """
    floor = (recovery.height, recovery.round, PRECOMMIT)
    assert floor >= remains.sign_floor, "the slot is above what the remains show"
    copy = _copy_aside(data.sign_state_path)
    recover_log(
        data.sign_state_path,
        key.public_key,
        floor,
        chain_id=chain_id,
        recoveries=(*remains.recoveries, recovery),
        records=remains.records,
    )
    return copy


def read_seen(health: Mapping[str, Any]) -> Slot | None:
    """The highest slot that a validator has seen, by its `/health`; None where it does not say."""
    consensus = health.get("consensus") or {}
    height, round = consensus.get("seenHeight"), consensus.get("seenRound")
    return (height, round) if isinstance(height, int) and isinstance(round, int) else None


def find_lowest(answers: Sequence[Answer], remains: Remains, final_height: int) -> Slot:
    """The lowest slot that is safe, as far as anyone says."""
    seen = [answer.seen for answer in answers if answer.seen is not None]
    return max([*seen, remains.sign_floor[:2], (final_height + 1, 0)])


def check_silence(answers: Sequence[Answer], lowest: Slot, accept_silence: bool) -> None:
    """Raises `Unavailable` where somebody gave no answer and the operator does not vouch for them."""
    silent = [answer for answer in answers if answer.seen is None]
    if silent and not accept_silence:
        words = "; ".join(f"{answer.node_id}: {answer.fault}" for answer in silent)
        raise Unavailable(
            f"not every validator says what it has seen: {words}",
            remedy="start them, or say where they answer with --ask URL. Where you know by other means that none of "
            f"them has seen more than height {lowest[0]} round {lowest[1]}, add --accept-silence",
            code="silent_validators",
        )


def check_slot(slot: Slot, lowest: Slot, answers: Sequence[Answer], remains: Remains, final_height: int) -> None:
    """Raises `Conflict` for a slot that is not safe, naming who has seen more."""
    if slot >= lowest:
        return
    remedy = f"give --height {lowest[0]} --round {lowest[1]} or more"
    if slot[0] <= final_height:
        fault = f"height {slot[0]} is final here: this node may have voted for height {final_height + 1}"
    elif slot < remains.sign_floor[:2]:
        fault = f"what is left of the sign-state shows a signature at height {remains.sign_floor[0]} round "
        fault += str(remains.sign_floor[1])
    else:
        who = next(answer.node_id for answer in answers if answer.seen is not None and answer.seen > slot)
        fault = f"{who} has seen height {lowest[0]} round {lowest[1]}"
    raise Conflict(
        f"height {slot[0]} round {slot[1]} is too low: {fault}", remedy=remedy, code="slot_too_low", field="height"
    )


def _read_remains(folder: Path, key: KeyPair, chain_id: bytes, final_height: int, lost: str) -> Remains:
    floor = NOTHING_SIGNED
    records: list[LogRecord] = []
    recoveries: tuple[Recovery, ...] = ()
    for path in list_segment_files(folder):
        try:
            reader = SegmentReader(path, is_last=True)
            check_owner(reader, key.public_key)
            if reader.header.chain_id not in (chain_id, UNBOUND):
                continue
            floor = max(floor, reader.header.sign_floor)
            recoveries = reader.header.recoveries or recoveries
            for record in reader.read_records():
                floor = max(floor, get_signed_position(record))
                if record.message.height > final_height:
                    records.append(record)
        except StorageError as error:
            if error.code == "other_key":
                raise
            # Up to here it could be read; the damage is what the operator was told of.
    return Remains(lost, floor, tuple(_drop_baseless(records)), recoveries)


def _drop_baseless(records: list[LogRecord]) -> list[LogRecord]:
    """The records without precommits whose blocks are not among them."""
    parts = [record.message for record in records if isinstance(record.message, BlockPart)]
    known = {(part.height, Block.decode(part.data).hash) for part in parts}
    return [
        record
        for record in records
        if _get_precommitted(record) is None or (record.message.height, _get_precommitted(record)) in known
    ]


def _get_precommitted(record: LogRecord) -> bytes | None:
    """The block that this node precommitted by a record, None where it is no such precommit."""
    message = record.message
    if isinstance(record, Signed) and isinstance(message, Vote) and message.kind == PRECOMMIT:
        return message.block_hash
    return None


def _copy_aside(folder: Path) -> str:
    """A copy of what is left, for whoever wants to know what happened."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return ""
    number = 1
    while (copy := folder.with_name(f"{folder.name}.before-recovery-{number}")).exists():
        number += 1
    try:
        shutil.copytree(folder, copy)
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be copied to {copy}: {error.strerror}", remedy="free space or mend the permissions"
        ) from None
    return str(copy)
