"""`make bench`: committed transactions per second, submit to final, and the time of an empty height.

Open loop: batches leave on a schedule, whether or not earlier ones have been answered, so a slow cluster cannot slow
its own load down. Each batch is posted with `wait=commit`; its latency, from the scheduled moment to the answer that
all of it is final, counts for each of its transactions. Load and cluster share this machine. Validators keep no
journal, as in production; `--journal N` measures what it costs: N times without and with one, in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from benchmarks.cluster import BenchCluster, running_cluster
from tana.crypto.keys import KeyPair, format_signature
from tana.types.transaction import Transaction
from testbed.child import JOURNAL_VARIABLE
from testbed.plan import make_key

USERS = 120
BATCHES_PER_SECOND = 100
FLOOD_BATCH = 100
FLOOD_IN_FLIGHT = 24
EMPTY_HEIGHTS = 300
WAIT_MS = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python -m benchmarks.load --seconds 10")
    parser.add_argument("--seconds", type=int, default=10, help="how long each rate is held (default 10)")
    parser.add_argument("--rates", type=int, nargs="*", default=[400, 2000], help="transactions per second")
    parser.add_argument("--journal", type=int, default=0, metavar="N", help="N loads without and with the journal")
    arguments = parser.parse_args()
    os.environ[JOURNAL_VARIABLE] = "off"
    if arguments.journal:
        measure_journal(arguments.rates[-1], arguments.seconds, arguments.journal)
        return
    with running_cluster("empty.toml") as bench:
        print(f"empty height: {measure_empty_height_ms(bench):.1f} ms", flush=True)
    with running_cluster("load.toml") as bench:
        asyncio.run(measure_load(bench, arguments.rates, arguments.seconds))


def measure_journal(rate: int, seconds: int, turns: int) -> None:
    """Print, per turn and in all, the committed rate and the processor time of a transaction without and with it."""
    print(f"{'journal':>8} {'committed tx/s':>15} {'p50 ms':>8} {'µs of cores per tx':>19}")
    found: dict[str, list[tuple[float, float]]] = {"off": [], "on": []}
    for _ in range(turns):
        for journal, values in found.items():
            os.environ[JOURNAL_VARIABLE] = journal
            with running_cluster("load.toml") as bench:
                measured = asyncio.run(measure_rate(bench, rate, seconds))
            count = len(measured.latencies_ms)
            values.append((count / measured.seconds, 1e6 * measured.cpu_s / count))
            p50 = statistics.median(measured.latencies_ms)
            print(f"{journal:>8} {values[-1][0]:15.0f} {p50:8.1f} {values[-1][1]:19.0f}", flush=True)
    for index, what in enumerate(("committed tx/s", "processor time")):
        on, off = (statistics.mean(item[index] for item in found[journal]) for journal in ("on", "off"))
        print(f"with : without, {what}: {on / off:.2f}")


def measure_empty_height_ms(bench: BenchCluster) -> float:
    """Mean time of a height without transactions, ms; the scenario's interval between them is 1 ms."""
    node = bench.cluster.plan.node_ids[0]
    first, clock = bench.read_height(node), time.perf_counter()
    while (height := bench.read_height(node)) < first + EMPTY_HEIGHTS:
        time.sleep(0.05)
    return (time.perf_counter() - clock) * 1000 / (height - first)


def make_client() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
    return httpx.AsyncClient(limits=limits, timeout=WAIT_MS / 1000 + 5, trust_env=False)


async def measure_rate(bench: BenchCluster, rate: int, seconds: int) -> Measured:
    async with make_client() as http:
        source = Source(bench)
        await source.create_users(http)
        return await hold_rate(source, http, rate, seconds)


async def measure_load(bench: BenchCluster, rates: Sequence[int], seconds: int) -> None:
    async with make_client() as http:
        source = Source(bench)
        await source.create_users(http)
        print(f"{'offered tx/s':>14} {'committed tx/s':>15} {'p50 ms':>8} {'p99 ms':>8} {'cores':>6} {'MiB':>6}")
        for rate in rates:
            show(bench, str(rate), await hold_rate(source, http, rate, seconds))
        show(bench, "flood", await flood(source, http, seconds))


@dataclass
class Measured:
    """What a load came to: latencies in ms (one per transaction), and how long it took in seconds."""

    latencies_ms: list[float]
    refused: int
    seconds: float
    cpu_s: float
    """Processor time of the validators together."""


def show(bench: BenchCluster, what: str, measured: Measured) -> None:
    values = sorted(measured.latencies_ms)
    p50, p99 = statistics.median(values), values[int(len(values) * 0.99)]
    memory_mib = max(bench.read_memory_mib(node) for node in bench.cluster.plan.node_ids)
    rate = len(values) / measured.seconds
    cores = measured.cpu_s / measured.seconds
    print(f"{what:>14} {rate:15.0f} {p50:8.1f} {p99:8.1f} {cores:6.2f} {memory_mib:6.0f}", flush=True)
    if measured.refused:
        print(f"{'':14} {measured.refused} transactions were not final in time or refused", flush=True)


class Source:
    """Signed transactions, made ahead of time, of users that each speak to one validator (one of `nodes`, if given)."""

    def __init__(self, bench: BenchCluster, nodes: Sequence[str] = ()) -> None:
        plan = bench.cluster.plan
        self.urls = [f"{bench.get_ledger_url(node)}/transactions" for node in nodes or plan.node_ids]
        first = (nodes or plan.node_ids)[0]
        self._chain_id: str = bench.cluster.ask(first, "status", "GET", "/health").body["chainId"]
        self._sovereign = plan.sovereign
        account = plan.sovereign.public_text
        self._users = [make_key(plan.seed, f"bench/{number}") for number in range(USERS)]
        self._nonces = {account: int(bench.cluster.ask(first, "ledger", "GET", f"/balances/{account}").body["nonce"])}
        self._turn = 0
        self.read_cpu_s = bench.read_cpu_s

    async def create_users(self, http: httpx.AsyncClient) -> None:
        """Create every account and give it money."""
        creations = [
            self._sign(user, user, "user_creation", contract_input={"username": f"@bench_{number}"})
            for number, user in enumerate(self._users)
        ]
        deposits = [
            self._sign(self._sovereign, user, "deposit", amount="1000000.00", currency_code="USD")
            for user in self._users
        ]
        for bodies in (creations, deposits):
            refused = await send(http, self.urls[0], orjson.dumps(bodies))
            assert refused == 0, "the accounts of the benchmark were refused"

    def make_batches(self, size: int, count: int) -> list[tuple[str, bytes]]:
        """`count` bodies of `size` transfers, each with the URL that it goes to."""
        return [self._make_batch(size) for _ in range(count)]

    def _make_batch(self, size: int) -> tuple[str, bytes]:
        self._turn += 1
        validator = self._turn % len(self.urls)
        users = self._users[validator :: len(self.urls)]
        bodies = []
        for number in range(size):
            sender = users[(self._turn // len(self.urls) * size + number) % len(users)]
            bodies.append(self._sign(sender, self._users[0 if sender is not self._users[0] else 1], "transfer"))
        return self.urls[validator], orjson.dumps(bodies)

    def _sign(self, sender: KeyPair, recipient: KeyPair, kind: str, **optional: Any) -> dict[str, Any]:
        nonce = self._nonces.get(sender.public_text, 0)
        self._nonces[sender.public_text] = nonce + 1
        if kind == "transfer":
            optional = {"amount": "0.01", "currency_code": "USD"}
        transaction = Transaction(
            type=kind,
            sender=sender.public_text,
            recipient=recipient.public_text,
            timestamp_ms=time.time_ns() // 1_000_000,
            nonce=nonce,
            metadata={"chainId": self._chain_id},
            **optional,
        )
        signature = sender.sign(transaction.to_text().encode("utf-8"))
        return {**transaction.to_json(), "signature": format_signature(signature)}


async def hold_rate(source: Source, http: httpx.AsyncClient, rate: int, seconds: int) -> Measured:
    """Offer `rate` transactions a second, in `BATCHES_PER_SECOND` batches."""
    size = max(rate // BATCHES_PER_SECOND, 1)
    batches = source.make_batches(size, rate * seconds // size)
    latencies_ms: list[float] = []
    refused = 0
    begun, cpu_s = time.perf_counter(), source.read_cpu_s()

    async def send_one(at: float, url: str, body: bytes) -> None:
        nonlocal refused
        failed = await send(http, url, body)
        refused += failed
        latencies_ms.extend([(time.perf_counter() - at) * 1000] * (size - failed))

    tasks = []
    for number, (url, body) in enumerate(batches):
        at = begun + number * size / rate
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(send_one(at, url, body)))
    await asyncio.gather(*tasks)
    return Measured(latencies_ms, refused, time.perf_counter() - begun, source.read_cpu_s() - cpu_s)


async def flood(source: Source, http: httpx.AsyncClient, seconds: int) -> Measured:
    """Closed loop: `FLOOD_IN_FLIGHT` batches are always on their way; the highest rate that is committed."""
    latencies_ms: list[float] = []
    refused = 0
    # Signed beforehand, more than can be committed: signing during the run would take a core from the cluster.
    batches: Iterator[tuple[str, bytes]] = iter(source.make_batches(FLOOD_BATCH, 60 * seconds))
    begun, cpu_s = time.perf_counter(), source.read_cpu_s()

    async def keep_sending() -> None:
        nonlocal refused
        for url, body in batches:
            at = time.perf_counter()
            if at - begun > seconds:
                return
            failed = await send(http, url, body)
            refused += failed
            latencies_ms.extend([(time.perf_counter() - at) * 1000] * (FLOOD_BATCH - failed))

    await asyncio.gather(*(keep_sending() for _ in range(FLOOD_IN_FLIGHT)))
    return Measured(latencies_ms, refused, time.perf_counter() - begun, source.read_cpu_s() - cpu_s)


async def send(http: httpx.AsyncClient, url: str, body: bytes) -> int:
    """Post a batch and wait until it is final; how many of it are not."""
    answer = await http.post(f"{url}?wait=commit&timeout_ms={WAIT_MS}", content=body)
    return sum(result["status"] != "committed" for result in answer.json()["results"])


if __name__ == "__main__":
    main()
