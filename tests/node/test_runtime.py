"""Whole validators in one event loop: from pending to a common chain, and what must not disturb it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tana.crypto.keys import KeyPair
from tana.node.effects import Broadcast, Effect, Signed
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, Started
from tana.types.errors import SettingsError, StorageError
from tana.types.messages import Proposal, Vote
from tests.node.cluster import ALICE, BOB, Cluster, Node, make_transfer, run_cluster, wait_until


class QuietHooks(Hooks):
    """A node that sends no heartbeat while `is_quiet`."""

    is_quiet = True

    def may_send_heartbeat(self) -> bool:
        return not self.is_quiet


async def _get_common_block(cluster: Cluster, height: int) -> list[Any]:
    return [await cluster.get(node, "ledger", f"/blocks/{height}") for node in cluster.nodes]


def test_three_validators_converge(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            first = await cluster.start_node("validator-1")
            await cluster.wait_registered("validator-1")
            assert (await cluster.get_health(first))["state"] == "pending"
            cluster.mesh.approve("validator-1")
            assert "tana genesis create" in (await cluster.wait_state(first, "awaiting_genesis"))["reason"]
            for name in ("validator-2", "validator-3"):
                await cluster.start_node(name)
                await cluster.wait_registered(name)
                cluster.mesh.approve(name)
            signed = cluster.mesh.publish_genesis()
            for node in cluster.nodes:
                health = await cluster.wait_state(node, "validating")
                assert health["chainId"] == signed.chain_id.hex()
                await cluster.wait_height(node, 2)
            status, answer = await cluster.post(first, "/transactions?wait=commit", make_transfer(0, "12.50"))
            assert (status, answer["status"]) == (200, "committed")
            for node in cluster.nodes:
                await cluster.wait_height(node, answer["height"])
                balances = await cluster.get(node, "ledger", f"/balances/{BOB.public_text}")
                assert balances["balances"] == {"USD": "12.50"}
            blocks = await _get_common_block(cluster, answer["height"])
            assert len({(block["hash"], block["stateRoot"]) for block in blocks}) == 1
            assert blocks[0]["hash"] == answer["blockHash"]
            assert [row["id"] for row in blocks[0]["transactions"]] == [answer["id"]]

            async def all_active() -> bool:
                return all(row["last_heartbeat"] for row in cluster.mesh.list_nodes("active"))

            await wait_until(all_active)

    asyncio.run(play())


def test_stopped_validator_catches_up(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4)
            for node in cluster.nodes:
                await cluster.wait_height(node, 2)
            last = cluster.nodes[3]
            await last.stop()
            reached = (await cluster.get_health(cluster.nodes[0]))["currentHeight"]
            await cluster.wait_height(cluster.nodes[0], reached + 5)
            await last.start()
            await cluster.wait_height(last, reached + 5)
            await cluster.wait_state(last, "validating")
            blocks = await _get_common_block(cluster, reached + 5)
            assert len({(block["hash"], block["stateRoot"]) for block in blocks}) == 1
            status, answer = await cluster.post(last, "/transactions?wait=commit", make_transfer(0))
            assert (status, answer["status"]) == (200, "committed")
            balances = await cluster.get(last, "ledger", f"/balances/{ALICE.public_text}")
            assert balances["nonce"] == 1

    asyncio.run(play())


def test_follower_is_approved_after_the_genesis(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1)
            follower = await cluster.start_node("follower")
            await cluster.wait_registered("follower")
            assert (await cluster.get_health(follower))["state"] == "pending"
            cluster.mesh.approve("follower")
            await cluster.wait_state(follower, "following")
            await cluster.wait_height(follower, 1)
            status, answer = await cluster.post(follower, "/transactions?wait=commit", make_transfer(0))
            assert (status, answer["status"]) == (200, "committed")
            blocks = await _get_common_block(cluster, answer["height"])
            assert blocks[0]["hash"] == blocks[1]["hash"]

    asyncio.run(play())


def test_denied_follower_is_cut_off_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mesh tells it: nobody waits for the next time that it is asked."""
    monkeypatch.setattr("tana.node.discovery._PAUSE_S", 3600.0)

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(2)
            first, second = cluster.nodes
            follower = await cluster.start_node("follower")
            await cluster.wait_registered("follower")
            cluster.mesh.approve("follower")
            await cluster.wait_state(follower, "following")

            async def count_peers() -> list[int]:
                return [(await cluster.get_health(node))["peers"] for node in (first, second, follower)]

            async def are_all_connected() -> bool:
                return await count_peers() == [2, 2, 2]

            await wait_until(are_all_connected)
            cluster.mesh.deny("follower")

            async def is_cut_off() -> bool:
                return await count_peers() == [1, 1, 0]

            await wait_until(is_cut_off)

            async def says_why() -> bool:
                return "denied this node" in (await cluster.get_health(follower)).get("reason", "")

            await wait_until(says_why)
            reached = (await cluster.get_health(first))["currentHeight"]
            await cluster.wait_height(second, reached + 3)
            assert await count_peers() == [1, 1, 0]

    asyncio.run(play())


def test_mesh_outage_does_not_matter(tmp_path: Path) -> None:
    """With the mesh gone for good, the chain goes on, and nodes that restart find each other again."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            for node in cluster.nodes:
                await cluster.wait_height(node, 2)
            for node in cluster.nodes:
                await node.stop()
                node.settings = msgspec.structs.replace(node.settings, mesh_url="http://127.0.0.1:1")
            for node in cluster.nodes:
                await node.start()
            reached = (await cluster.get_health(cluster.nodes[0]))["currentHeight"]
            for node in cluster.nodes:
                await cluster.wait_height(node, reached + 5)

    asyncio.run(play())


def test_mesh_that_hangs_delays_no_block(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1)
            (node,) = cluster.nodes
            await cluster.wait_height(node, 1)
            await node.stop()
            asked = asyncio.Event()
            release = asyncio.Event()

            async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked.set()
                await release.wait()
                writer.close()

            server = await asyncio.start_server(hang, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            node.settings = msgspec.structs.replace(node.settings, mesh_url=f"http://127.0.0.1:{port}")
            await node.start()
            await asked.wait()
            reached = (await cluster.get_health(node))["currentHeight"]
            # No request to the mesh has been answered: every block from here on was made while it hung.
            await cluster.wait_height(node, reached + 10)
            assert not release.is_set()
            await node.stop()
            release.set()
            server.close()
            await server.wait_closed()

    asyncio.run(play())


def test_heartbeats_stop_and_come_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            hooks = QuietHooks()
            node = await cluster.start_node("validator-1", hooks, heartbeat_interval_ms=20)
            await cluster.wait_registered("validator-1")
            cluster.mesh.approve("validator-1")
            cluster.mesh.publish_genesis()
            await cluster.wait_height(node, 3)
            assert cluster.mesh.list_nodes()[0]["last_heartbeat"] is None
            hooks.is_quiet = False

            async def look() -> Any:
                return cluster.mesh.list_nodes()[0]["last_heartbeat"]

            await wait_until(look)
            row = cluster.mesh.list_nodes()[0]
            assert row["consensus"]["height"] >= 3
            assert {service["service_type"]: service["healthy"] for service in row["services"]} == {
                "ledger": True,
                "t4": True,
                "consensus": True,
            }

    asyncio.run(play())


def test_denied_node_stops_with_a_reason(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            node = await cluster.start_node("validator-1")
            await cluster.wait_registered("validator-1")
            cluster.mesh.deny("validator-1")
            assert "denied" in (await cluster.wait_state(node, "stopped"))["reason"]

    asyncio.run(play())


def test_wiped_sign_state_abstains(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4)
            for node in cluster.nodes:
                await cluster.wait_height(node, 1)
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


def test_nothing_is_heard_before_the_log_is_replayed(tmp_path: Path) -> None:
    """Elsewhere votes were handled before the replay had ended (malachite#850). And what was signed is sent again."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            first, second, third = cluster.nodes
            for node in cluster.nodes:
                await cluster.wait_height(node, 2)
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
            await cluster.start_approved(4)
            for node in cluster.nodes:
                await cluster.wait_height(node, 2)
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


def test_metrics(tmp_path: Path) -> None:
    async def play() -> None:
        import httpx

        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1)
            (node,) = cluster.nodes
            await cluster.wait_height(node, 2)
            async with httpx.AsyncClient(trust_env=False) as client:
                text = (await client.get(node.url("status") + "/metrics")).text
            lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            assert float(lines["tana_height"]) >= 2
            assert float(lines["tana_blocks_committed_total"]) >= 2
            assert float(lines["tana_log_flush_seconds_count"]) >= 2
            for name in ("round", "peers", "mempool_transactions", "heartbeat_failures_total", "block_bytes_count"):
                assert f"tana_{name}" in lines

    asyncio.run(play())


def test_invalid_genesis_of_another_sovereign(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            node = await cluster.start_node("validator-1", sovereign=KeyPair.generate().public_text)
            await cluster.wait_registered("validator-1")
            cluster.mesh.approve("validator-1")
            cluster.mesh.publish_genesis()
            assert node.task is not None
            with pytest.raises(SettingsError, match="by sovereign") as caught:
                await node.task
            assert "TANA_SOVEREIGN" in caught.value.remedy
            assert not (tmp_path / "validator-1" / "genesis.json").exists()
            cluster.nodes.clear()

    asyncio.run(play())


def test_invalid_stored_genesis(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1)
            (node,) = cluster.nodes
            await cluster.wait_height(node, 1)
            await node.stop()
            path = tmp_path / "validator-1" / "genesis.json"
            body = json.loads(path.read_text())
            body["genesis"]["createdAt"] += 1
            del body["chainId"]
            path.write_text(json.dumps(body))
            await _assert_ends(node, SettingsError, str(path))
            path.write_text("{")
            await _assert_ends(node, StorageError, str(path))

    asyncio.run(play())


def test_invalid_chain_of_another_genesis(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path / "first") as cluster:
            await cluster.start_approved(1)
            await cluster.wait_height(cluster.nodes[0], 1)
        async with run_cluster(tmp_path / "second") as cluster:
            await cluster.start_approved(1)
            (node,) = cluster.nodes
            await cluster.wait_height(node, 1)
            await node.stop()
            other = tmp_path / "first" / "validator-1" / "chain.db"
            shutil.copy(other, tmp_path / "second" / "validator-1" / "chain.db")
            await _assert_ends(node, StorageError, "chain.db")

    asyncio.run(play())


def test_invalid_node_id_of_another_key(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_node("validator-1")
            await cluster.wait_registered("validator-1")
            settings = cluster.make_settings(
                "validator-1", data_dir=str(tmp_path / "other"), config_dir=str(tmp_path / "other-config")
            )
            await _assert_ends(Node(settings), SettingsError, "belongs to another key")

    asyncio.run(play())


def test_invalid_port_taken(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                settings = cluster.make_settings("validator-1", status_port=port)
                with pytest.raises(SettingsError, match=f"status port {port}"):
                    await Node(settings).start()

    asyncio.run(play())


def test_invalid_same_data_folder_twice(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_node("validator-1")
            with pytest.raises(SettingsError, match="another validator is running"):
                await Node(cluster.make_settings("validator-1")).start()

    asyncio.run(play())


def test_process_ends_on_sigterm_and_tells_no_secret(tmp_path: Path) -> None:
    code = (
        "import os; from tana.node.settings import load_settings; from tana.node.main import run_validator_process;"
        "run_validator_process(load_settings({}, os.environ))"
    )

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            settings = cluster.make_settings("validator-1")
            environment = {
                **os.environ,
                "TANA_NODE_ID": settings.node_id,
                "TANA_SOVEREIGN": settings.sovereign,
                "MESH_URL": settings.mesh_url,
                "TANA_DATA_DIR": settings.data_dir,
                "TANA_CONFIG_DIR": settings.config_dir,
                **dict.fromkeys(("LEDGER_PORT", "T4_PORT", "TANA_PEER_PORT", "TANA_STATUS_PORT"), "0"),
                "TANA_EMPTY_BLOCK_INTERVAL_MS": "20",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                await cluster.wait_registered("validator-1")
                cluster.mesh.approve("validator-1")
                cluster.mesh.publish_genesis()

                async def has_height() -> bool:
                    row = cluster.mesh.list_nodes()[0]
                    return bool(row["last_heartbeat"])

                await wait_until(has_height)
                process.terminate()
                output, errors = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            assert process.returncode == 0
            assert errors == b""
            lines = [json.loads(line) for line in output.splitlines()]
            assert [line["event"] for line in lines][:2] == ["listening", "registered"]
            assert lines[-1]["event"] == "stopping"
            for path in (tmp_path / "config").glob("*.json"):
                assert json.loads(path.read_text())["privateKey"][8:].encode() not in output

    asyncio.run(play())


async def _assert_ends(node: Node, kind: type[Exception], words: str) -> None:
    """The node starts, and ends with an error that says these words and what to do."""
    await node.start()
    assert node.task is not None
    with pytest.raises(kind) as caught:
        await node.task
    node.stop_event.set()
    assert words in str(caught.value)
    assert getattr(caught.value, "remedy", "")
