"""The validator's calls: what they answer about a small chain, and how they refuse what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tana.consensus.announcements import create_announcement
from tana.crypto.keys import format_public_key
from tana.ledger.mempool import Admission, Mempool
from tana.node.api import NodeApi, NodeInfo
from tana.node.blocks import MemoryBlocks
from tana.node.inputs import PeerConnected, Received, Started
from tana.node.machine import Machine, MachineConfig
from tana.types.transaction import SignedTransaction
from tests.node.chain import VALIDATOR, Chain
from tests.node.cluster import ALICE, BOB, SOVEREIGN, make_genesis, make_key, make_transfer


class Fixture:
    """An API over a chain of two blocks, and a mempool that takes what is submitted."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.blocks = MemoryBlocks()
        for bodies in ([make_transfer(0, "1.50")], [make_transfer(1), make_transfer(2)]):
            self.blocks.append(*self.chain.grow(*bodies))
        mempool = Mempool(self.chain.ledger)
        self.machine = Machine(MachineConfig(), self.chain.ledger, mempool, None, own_key=VALIDATOR.public_key)
        self.machine.step(Started(), 0)
        self.batches: list[int] = []
        self.api = NodeApi(NodeInfo("validator-1", VALIDATOR.public_key), self.machine, self.blocks, self._submit)

    def _submit(self, transactions: tuple[SignedTransaction, ...]) -> list[Admission]:
        self.batches.append(len(transactions))
        return [self.machine.mempool.add(transaction) for transaction in transactions]

    def get(self, path: str, **query: str) -> Any:
        status, answer = self.api.handle("GET", path, query)
        assert status == 200, answer
        return answer

    def post(self, body: Any, path: str = "/transactions") -> tuple[int, Any]:
        return self.api.handle("POST", path, {}, body)


@pytest.fixture
def node() -> Fixture:
    return Fixture()


def test_pending_node_answers_health_only() -> None:
    info = NodeInfo("validator-1", VALIDATOR.public_key, reason="waiting")
    api = NodeApi(info)
    status, health = api.handle("GET", "/health")
    assert (status, health["state"], health["reason"]) == (200, "pending", "waiting")
    assert api.handle("GET", "/peers") == (200, {"peers": []})
    for method, path in (("GET", "/blocks/latest"), ("GET", "/users"), ("POST", "/transactions")):
        status, answer = api.handle(method, path, {}, {})
        assert (status, answer["code"]) == (503, "unavailable")


def _announce(machine: Machine, peer: bytes, height: int) -> None:
    """A peer says that its last final block is `height`."""
    machine.step(PeerConnected(peer), 0)
    announcement = msgspec.structs.replace(create_announcement(machine.core), height=height + 1)
    machine.step(Received(peer, announcement), 0)


def test_health_tells_how_far_catching_up_is() -> None:
    """A stranger's claim counts for nothing beside those of validators with a third of the power."""
    keys = {f"validator-{number}": make_key(f"validator-{number}").public_key for number in range(1, 5)}
    chain = Chain(make_genesis(keys))
    machine = Machine(MachineConfig(), chain.ledger, Mempool(chain.ledger), None, own_key=keys["validator-1"])
    machine.step(Started(), 0)
    node = Fixture()
    api = NodeApi(NodeInfo("validator-1", keys["validator-1"]), machine, MemoryBlocks(), node._submit)
    assert "syncing" not in api.handle("GET", "/health")[1]
    for name, height in (("validator-2", 9_000_000), ("validator-3", 10_000), ("validator-4", 9_990)):
        _announce(machine, keys[name], height)
    _announce(machine, make_key("stranger").public_key, 8_000_000)
    health = api.handle("GET", "/health")[1]
    assert health["state"] == "syncing"
    assert health["syncing"] == {"height": 0, "target": 10_000}


def test_validators_now_and_next(node: Fixture) -> None:
    answer = node.get("/validators")
    row = {"id": "validator-1", "publicKey": format_public_key(VALIDATOR.public_key), "power": 1}
    assert answer == {
        "height": 2,
        "decidingHeight": 3,
        "validators": [row],
        "upcomingHeight": 4,
        "upcoming": [row],
    }


def test_health_tells_where_the_node_stands(node: Fixture) -> None:
    health = node.get("/health")
    ledger = node.chain.ledger
    assert health["status"] == "ok"
    assert health["validatorId"] == "validator-1"
    assert health["currentHeight"] == 2
    assert health["blockHash"] == ledger.block_hash.hex()
    assert health["stateRoot"] == ledger.state_root.hex()
    assert health["chainId"] == ledger.chain_id.hex()
    assert health["consensus"]["decidingHeight"] == 3
    assert health["consensus"]["missing"] == ["validator-1"]
    assert health["consensus"]["quorumPower"] == 1


def test_peers_come_with_the_address_of_their_link() -> None:
    node = Fixture()
    peer = b"p" * 32
    node.api.start(node.machine, node.blocks, node._submit, lambda: {peer: "100.64.0.7:9000"})
    node.machine.step(PeerConnected(peer), 0)
    (row,) = node.get("/peers")["peers"]
    assert (row["publicKey"], row["address"]) == (format_public_key(peer), "100.64.0.7:9000")


def test_blocks(node: Fixture) -> None:
    latest = node.get("/blocks/latest")
    first = node.get("/blocks/1")
    assert latest == node.get("/blocks/2")
    assert latest["previousHash"] == first["hash"]
    assert latest["txCount"] == len(latest["transactions"]) == 2
    assert latest["certificate"]["blockHash"] == latest["hash"]
    assert latest["signature"] == latest["certificate"]["signatures"][0]["signature"]
    assert first["transactions"][0]["amount"] == "1.50"
    expected = {
        "height",
        "hash",
        "previousHash",
        "timestamp",
        "producer",
        "transactions",
        "stateChanges",
        "contentRefs",
        "txRoot",
        "stateRoot",
        "txCount",
        "signature",
    }
    assert expected <= set(first)


def test_block_listing_goes_on_where_it_ended(node: Fixture) -> None:
    page = node.get("/blocks", **{"from": "1", "limit": "1"})
    assert ([block["height"] for block in page["blocks"]], page["next"]) == ([1], 2)
    page = node.get("/blocks", **{"from": str(page["next"])})
    assert ([block["height"] for block in page["blocks"]], page["next"]) == ([2], None)
    assert [block["height"] for block in node.get("/blocks")["blocks"]] == [1, 2]
    assert node.get("/blocks", **{"from": "9"})["blocks"] == []


def test_balances_users_and_supply(node: Fixture) -> None:
    assert node.get(f"/balances/{BOB.public_text}")["balances"] == {"USD": "3.50"}
    assert node.get(f"/balances/{ALICE.public_text}")["nonce"] == 3
    assert {user["username"] for user in node.get("/users")["users"]} >= {"@alice", "@bob"}
    assert node.get("/state/supply")["supply"] == {"USD": "10000"}


def test_transaction_is_pending_then_committed(node: Fixture) -> None:
    status, answer = node.post(make_transfer(3))
    assert (status, answer["status"]) == (202, "accepted")
    found = node.get(f"/transactions/{answer['id']}")
    assert (found["status"], found["transaction"]["nonce"]) == ("pending", 3)
    assert [row["id"] for row in node.get("/transactions/pending")["transactions"]] == [answer["id"]]
    committed = node.get("/blocks/1")["transactions"][0]
    found = node.get(f"/transactions/{committed['id']}")
    assert (found["status"], found["height"], found["transaction"]) == ("committed", 1, committed)


def test_same_transaction_again(node: Fixture) -> None:
    assert node.post(make_transfer(3))[1]["status"] == "accepted"
    assert node.post(make_transfer(3))[1]["status"] == "known"
    status, answer = node.post(make_transfer(0, "1.50"))
    assert (status, answer["status"]) == (202, "committed")


def test_batch_is_one_submission_with_a_row_each(node: Fixture) -> None:
    forged = {**make_transfer(4), "signature": make_transfer(5)["signature"]}
    status, answer = node.post([make_transfer(3), {"type": "transfer"}, forged, make_transfer(0, "1.50"), 7])
    assert status == 202
    rows = answer["results"]
    assert [row["status"] for row in rows] == ["accepted", "refused", "refused", "committed", "refused"]
    assert rows[1]["code"] == "missing_field"
    assert rows[2]["code"] == "bad_signature"
    assert node.batches == [3]


def test_quorum_of_a_final_block(node: Fixture) -> None:
    answer = node.get(f"/quorum/{node.get('/blocks/1')['hash']}")
    assert (answer["committed"], answer["hasQuorum"], answer["height"]) == (True, True, 1)
    assert answer["voters"] == [{"id": "validator-1", "publicKey": VALIDATOR.public_text}]
    answer = node.get(f"/quorum/{'00' * 32}")
    assert (answer["committed"], answer["hasQuorum"], answer["power"]) == (False, False, 0)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ([{}] * 1001, 413, "too_large", "body"),
        (None, 400, "invalid_input", "transaction"),
        ("text", 400, "invalid_input", "transaction"),
        ({**make_transfer(3), "colour": "red"}, 400, "unknown_field", "colour"),
        ({**make_transfer(3), "nonce": "3"}, 400, "invalid_input", "nonce"),
        ({**make_transfer(3), "amount": 5}, 400, "invalid_input", "amount"),
        ({**make_transfer(3), "signature": "zz"}, 400, "malformed_signature", "signature"),
        ({**make_transfer(3), "signature": 5}, 400, "malformed_signature", "signature"),
        (
            {key: value for key, value in make_transfer(3).items() if key != "signature"},
            400,
            "missing_field",
            "signature",
        ),
        ({**make_transfer(3), "signature": make_transfer(4)["signature"]}, 401, "bad_signature", "signature"),
        (make_transfer(3, "9999.00"), 400, "insufficient_balance", "amount"),
        (make_transfer(0, "2.00"), 409, "nonce_too_low", "nonce"),
    ],
)
def test_invalid_transaction(node: Fixture, body: Any, status: int, code: str, field: str) -> None:
    answered, answer = node.post(body)
    if code != "nonce_too_low":
        assert (answered, answer["code"], answer["field"]) == (status, code, field)
    else:
        assert answered == 409
    assert answer["error"]


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("DELETE", "/blocks/1", {}, 404),
        ("GET", "/blocks/3", {}, 404),
        ("GET", "/blocks/0", {}, 404),
        ("GET", "/blocks/-1", {}, 400),
        ("GET", "/blocks/1e3", {}, 400),
        ("GET", "/blocks/99999999999999999999999", {}, 400),
        ("GET", "/blocks", {"limit": "0"}, 400),
        ("GET", "/blocks", {"limit": "101"}, 400),
        ("GET", "/blocks", {"from": "x"}, 400),
        ("GET", "/balances/nobody", {}, 400),
        ("GET", f"/balances/{make_key('nobody').public_text}", {}, 404),
        ("GET", "/transactions/xyz", {}, 404),
        ("GET", "/quorum/xyz", {}, 400),
    ],
)
def test_invalid_request(node: Fixture, method: str, path: str, query: dict[str, str], status: int) -> None:
    answered, answer = node.api.handle(method, path, query)
    assert answered == status
    assert answer["error"]
    assert answer["code"]


def test_invalid_type_for_users(node: Fixture) -> None:
    status, answer = node.post(make_transfer(3), "/users")
    assert (status, answer["field"]) == (400, "type")


def test_sovereign_is_a_user(node: Fixture) -> None:
    roles = {user["publicKey"]: user["role"] for user in node.get("/users")["users"]}
    assert roles[SOVEREIGN.public_text] == "sovereign"
