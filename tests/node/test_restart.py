"""Whole validators that start again: with their log, without it, or with an old copy of it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tana.node.effects import Broadcast, Effect, Signed
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, Started
from tana.types.errors import StorageError
from tana.types.messages import Proposal, Vote
from tests.node.cluster import run_cluster, wait_until


class RecordingHooks(Hooks):
    """Remembers what the machine was made from, what it was told and what it wanted, in order."""

    def __init__(self) -> None:
        self.beginnings: list[Beginning] = []
        self.steps: list[tuple[Input, list[Effect]]] = []

    def on_begin(self, beginning: Beginning) -> None:
        self.beginnings.append(beginning)

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        self.steps.append((input, effects))
        return effects


def test_wiped_sign_state_abstains(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4, height=1)
            last = cluster.nodes[3]
            await last.stop()
            shutil.rmtree(tmp_path / last.node_id / "sign-state")
            await last.start()
            health = await cluster.wait_state(last, "abstaining")
            assert "sign-state" in health["reason"]
            assert "tana validator recover --node-id validator-4 --data " in health["reason"]
            # It follows the others, and its certificate power is missing from theirs.
            await cluster.wait_height(last, health["currentHeight"] + 5)
            block = await cluster.get(last, "ledger", f"/blocks/{health['currentHeight'] + 5}")
            voters = {row["validator"] for row in block["certificate"]["signatures"]}
            assert health["publicKey"] not in voters

    asyncio.run(play())


def test_nothing_is_heard_before_the_log_is_replayed(tmp_path: Path) -> None:
    """Elsewhere votes were handled before the replay had ended (malachite#850). And what was signed is sent again."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3, height=2)
            first, second, third = cluster.nodes
            await third.stop()

            async def has_voted() -> bool:
                consensus = (await cluster.get_health(first))["consensus"]
                return consensus["step"] in ("prevote", "precommit") and consensus["missing"] == ["validator-3"]

            await wait_until(has_voted)
            hooks = RecordingHooks()
            await first.stop()
            first.hooks = hooks
            await first.start()
            await third.start()
            await cluster.wait_height(first, (await cluster.get_health(second))["currentHeight"] + 2)
            (beginning,) = hooks.beginnings
            signed = [record.message for record in beginning.records if isinstance(record, Signed)]
            assert signed
            began, effects = hooks.steps[0]
            assert isinstance(began, Started)
            assert not any(isinstance(input, Started) for input, _ in hooks.steps[1:])
            sent = [effect.message for effect in effects if isinstance(effect, Broadcast)]
            height = max(message.height for message in signed)
            assert [message for message in sent if isinstance(message, Vote | Proposal)] == [
                message for message in signed if message.height == height
            ]

    asyncio.run(play())


def test_precommit_that_the_log_does_not_know_ends_the_node(tmp_path: Path) -> None:
    """A whole data folder from a backup looks sound until the blocks since then arrive."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4, height=2)
            last = cluster.nodes[3]
            await last.stop()
            shutil.copytree(tmp_path / last.node_id, tmp_path / "backup")
            reached = (await cluster.get_health(cluster.nodes[0]))["currentHeight"]
            await last.start()
            await cluster.wait_height(last, reached + 10)
            await last.stop()
            shutil.rmtree(tmp_path / last.node_id)
            shutil.move(tmp_path / "backup", tmp_path / last.node_id)
            await last.start()
            assert last.task is not None
            with pytest.raises(StorageError, match="does not know of this node's precommit"):
                await last.task
            await last.start()
            assert "old copy" in (await cluster.wait_state(last, "abstaining"))["reason"]

    asyncio.run(play())
