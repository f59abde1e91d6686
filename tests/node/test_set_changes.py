"""The validator set changes under a running chain: who votes, who stops, and who catches up through it all."""

from __future__ import annotations

from typing import Any

from tana.node.effects import Signed
from tana.node.machine import MachineConfig
from tana.types.transaction import SignedTransaction, Transaction
from tests.node.machine_net import SOVEREIGN, START_MS, MachineNet, NetNode


def change(net: MachineNet, index: int, power: int, nonce: int, **fields: Any) -> SignedTransaction:
    """A sovereign's change of node `index`, whose id is that of the genesis unless `fields` say otherwise."""
    body = {"nodeId": f"validator-{index}", "power": power, **fields}
    key = net.keys[index].public_text
    transaction = Transaction("validator_change", SOVEREIGN.public_text, key, START_MS, nonce, contract_input=body)
    text = transaction.to_text().encode()
    return SignedTransaction(text, SOVEREIGN.sign(text), transaction)


def committed_at(node: NetNode, transaction: SignedTransaction) -> int:
    leaves = {raw.leaf: block.height for block, _ in node.chain for raw in block.transactions}
    return leaves[transaction.leaf]


def submit_and_wait(net: MachineNet, transaction: SignedTransaction) -> int:
    """The height that committed the transaction; everybody is two heights further on, where it is in force."""
    assert net.submit(0, transaction)[0].status == "accepted"
    net.run_until(
        lambda: any(raw.leaf == transaction.leaf for block, _ in net.nodes[0].chain for raw in block.transactions)
    )
    height = committed_at(net.nodes[0], transaction)
    net.run_until(net.all_at(height + 3), limit_ms=120_000)
    return height


def signed_heights(node: NetNode) -> list[int]:
    return sorted({record.message.height for record in node.log if isinstance(record, Signed)})


def powers_of(net: MachineNet) -> dict[str, int]:
    """The powers in force, the same on every node."""
    found = {
        tuple((item.node_id, item.power) for item in node.machine.ledger.validators.validators)
        for node in net.nodes
        if node.is_up
    }
    assert len(found) == 1
    return dict(found.pop())


def check_chains(net: MachineNet) -> None:
    """Every certificate verifies with the set that its height had, and headers name the sets that followed."""
    for node in net.nodes:
        ledger = node.machine.ledger
        for (block, certificate), (after, _) in zip(node.chain, node.chain[1:], strict=False):
            members = ledger.find_members(block.height)
            assert members is not None
            assert block.header.validators_hash == members.hash
            assert block.header.next_validators_hash == after.header.validators_hash
            voters = {item.validator for item in certificate.signatures}
            assert voters <= set(members.powers)


def test_a_follower_joins_and_signs_from_the_height_where_it_is_in_force() -> None:
    net = MachineNet(4, validators=3)
    net.run_until(net.all_at(2))
    height = submit_and_wait(net, change(net, 3, 1, 0))
    net.run_until(net.all_at(height + 6))
    assert signed_heights(net.nodes[3])[0] == height + 2
    assert net.nodes[3].machine.status().state == "validating"
    assert sum(powers_of(net).values()) == 4
    check_chains(net)


def test_a_validator_leaves_and_stops_signing() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(2))
    height = submit_and_wait(net, change(net, 3, 0, 0))
    net.run_until(net.all_at(height + 6))
    assert signed_heights(net.nodes[3])[-1] <= height + 1
    assert net.nodes[3].machine.status().state == "following"
    assert powers_of(net) == {f"validator-{index}": 1 for index in range(3)}
    check_chains(net)
    # It is not needed any more.
    net.stop(3)
    net.run_until(lambda: min(net.heights()[:3]) >= height + 10)


def test_power_changes_and_so_does_the_quorum() -> None:
    net = MachineNet(4)
    net.run_until(net.all_at(1))
    submit_and_wait(net, change(net, 0, 2, 0))
    assert powers_of(net)["validator-0"] == 2
    assert net.nodes[1].machine.status().quorum_power == 4
    # Of a power of 5, one may be missing.
    net.stop(1)
    top = max(net.heights())
    net.run_until(lambda: all(len(net.nodes[index].chain) >= top + 3 for index in (0, 2, 3)), limit_ms=120_000)
    check_chains(net)


def test_a_key_is_replaced_and_the_node_keeps_its_id() -> None:
    net = MachineNet(5, validators=4)
    net.run_until(net.all_at(2))
    old = net.keys[3]
    height = submit_and_wait(net, change(net, 4, 1, 0, nodeId="validator-3", replaces=old.public_text))
    net.run_until(net.all_at(height + 6))
    assert powers_of(net) == {f"validator-{index}": 1 for index in range(4)}
    assert signed_heights(net.nodes[3])[-1] <= height + 1
    assert signed_heights(net.nodes[4])[0] == height + 2
    check_chains(net)
    net.stop(3)
    net.run_until(lambda: all(len(net.nodes[index].chain) >= height + 10 for index in (0, 1, 2, 4)))


def test_two_changes_in_one_block_and_one_too_many() -> None:
    net = MachineNet(6, validators=4)
    net.run_until(net.all_at(1))
    join, leave, another = change(net, 4, 1, 0), change(net, 3, 0, 1), change(net, 5, 1, 2)
    assert [item.status for item in net.submit(0, join, leave, another)] == ["accepted"] * 3
    net.run_until(lambda: len(net.nodes[0].machine.mempool) == 0)
    heights = [committed_at(net.nodes[0], item) for item in (join, leave, another)]
    assert heights[0] == heights[1] < heights[2]
    net.run_until(net.all_at(heights[2] + 3))
    assert powers_of(net) == {f"validator-{index}": 1 for index in (0, 1, 2, 4, 5)}
    check_chains(net)


def test_a_change_not_yet_in_force_is_work_where_there_are_no_empty_blocks() -> None:
    net = MachineNet(4, validators=3, config=MachineConfig(empty_block_interval_ms=None))
    net.submit(0, change(net, 3, 1, 0))
    net.run_until(net.all_at(2))
    end_ms = net.now_ms + 30_000
    net.run_until(lambda: net.now_ms >= end_ms)
    assert net.heights() == [2, 2, 2, 2]
    assert net.nodes[3].machine.ledger.validators.total_power == 4


def test_a_node_that_was_away_syncs_through_every_change() -> None:
    """When it is back, nobody is left of those that it knew: each set proves the next."""
    net = MachineNet(9, validators=4)
    net.run_until(net.all_at(1))
    net.stop(8)
    nonce = 0
    for joining, leaving in ((4, 0), (5, 1), (6, 2), (7, 3)):
        submit_and_wait(net, change(net, joining, 1, nonce))
        submit_and_wait(net, change(net, leaving, 0, nonce + 1))
        nonce += 2
    net.start(8)
    top = max(net.heights())
    net.run_until(net.all_at(top + 2), limit_ms=240_000)
    assert set(powers_of(net)) == {f"validator-{index}" for index in (4, 5, 6, 7)}
    check_chains(net)
    assert len(net.hashes_at(top)) == 1


def test_a_restart_in_the_middle_of_a_change() -> None:
    net = MachineNet(4, validators=3)
    net.run_until(net.all_at(2))
    transaction = change(net, 3, 1, 0)
    net.submit(0, transaction)
    net.run_until(
        lambda: any(raw.leaf == transaction.leaf for block, _ in net.nodes[1].chain for raw in block.transactions)
    )
    for index in range(4):
        net.stop(index)
    for index in range(4):
        net.start(index)
    net.run_until(net.all_at(max(net.heights()) + 5), limit_ms=120_000)
    assert sum(powers_of(net).values()) == 4
    check_chains(net)
