"""The driver performs effects in their order, and nobody sees a block that is not durable."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import structlog

from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.driver import Driver
from tana.node.effects import Broadcast, Commit, Effect, Report, Send
from tana.node.hooks import NO_HOOKS
from tana.node.inputs import Input, Started
from tana.node.links import Links
from tana.node.machine import Machine, MachineConfig
from tana.node.metrics import Metrics
from tana.node.store import ChainStore
from tana.types.errors import StorageError
from tana.types.messages import BlocksRequest, PeerMessage
from tests.node.chain import VALIDATOR, Chain
from tests.node.cluster import make_transfer
from tests.node.full_disk import limit_file_size

MESSAGE = BlocksRequest(1, 1)


class ScriptedMachine(Machine):
    """Wants what the test says."""

    effects: Sequence[Effect] = ()

    def step(self, input: Input, now_ms: int) -> list[Effect]:
        return list(self.effects)


class WatchingLinks:
    """Notes how many blocks are durable at each message that leaves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen: list[int] = []

    def broadcast(self, message: PeerMessage) -> None:
        with sqlite3.connect(self._path) as other:
            self.seen.append(other.execute("SELECT count(*) FROM blocks").fetchone()[0])
        other.close()

    def send(self, peer: bytes, message: PeerMessage) -> None:
        self.broadcast(message)


class Fixture:
    """A driver whose machine is a script, over a real store."""

    def __init__(self, folder: Path, effects: Sequence[Effect], chain: Chain) -> None:
        path = folder / "chain.db"
        ledger = Ledger.from_genesis(chain.signed.genesis)
        self.store = ChainStore.open(path, chain.signed.chain_id, ledger.tree.items())
        self.links = WatchingLinks(path)
        self.failures: list[BaseException] = []
        machine = ScriptedMachine(
            MachineConfig(), ledger, Mempool(ledger), None, own_key=VALIDATOR.public_key, abstain_reason="a test"
        )
        Machine.step(machine, Started(), 0)
        machine.effects = effects
        self.driver = Driver(
            machine,
            log=None,
            store=self.store,
            metrics=Metrics(lambda: None),
            hooks=NO_HOOKS,
            on_fatal=self.failures.append,
            on_validators_changed=lambda: None,
        )

    def run(self) -> None:
        self.driver.start(cast(Links, cast(Any, self.links)))


def make_commits(chain: Chain, count: int) -> list[Commit]:
    return [Commit(*chain.grow(make_transfer(nonce))) for nonce in range(count)]


def test_blocks_are_durable_before_anything_that_is_seen(tmp_path: Path) -> None:
    async def play() -> None:
        chain = Chain()
        first, second, third = make_commits(chain, 3)
        report = Report("synced", {})
        effects: list[Effect] = [
            first,
            report,
            second,
            Broadcast(MESSAGE),
            third,
            Send(b"p" * 32, MESSAGE),
            Broadcast(MESSAGE),
        ]
        fixture = Fixture(tmp_path, effects, chain)
        fixture.run()
        assert fixture.failures == []
        assert fixture.links.seen == [2, 3, 3]
        fixture.store.close()

    asyncio.run(play())


def test_blocks_are_durable_at_the_end_of_a_step(tmp_path: Path) -> None:
    async def play() -> None:
        chain = Chain()
        fixture = Fixture(tmp_path, make_commits(chain, 3), chain)
        waiting = asyncio.create_task(fixture.driver.waiters.wait([chain.steps[2][2].transaction_ids[0]], 10_000))
        await asyncio.sleep(0)
        fixture.run()
        fixture.links.broadcast(MESSAGE)
        assert fixture.links.seen == [3]
        (outcome,) = (await waiting).values()
        assert outcome.height == 3
        fixture.store.close()

    asyncio.run(play())


def test_invalid_disk_shows_nothing_and_ends_the_node(tmp_path: Path) -> None:
    async def play() -> None:
        chain = Chain()
        fixture = Fixture(tmp_path, [*make_commits(chain, 2), Broadcast(MESSAGE)], chain)
        with structlog.testing.capture_logs(), limit_file_size(0):
            fixture.run()
        assert fixture.links.seen == []
        assert isinstance(fixture.failures[0], StorageError)
        assert fixture.store.height == 0
        fixture.store.close()

    asyncio.run(play())
