"""`make bench-sync`: how fast a node that is 10,000 blocks behind catches up, while the chain grows under load.

The blocks are made beforehand, with transactions and certificates as a chain under load has them, and written into
the stores of three of four validators. These three go on deciding under load; then the fourth is started with an empty
store and fetches everything from them. All four share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import time
from collections.abc import Iterator

import httpx

from benchmarks.cluster import BenchCluster, running_cluster
from benchmarks.load import Source, send
from tana.crypto.keys import KeyPair
from tana.ledger.ledger import Ledger
from tana.node.folder import DataFolder
from tana.node.joining import load_genesis
from tana.node.log import recover_log
from tana.node.store import ChainStore
from tana.types.block import Block, Certificate, CommitSignature
from tana.types.genesis import SignedGenesis
from tana.types.messages import PRECOMMIT, vote_sign_bytes
from tana.types.transaction import SignedTransaction, Transaction, sign_body
from testbed.plan import NodePlan, make_key

SENDERS = 40
TRANSACTIONS_PER_BLOCK = 10
WANTED_RATIO = 3.0
BATCH = 4
POLL_S = 0.1
MAX_CATCH_UP_S = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python -m benchmarks.sync --blocks 2000")
    parser.add_argument("--blocks", type=int, default=10_000, help="how far the node is behind (default 10000)")
    parser.add_argument("--rate", type=int, default=400, help="transactions per second meanwhile (default 400)")
    arguments = parser.parse_args()
    with running_cluster("sync.toml") as bench:
        *ahead, behind = bench.cluster.plan.nodes
        for node_id in bench.cluster.plan.node_ids:
            bench.cluster.backend.stop(node_id)
        print(f"making {arguments.blocks} blocks", flush=True)
        write_history(bench, ahead, behind, arguments.blocks)
        for node in ahead:
            bench.cluster.backend.start_validator(node.node_id)
        return asyncio.run(measure(bench, ahead, behind, arguments.rate))


async def measure(bench: BenchCluster, ahead: list[NodePlan], behind: NodePlan, rate: int) -> int:
    """Print the rates. The exit code: 1 where the node catches up less than `WANTED_RATIO` times faster."""
    first = ahead[0].node_id
    for node in ahead:
        await wait_height(bench, node.node_id, 1)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        source = Source(bench, [node.node_id for node in ahead])
        await source.create_users(http)
        load = asyncio.create_task(keep_growing(source, http, rate))
        try:
            await wait_height(bench, first, bench.read_height(first) + 20)
            begun, begun_height = time.perf_counter(), bench.read_height(first)
            bench.cluster.backend.start_validator(behind.node_id)
            await wait_height(bench, behind.node_id, 1)
            syncing = time.perf_counter()
            while (height := bench.read_height(behind.node_id)) < bench.read_height(first) - 1:
                assert time.perf_counter() - begun < MAX_CATCH_UP_S, f"still at height {height}"
                await asyncio.sleep(POLL_S)
            ended = time.perf_counter()
            grown = bench.read_height(first) - begun_height
        finally:
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
    synced_per_s, grown_per_s = height / (ended - syncing), grown / (ended - begun)
    ratio = synced_per_s / grown_per_s
    print(f"caught up with {height} blocks in {ended - syncing:.1f} s: {synced_per_s:.0f} blocks/s")
    print(f"meanwhile the chain grew by {grown_per_s:.1f} blocks/s, at {rate} transactions/s")
    print(f"ratio {ratio:.1f} (wanted: {WANTED_RATIO:g} or more)")
    return 0 if ratio >= WANTED_RATIO else 1


async def keep_growing(source: Source, http: httpx.AsyncClient, rate: int) -> None:
    """Offer transactions until cancelled."""
    begun, number = time.perf_counter(), 0
    waiting: set[asyncio.Task[int]] = set()
    try:
        while True:
            ((url, body),) = source.make_batches(BATCH, 1)
            waiting.add(task := asyncio.create_task(send(http, url, body)))
            task.add_done_callback(waiting.discard)
            number += 1
            await asyncio.sleep(max(begun + number * BATCH / rate - time.perf_counter(), 0))
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def wait_height(bench: BenchCluster, node: str, height: int) -> None:
    deadline = time.perf_counter() + MAX_CATCH_UP_S
    while bench.find_height(node) < height:
        assert time.perf_counter() < deadline, f"{node} never came to height {height}"
        await asyncio.sleep(POLL_S)


# ---------------------------------------------------------------------- a chain without consensus


def write_history(bench: BenchCluster, ahead: list[NodePlan], behind: NodePlan, count: int) -> None:
    """Give `ahead` a chain of so many blocks, certified by them alone, and `behind` an empty one."""
    signed = load_genesis(get_data(bench, behind), bench.cluster.plan.sovereign.public_key)
    assert signed is not None, "it took part in the first heights"
    for node in (*ahead, behind):
        for path in get_data(bench, node).root.glob("chain.db*"):
            path.unlink()
    first, *others = (get_data(bench, node) for node in ahead)
    write_blocks(first, signed, bench.cluster.plan.sovereign, [node.key for node in ahead], count)
    for data in others:
        data.chain_path.write_bytes(first.chain_path.read_bytes())
    for node in ahead:
        # What they signed here is nothing that their logs know of.
        recover_log(
            get_data(bench, node).sign_state_path,
            node.key.public_key,
            (count, 0, PRECOMMIT),
            chain_id=signed.chain_id,
            recoveries=(),
            records=(),
        )


def get_data(bench: BenchCluster, node: NodePlan) -> DataFolder:
    return DataFolder(bench.folder / "nodes" / node.node_id / "data")


def write_blocks(data: DataFolder, signed: SignedGenesis, sovereign: KeyPair, keys: list[KeyPair], count: int) -> None:
    ledger = Ledger.from_genesis(signed.genesis)
    store = ChainStore.open(data.chain_path, signed.chain_id, ledger.tree.items())
    source = make_transactions(sovereign, signed.chain_id)
    for _ in range(count):
        batch = next(source)
        for transaction in batch:
            ledger.verified.remember(transaction)
        # Close together: the last must not lie ahead of the clock, or nobody goes on from it.
        block = ledger.build_block(keys[0].public_key, ledger.time_ms + 1, batch)
        assert len(block.transactions) == len(batch), "every transaction of the history is valid"
        store.append(block, certify(block, keys), ledger.commit(block), is_durable=False)
    store.make_durable()
    store.close()
    with sqlite3.connect(data.chain_path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def certify(block: Block, keys: list[KeyPair]) -> Certificate:
    message = vote_sign_bytes(block.header.chain_id, PRECOMMIT, block.height, 0, block.hash)
    signatures = [CommitSignature(key.public_key, key.sign(message)) for key in keys]
    return Certificate(block.height, 0, block.hash, tuple(sorted(signatures, key=lambda item: item.validator)))


def make_transactions(sovereign: KeyPair, chain_id: bytes) -> Iterator[list[SignedTransaction]]:
    """The transactions of each block: first accounts, then money, then transfers for ever."""
    users = [make_key(1, f"history/{number}") for number in range(SENDERS)]
    nonces: dict[str, int] = {}

    def sign(sender: KeyPair, recipient: KeyPair, kind: str, **fields: object) -> SignedTransaction:
        nonce = nonces.get(sender.public_text, 0)
        nonces[sender.public_text] = nonce + 1
        transaction = Transaction(
            kind,
            sender.public_text,
            recipient.public_text,
            1_700_000_000_000,
            nonce,
            metadata={"chainId": chain_id.hex()},
            **fields,  # type: ignore[arg-type]
        )
        return sign_body(transaction.to_json(), sender.sign(transaction.to_text().encode("utf-8")))

    names = ({"username": f"@history_{number}"} for number in range(SENDERS))
    yield [sign(user, user, "user_creation", contract_input=name) for user, name in zip(users, names, strict=True)]
    yield [sign(sovereign, user, "deposit", amount="1000000.00", currency_code="USD") for user in users]
    turn = 0
    while True:
        pairs = [(turn + number) % SENDERS for number in range(TRANSACTIONS_PER_BLOCK)]
        turn += TRANSACTIONS_PER_BLOCK
        yield [sign(users[index], users[index - 1], "transfer", amount="0.01", currency_code="USD") for index in pairs]


if __name__ == "__main__":
    sys.exit(main())
