"""A whole validator over its log, stopped at every single operation of the disk: nothing is signed twice.

Elsewhere the record of signatures and the message log were apart and disagreed after a crash (tendermint#247, #3089); a
torn end of the log kept a node from starting (tendermint#3295). Here both are one log, and what it shows after a
crash is all that the next life knows. Its clock is another one, so that whatever it proposes anew is another block.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tana.durable import write_atomically
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.effects import Append, Broadcast, Commit, Effect, Flush, SetTimer
from tana.node.inputs import Input, Started, Timer, TimerFired
from tana.node.log import SignLog
from tana.node.machine import Machine, MachineConfig
from tana.types.messages import Proposal, Vote
from tests.node.chain import START_MS, VALIDATOR, Chain
from tests.node.crash_disk import Crash, CrashDisk

HEIGHTS = 3
SEGMENT_BYTES = 2_000
"""Small: each height or two ends a segment."""
CONFIG = MachineConfig(empty_block_interval_ms=1)

Slot = tuple[int, int, int]


@dataclass
class World:
    """What outlives a crash besides the log: final blocks, and what others have received."""

    chain: Chain = field(default_factory=Chain)
    commits: list[Commit] = field(default_factory=list)
    sent: dict[Slot, Vote | Proposal] = field(default_factory=dict)

    def copy(self) -> World:
        return World(self.chain, list(self.commits), dict(self.sent))

    def receive(self, message: object) -> None:
        if isinstance(message, Vote | Proposal):
            slot = (message.height, message.round, message.kind if isinstance(message, Vote) else 0)
            assert self.sent.setdefault(slot, message) == message, f"signed twice: {slot}"


def live(path: Path, world: World, now_ms: int, until: int) -> None:
    """One life: from the log to a height."""
    log, records, floor = SignLog.open(path, VALIDATOR.public_key, segment_bytes=SEGMENT_BYTES)
    try:
        log.bind(world.chain.signed.chain_id)
        ledger = Ledger.from_genesis(world.chain.signed.genesis)
        for commit in world.commits:
            ledger.execute_certified(commit.block)
            ledger.commit(commit.block)
        machine = Machine(
            CONFIG,
            ledger,
            Mempool(ledger),
            VALIDATOR,
            own_key=VALIDATOR.public_key,
            records=records,
            sign_floor=floor,
        )
        timers: dict[str, Timer] = {}
        inputs: list[Input] = [Started()]
        while ledger.height < until:
            now_ms += 10
            for effect in machine.step(inputs.pop(), now_ms):
                perform(effect, log, world, timers)
            kind = next(name for name in ("empty_block", "propose", "prevote", "precommit") if name in timers)
            inputs.append(TimerFired(timers.pop(kind)))
    finally:
        os.close(log._file)


def perform(effect: Effect, log: SignLog, world: World, timers: dict[str, Timer]) -> None:
    match effect:
        case Append(record):
            log.append(record)
        case Flush():
            log.flush()
        case Broadcast(message):
            world.receive(message)
        case Commit():
            # Stands for the store: between what was sent and the durable block lie operations to be stopped at.
            write_atomically(log.folder.parent / "block", effect.block.hash)
            world.commits.append(effect)
            log.prune(effect.block.height + 1)
        case SetTimer(timer, _):
            timers[timer.kind] = timer


def crash_everywhere(root: Path, spoil: Callable[[pytest.MonkeyPatch], None] = lambda _: None) -> int:
    """Crash at each operation, and go on from every state that the disk may then be in. The number of operations."""
    root.mkdir(exist_ok=True)
    path = root / "counted" / "sign-state"
    SignLog.create(path, VALIDATOR.public_key)
    with pytest.MonkeyPatch.context() as patch:
        disk = CrashDisk(path.parent, patch)
        live(path, World(), START_MS, HEIGHTS)
    count = len(disk.operations)
    for stop_at in range(count):
        path = root / f"stop-{stop_at}" / "sign-state"
        SignLog.create(path, VALIDATOR.public_key)
        world = World()
        with pytest.MonkeyPatch.context() as patch:
            disk = CrashDisk(path.parent, patch, stop_at)
            spoil(patch)
            with contextlib.suppress(Crash):
                live(path, world, START_MS, HEIGHTS)
        checked: list[dict[str, bytes]] = []
        for label, image in disk.images():
            if image not in checked:
                checked.append(image)
                folder = root / f"images-{stop_at}" / label
                disk.write_image(image, folder)
                live(folder / "sign-state", world.copy(), START_MS + 50_000, len(world.commits) + 2)
    return count


def test_crash_at_every_operation_signs_nothing_twice(tmp_path: Path) -> None:
    assert crash_everywhere(tmp_path) > 40


def test_votes_that_are_not_flushed_are_signed_twice(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="signed twice"):
        crash_everywhere(tmp_path, lambda patch: patch.setattr(os, "fdatasync", lambda _: None))
