"""Whole validators that must not start, and what each says to whoever started it."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from pathlib import Path

import pytest

from tana.crypto.keys import KeyPair
from tana.types.errors import SettingsError, StorageError
from tests.node.cluster import Node, run_cluster


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
            await cluster.start_approved(1, height=1)
            (node,) = cluster.nodes
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
            await cluster.start_approved(1, height=1)
            (node,) = cluster.nodes
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


async def _assert_ends(node: Node, kind: type[Exception], words: str) -> None:
    """The node starts, and ends with an error that says these words and what to do."""
    await node.start()
    assert node.task is not None
    with pytest.raises(kind) as caught:
        await node.task
    node.stop_event.set()
    assert words in str(caught.value)
    assert getattr(caught.value, "remedy", "")
