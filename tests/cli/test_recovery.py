"""`tana validator recover` against real validators: what it asks, what it refuses, and that the chain goes on."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
from typer.testing import CliRunner

from tana.cli.main import app
from tana.node.effects import Broadcast, Effect
from tana.node.hooks import Hooks
from tana.node.inputs import Input
from tana.types.messages import Proposal, Vote
from tests.node.cluster import SOVEREIGN, Cluster, Node, make_transfer, run_cluster, wait_until


class SignatureHooks(Hooks):
    """Every vote and proposal that a node ever sent, over all its lives. Raises where it signs a slot twice."""

    def __init__(self) -> None:
        self.key = b""
        self.signed: dict[tuple[int, int, int], Vote | Proposal] = {}

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Broadcast) and isinstance(effect.message, Vote | Proposal):
                message = effect.message
                slot = (message.height, message.round, message.kind if isinstance(message, Vote) else 0)
                assert self.signed.setdefault(slot, message) == message, f"signed twice: {slot}"
        return effects


async def _recover(cluster: Cluster, node: Node, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command, run beside the nodes."""
    flags = {
        "--node-id": node.node_id,
        "--sovereign": SOVEREIGN.public_text,
        "--mesh-url": cluster.mesh.url,
        "--data": node.settings.data_dir,
        "--config-dir": node.settings.config_dir,
    }
    words = [word for pair in flags.items() for word in pair]
    result = await asyncio.to_thread(CliRunner().invoke, app, ["validator", "recover", *words, *arguments])
    return result.exit_code, result.output


async def _start_three(cluster: Cluster) -> None:
    await cluster.start_approved(3)
    for node in cluster.nodes:
        await node.stop()
        node.hooks = SignatureHooks()
        await node.start()
    for node in cluster.nodes:
        await cluster.wait_height(node, 2)


async def _wipe(cluster: Cluster, node: Node) -> dict[str, Any]:
    await node.stop()
    shutil.rmtree(Path(node.settings.data_dir) / "sign-state")
    await node.start()
    return await cluster.wait_state(node, "abstaining")


async def _wait_stuck(cluster: Cluster, node: Node, missing: list[str]) -> dict[str, Any]:
    """The node lacks a quorum and has said so several times."""

    async def look() -> dict[str, Any] | None:
        consensus: dict[str, Any] = (await cluster.get_health(node))["consensus"]
        is_stuck = set(missing) <= set(consensus["missing"]) and consensus["announcements"] >= 3
        return consensus if is_stuck else None

    return await wait_until(look)


def test_chain_of_three_halts_until_the_wiped_one_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await _start_three(cluster)
            first, second, third = cluster.nodes
            health = await _wipe(cluster, third)
            assert "tana validator recover" in health["reason"]
            await _wait_stuck(cluster, first, ["validator-3"])
            height = (await cluster.get_health(first))["currentHeight"]
            for node in (second, third):
                await cluster.wait_height(node, height)

            code, said = await _recover(cluster, third, "--height", "999", "--round", "0")
            assert code == 2
            assert "another validator is running" in said
            await third.stop()
            code, said = await _recover(cluster, third)
            assert code == 2
            assert f"--height {height + 1} --round " in said
            seen_round = int(said.split("--round ")[1].split(",", maxsplit=1)[0])
            code, said = await _recover(cluster, third, "--height", str(height), "--round", "7")
            assert code == 1
            assert f"height {height} is final here" in said
            assert not (Path(third.settings.data_dir) / "sign-state").exists()

            slot = ("--height", str(height + 1), "--round", str(seen_round))
            code, said = await _recover(cluster, third, *slot, "--json")
            assert code == 0, said
            done = json.loads(said)
            assert {answer["nodeId"] for answer in done["answers"]} == {"validator-1", "validator-2"}
            assert (done["height"], done["round"], done["silent"]) == (height + 1, seen_round, [])
            code, said = await _recover(cluster, third, *slot)
            assert code == 1
            assert "nothing to recover" in said

            await third.start()
            await cluster.wait_height(first, height + 5)
            health = await cluster.wait_state(third, "validating")
            assert health["recovered"]["height"] == height + 1
            assert "is missing" in health["recovered"]["lost"]
            status, answer = await cluster.post(third, "/transactions?wait=commit", make_transfer(0))
            assert (status, answer["status"]) == (200, "committed")

    asyncio.run(play())


def test_chain_of_three_halts_until_every_wiped_one_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await _start_three(cluster)
            for node in cluster.nodes:
                await _wipe(cluster, node)
            heights = {(await cluster.get_health(node))["currentHeight"] for node in cluster.nodes}

            async def are_level() -> bool:
                healths = [await cluster.get_health(node) for node in cluster.nodes]
                return len({health["currentHeight"] for health in healths}) == 1

            await wait_until(are_level)
            height = (await cluster.get_health(cluster.nodes[0]))["currentHeight"]
            assert height == max(heights)
            for number, node in enumerate(cluster.nodes):
                await node.stop()
                _, said = await _recover(cluster, node)
                slot = said.split("give ")[1].split(",", maxsplit=1)[0].split()
                code, said = await _recover(cluster, node, *slot)
                assert code == 0, said
                await node.start()
                if number < 2:
                    missing = [other.node_id for other in cluster.nodes[number + 1 :]]
                    await _wait_stuck(cluster, node, missing)
                    assert (await cluster.get_health(node))["currentHeight"] == height
            for node in cluster.nodes:
                await cluster.wait_height(node, height + 3)
            blocks = [await cluster.get(node, "ledger", f"/blocks/{height + 3}") for node in cluster.nodes]
            assert len({block["hash"] for block in blocks}) == 1

    asyncio.run(play())


def test_silent_validators_must_be_vouched_for(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await _start_three(cluster)
            first, second, third = cluster.nodes
            await _wipe(cluster, third)
            for node in (second, third):
                await node.stop()
            # Its chain is gone as well: then the mesh says whom to ask.
            shutil.rmtree(third.settings.data_dir)
            code, said = await _recover(cluster, third, "--height", "1000", "--round", "0")
            assert code == 3
            assert "validator-2: the validator at" in said
            assert "--accept-silence" in said
            code, said = await _recover(cluster, third, "--height", "1", "--round", "0", "--accept-silence")
            assert code == 1
            assert "validator-1 has seen height" in said
            third.settings = msgspec.structs.replace(third.settings, mesh_url="http://127.0.0.1:1")
            code, said = await _recover(
                cluster, third, "--height", "1000", "--round", "0", "--accept-silence", "--ask", first.url("ledger")
            )
            assert code == 0, said
            assert "validator-2 gave no answer; you vouched for them" in said

    asyncio.run(play())


def test_invalid_slot() -> None:
    for arguments in (["--height", "3"], ["--round", "3"], ["--height", "0", "--round", "1"], ["--round", "-1"]):
        result = CliRunner().invoke(app, ["validator", "recover", "--node-id", "validator-1", *arguments])
        assert result.exit_code == 2, result.output


def test_invalid_node_without_a_key(tmp_path: Path) -> None:
    flags = ["--node-id", "validator-1", "--sovereign", SOVEREIGN.public_text, "--config-dir", str(tmp_path)]
    result = CliRunner().invoke(app, ["validator", "recover", *flags, "--data", str(tmp_path / "data")])
    assert result.exit_code == 2
    assert "node-key-validator-1.json" in result.output
    assert not (tmp_path / "data").exists()
