"""Whole validators and their mesh: denial, an outage, heartbeats that stop. The chain goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tana.node.hooks import Hooks
from tests.node.cluster import run_cluster, wait_until


class QuietHooks(Hooks):
    """A node that sends no heartbeat while `is_quiet`."""

    is_quiet = True

    def may_send_heartbeat(self) -> bool:
        return not self.is_quiet


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


def test_denied_node_stops_with_a_reason(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            node = await cluster.start_node("validator-1")
            await cluster.wait_registered("validator-1")
            cluster.mesh.deny("validator-1")
            assert "denied" in (await cluster.wait_state(node, "stopped"))["reason"]

    asyncio.run(play())


def test_mesh_outage_does_not_matter(tmp_path: Path) -> None:
    """With the mesh gone for good, the chain goes on, and nodes that restart find each other again."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3, height=2)
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
            await cluster.start_approved(1, height=1)
            (node,) = cluster.nodes
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
