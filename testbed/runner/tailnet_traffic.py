"""tailnet_traffic: large transactions with a random marker in them, watched on their way by every validator's kernel.

Meanwhile the testbed asks nothing through the bridge: what it submits, and how far that is, goes over the loopback of
each validator. So whatever passes the bridge then was sent by the members themselves.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tana.crypto.keys import format_signature
from tana.types.errors import Unavailable
from tana.types.transaction import Transaction
from testbed import tailnet
from testbed.cluster import Cluster
from testbed.commands import ask_inside, run_inside
from testbed.diagnosis import explain_standstill
from testbed.faults.sidecars import read_status
from testbed.plan import make_key
from testbed.runner.load import acknowledge
from testbed.steps import TailnetTraffic
from testbed.workload import Sending

LEDGER = "http://127.0.0.1:8080"
STATUS_PORT = 9001
MARKER_BYTES = 24
PAYLOAD_BYTES = 14_000
"""Of one transaction: many packets, for the tailnet's carry 1,280 bytes at most."""
BATCH = 5
"""Transactions in one request: its body is an argument of a command."""


def traffic(cluster: Cluster, step: TailnetTraffic) -> None:
    """Send transactions to one validator, and count and look at what every other receives."""
    nodes = cluster.plan.node_ids
    marker, control = secrets.token_hex(MARKER_BYTES), secrets.token_hex(MARKER_BYTES)
    sendings = make_payload(cluster, step.transactions, marker)
    for sending in sendings:
        cluster.record("submitted", sending.target, id=sending.id, body=sending.body)
    record_bytes(cluster, "before")
    with capturing(cluster, (marker, control), step.timeout_ms) as found:
        cross_bridge(cluster, control)
        submit_inside(cluster, sendings)
        wait_final_inside(cluster, sendings, step.timeout_ms)
    record_bytes(cluster, "after")
    sizes = [len(json.dumps(sending.body["metadata"])) for sending in sendings]
    cluster.record(
        "tailnet_payload", sendings[0].target, bytes=sum(sizes), transactions=len(sizes), smallest=min(sizes)
    )
    for node in nodes:
        for interface, counts in found[node].items():
            hits = dict(zip(("marker", "control"), counts["hits"], strict=True))
            packets = {"packets": counts["packets"], "missed": counts["missed"]}
            cluster.record("tailnet_capture", node, interface=interface, **packets, **hits)
    wanted = {sending.id for sending in sendings}
    cluster.require(
        lambda: all(wanted <= cluster.view.committed.get(node, set()) for node in nodes),
        "progress",
        "the marked transactions to be final",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster),
    )
    acknowledge(cluster, sendings)


def make_payload(cluster: Cluster, count: int, marker: str) -> list[Sending]:
    """New accounts whose metadata is the marker, again and again: whatever way it is cut, some packet has it whole."""
    chain_id = next(health["chain_id"] for health in cluster.view.health.values() if health)
    memo = marker * (PAYLOAD_BYTES // len(marker))
    sendings = []
    for number in range(count):
        user = make_key(cluster.plan.seed, f"marked/{number}")
        transaction = Transaction(
            type="user_creation",
            sender=user.public_text,
            recipient=user.public_text,
            timestamp_ms=cluster.backend.now_ms(),
            nonce=0,
            contract_input={"username": f"@marked_{number}"},
            metadata={"chainId": chain_id, "memo": memo},
        )
        text = transaction.to_text().encode("utf-8")
        body = {**transaction.to_json(), "signature": format_signature(user.sign(text))}
        sendings.append(Sending(hashlib.sha256(text).hexdigest(), cluster.plan.node_ids[0], body))
    return sendings


def record_bytes(cluster: Cluster, phase: str) -> None:
    """What each validator has exchanged with the others so far, as its Tailscale counts."""
    nodes = cluster.plan.node_ids
    for node in nodes:
        status = read_status(cluster.containers, node)
        peers = [peer for name in nodes if status is not None and (peer := status.find_peer(name)) is not None]
        sent, received = sum(peer.sent_bytes for peer in peers), sum(peer.received_bytes for peer in peers)
        cluster.record("tailnet_bytes", node, phase=phase, sent=sent, received=received)


@contextmanager
def capturing(cluster: Cluster, texts: Sequence[str], timeout_ms: int) -> Iterator[dict[str, Any]]:
    """While it lasts, every validator's interfaces are watched; what was found is there at the end."""
    containers, nodes = cluster.containers, cluster.plan.node_ids
    words = ["python", "-m", "testbed.inside", "capture", ",".join(texts), tailnet.INTERFACE, tailnet.UNDERLAY]
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(len(nodes)) as pool:

        def watch(node: str) -> tuple[int, str]:
            return containers.run_beside(node, words, timeout_ms // 1000 + 1, tools="service")

        captures = {node: pool.submit(watch, node) for node in nodes}
        try:
            for node, watching in captures.items():
                wait_told(cluster, node, watching, timeout_ms)
            yield found
        finally:
            for node, watching in captures.items():
                if not watching.done():
                    run_inside(containers, node, "tell", "stop")
    for node, watching in captures.items():
        code, output = watching.result()
        if code != 0:
            raise Unavailable(f"the capture beside {node} failed: {output.strip()[-300:]}")
        found[node] = json.loads(output.splitlines()[-1])


def wait_told(cluster: Cluster, node: str, watching: Future[tuple[int, str]], timeout_ms: int) -> None:
    """Until the capture beside a validator answers."""
    deadline_ms = cluster.backend.now_ms() + timeout_ms
    while not run_inside(cluster.containers, node, "tell", "ready?"):
        if watching.done() or cluster.backend.now_ms() >= deadline_ms:
            raise Unavailable(
                f"the capture beside {node} did not begin: {watching.result() if watching.done() else ''}"
            )
        cluster.backend.advance()


def cross_bridge(cluster: Cluster, text: str) -> None:
    """Each validator sends a text to the next one's bridge address: in the clear, for the captures to find."""
    nodes = cluster.plan.node_ids
    for node, other in zip(nodes, (*nodes[1:], nodes[0]), strict=True):
        url = f"http://{cluster.containers.get_underlay_ip(other)}:{STATUS_PORT}/{text}"
        ask_inside(cluster.containers, node, "GET", url)


def submit_inside(cluster: Cluster, sendings: Sequence[Sending]) -> None:
    for first in range(0, len(sendings), BATCH):
        batch = sendings[first : first + BATCH]
        bodies = [sending.body for sending in batch]
        target = batch[0].target
        status, answer = ask_inside(cluster.containers, target, "POST", f"{LEDGER}/transactions", bodies)
        if status != 202:
            raise Unavailable(f"{target} answered {len(batch)} transactions with {status}: {answer}")


def wait_final_inside(cluster: Cluster, sendings: Sequence[Sending], timeout_ms: int) -> None:
    """Until every validator says itself that the transactions are final."""
    deadline_ms = cluster.backend.now_ms() + timeout_ms
    waiting = [(node, sending.id) for node in cluster.plan.node_ids for sending in (sendings[0], sendings[-1])]
    while waiting:
        node, transaction_id = waiting[0]
        url = f"{LEDGER}/transactions/{transaction_id}"
        _, answer = ask_inside(cluster.containers, node, "GET", url)
        if isinstance(answer, dict) and answer.get("status") == "committed":
            waiting.pop(0)
        elif cluster.backend.now_ms() >= deadline_ms:
            raise Unavailable(f"transaction {transaction_id[:8]}… is not final on {node} after {timeout_ms} ms")
        else:
            cluster.backend.advance()
