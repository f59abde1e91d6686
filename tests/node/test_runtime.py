"""Whole validators in one event loop: from pending to a common chain, and what they tell of themselves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.node.cluster import ALICE, BOB, Cluster, make_transfer, run_cluster, wait_until


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
            await cluster.start_approved(4, height=2)
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


def test_metrics(tmp_path: Path) -> None:
    async def play() -> None:
        import httpx

        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1, height=2)
            (node,) = cluster.nodes
            async with httpx.AsyncClient(trust_env=False) as client:
                text = (await client.get(node.url("status") + "/metrics")).text
            lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            assert float(lines["tana_height"]) >= 2
            assert float(lines["tana_blocks_committed_total"]) >= 2
            assert float(lines["tana_log_flush_seconds_count"]) >= 2
            for name in ("round", "peers", "mempool_transactions", "heartbeat_failures_total", "block_bytes_count"):
                assert f"tana_{name}" in lines

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
