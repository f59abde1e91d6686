"""Joining against a mesh that is late, forgetful, or somebody else's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tana.node.folder import DataFolder
from tana.node.joining import load_genesis, store_genesis, verify_genesis
from tana.node.mesh import MeshConnection
from tana.types.errors import SettingsError, StorageError, Unavailable
from tana.types.genesis import SignedGenesis
from tests.node.cluster import SOVEREIGN, Node, make_genesis, make_key, run_cluster, run_mesh, wait_until

SIGNED = make_genesis({"validator-1": make_key("validator-1").public_key})


def test_node_waits_for_a_mesh_that_starts_later(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_mesh() as gone:
            url = gone.url
        async with run_cluster(tmp_path) as cluster:
            node = Node(cluster.make_settings("validator-1", mesh_url=url))
            cluster.nodes.append(node)
            await node.start()

            async def says_why() -> bool:
                health = await cluster.get_health(node)
                return health["state"] == "pending" and "does not answer" in health["reason"]

            await wait_until(says_why)

    asyncio.run(play())


def test_stored_genesis_is_verified_again(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    assert load_genesis(data, SOVEREIGN.public_key) is None
    store_genesis(data, SIGNED)
    assert load_genesis(data, SOVEREIGN.public_key) == SIGNED
    with pytest.raises(SettingsError, match="by sovereign"):
        load_genesis(data, make_key("other").public_key)
    data.genesis_path.write_bytes(data.genesis_path.read_bytes()[:-5])
    with pytest.raises(StorageError, match=r"genesis\.json"):
        load_genesis(data, SOVEREIGN.public_key)


def test_mesh_is_asked_from_the_address_that_is_asked_for() -> None:
    """203.0.113.1 is nobody's (RFC 5737): such as ours on a tailnet that we have left. Then nothing is sent."""

    async def play() -> None:
        seen: list[str] = []

        async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[0])
            writer.close()

        server = await asyncio.start_server(note, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for source in ("127.0.0.9", "203.0.113.1", ""):
            mesh = MeshConnection(url, source=source)
            with pytest.raises(Unavailable):
                await mesh.get_genesis()
            await mesh.close()
        server.close()
        assert seen == ["127.0.0.9", "127.0.0.1"]

    asyncio.run(play())


@pytest.mark.parametrize("signature", ["", "zz", "ed25519_sig_" + "00" * 64, make_key("x").sign_text("other")])
def test_invalid_genesis_signature(signature: str) -> None:
    forged = SignedGenesis(SIGNED.genesis, signature)
    with pytest.raises(SettingsError, match="not signed by the sovereign") as caught:
        verify_genesis(forged, SOVEREIGN.public_key, "the genesis")
    assert caught.value.code == "wrong_sovereign"
    assert "--sovereign" in caught.value.remedy


def test_invalid_mesh_that_is_none() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
        writer.close()

    async def play() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        mesh = MeshConnection(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(Unavailable, match="not as a Tana mesh"):
            await mesh.list_nodes()
        await mesh.close()
        server.close()
        await server.wait_closed()

    asyncio.run(play())
