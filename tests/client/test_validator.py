"""The client of a validator against a real one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tana.client.validator import ValidatorClient
from tana.types.errors import InvalidInput, NotFound, Unauthorized, Unavailable
from tests.node.cluster import ALICE, BOB, make_transfer, run_cluster


def _use(client: ValidatorClient) -> None:
    assert client.get_status()["state"] == client.get_health()["state"] == "validating"
    answer = client.submit(make_transfer(0, "2.50"), wait=True)
    assert answer["status"] == "committed"
    block = client.get_block(answer["height"])
    assert block["hash"] == answer["blockHash"]
    assert block["height"] in [row["height"] for row in client.list_blocks(answer["height"], limit=5)]
    assert client.get_latest_block()["height"] >= answer["height"]
    assert client.get_transaction(answer["id"])["status"] == "committed"
    assert client.find_transaction("00" * 32) is None
    assert client.get_quorum(block["hash"])["hasQuorum"]
    assert client.get_balances(BOB.public_text)["balances"] == {"USD": "2.50"}
    assert client.get_supply()["supply"] == {"USD": "10000"}
    assert "@alice" in [user["username"] for user in client.list_users()]
    assert client.list_peers() == []
    rows = client.submit_many([make_transfer(1), make_transfer(2), {}], wait=True)
    assert [row["status"] for row in rows] == ["committed", "committed", "refused"]
    assert client.submit(make_transfer(2))["status"] == "committed"
    assert client.list_pending() == []
    assert client.get_t4_health()["status"] == "ok"


def _fail(client: ValidatorClient) -> None:
    with pytest.raises(NotFound):
        client.get_block(10**9)
    with pytest.raises(NotFound):
        client.get_content("00" * 32)
    with pytest.raises(Unauthorized) as caught:
        client.submit({**make_transfer(3), "signature": make_transfer(4)["signature"]})
    assert caught.value.code == "bad_signature"
    with pytest.raises(InvalidInput) as refused:
        client.submit(make_transfer(3, "9999.00", sender=ALICE))
    assert (refused.value.code, refused.value.field) == ("insufficient_balance", "amount")


def test_every_call(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1, height=1)
            (node,) = cluster.nodes
            with ValidatorClient(node.url("ledger"), node.url("status"), node.url("t4")) as client:
                await asyncio.to_thread(_use, client)
                await asyncio.to_thread(_fail, client)

    asyncio.run(play())


def test_invalid_nobody_answers() -> None:
    with ValidatorClient("http://127.0.0.1:1") as client, pytest.raises(Unavailable) as caught:
        client.get_health()
    assert "tana validator run" in caught.value.remedy
