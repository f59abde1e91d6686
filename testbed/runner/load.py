"""load: real signed transactions to every validator, some of them twice, until each is final on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from testbed.backends.base import Request
from testbed.cluster import Cluster, Condition
from testbed.diagnosis import explain_standstill
from testbed.steps import Load
from testbed.verdict import Outcome, RunEnded, Verdict
from testbed.workload import Phase, Sending, Workload

BATCH = 25
"""Transactions in one request."""

FAILING_MS = 1_000
"""How long a node that refuses to answer is watched before the refusal itself is the verdict."""


def load(cluster: Cluster, step: Load, is_enough: Condition = lambda: True) -> Workload:
    """Send the workload phase by phase; each is final everywhere before the next begins.

    Transfers are sent again and again until it is enough, or the step's time is over.
    """
    chain_id = next(health["chain_id"] for health in cluster.view.health.values() if health)
    workload = Workload(cluster.plan, step, chain_id)
    now_ms = cluster.backend.now_ms
    for make_phase in (workload.make_users, workload.make_deposits, workload.make_transfers):
        run_phase(cluster, make_phase(now_ms()), step.timeout_ms)
    deadline_ms, count = now_ms() + step.timeout_ms, 0
    while not is_enough() and now_ms() < deadline_ms:
        count += 1
        if count % 2:
            # Else the same proposers might meet them each time.
            wait_height(cluster, step.timeout_ms)
        run_phase(cluster, workload.make_transfers(now_ms()), step.timeout_ms)
    ask_balances(cluster, workload)
    return workload


def wait_height(cluster: Cluster, timeout_ms: int) -> None:
    """Wait until a correct validator has one more block."""

    def get_height() -> int:
        return max(cluster.view.read_height.get(node, 0) for node in cluster.plan.correct_ids)

    height = get_height()
    cluster.require(
        lambda: get_height() > height,
        "progress",
        "one more block",
        timeout_ms,
        explain=lambda: explain_standstill(cluster),
    )


def run_phase(cluster: Cluster, phase: Phase, timeout_ms: int) -> None:
    for sending in phase.sendings:
        cluster.record("submitted", sending.target, id=sending.id, body=sending.body)
    for sending, result in submit(cluster, phase.sendings):
        note_answer(cluster, sending, result, is_retry=False)
    for sending in phase.retries:
        cluster.record("submitted", sending.target, id=sending.id, body=sending.body)
    for sending, result in submit(cluster, phase.retries):
        note_answer(cluster, sending, result, is_retry=True)
    wanted = {sending.id for sending in phase.sendings}
    nodes = cluster.plan.correct_ids

    def explain() -> str:
        waiting = [(node, len(wanted - cluster.view.committed.get(node, set()))) for node in nodes]
        node, count = max(waiting, key=lambda item: item[1])
        return f"{explain_standstill(cluster)}; {node} has {count} of {len(wanted)} {phase.name} not final"

    cluster.require(
        lambda: all(wanted <= cluster.view.committed.get(node, set()) for node in nodes),
        "progress",
        f"{len(wanted)} {phase.name} to be final",
        timeout_ms,
        explain=explain,
    )
    acknowledge(cluster, phase.sendings)


def submit(cluster: Cluster, sendings: Sequence[Sending]) -> list[tuple[Sending, dict[str, Any]]]:
    """Post the transactions in batches, in order for each validator, all validators side by side; their answers."""
    results: list[tuple[Sending, dict[str, Any]]] = []
    queues: dict[str, list[Sending]] = {}
    for sending in sendings:
        queues.setdefault(sending.target, []).append(sending)
    while any(queues.values()):
        batches = [(target, queue[:BATCH]) for target, queue in queues.items() if queue]
        for target, batch in batches:
            del queues[target][: len(batch)]
        requests = [
            Request(target, "ledger", "POST", "/transactions", [sending.body for sending in batch])
            for target, batch in batches
        ]
        found = cluster.backend.request_all(requests)
        for (target, batch), answer in zip(batches, found, strict=True):
            if not answer.is_ok:
                # A node that fails says 503 for a moment before its process ends: then its end is the cause to name.
                cluster.wait_until(lambda: False, f"{target} to end", FAILING_MS)
                line = f"{target} answered {len(batch)} transactions with {answer.status}: {answer.body}"
                raise RunEnded(Verdict("load", Outcome.VIOLATED, line))
            results += zip(batch, answer.body["results"], strict=True)
        cluster.observe()
    return results


def note_answer(cluster: Cluster, sending: Sending, result: dict[str, Any], *, is_retry: bool) -> None:
    status, code = result.get("status"), result.get("code")
    cluster.record("answered", sending.target, id=sending.id, status=status, code=code)
    # A retry may come when its nonce is used already: any answer is right, as long as it is not executed again.
    if not is_retry and status not in ("accepted", "known", "committed"):
        line = f"{sending.target} refuses valid transaction {sending.id[:8]}…: {code}: {result.get('error')}"
        raise RunEnded(Verdict("load", Outcome.VIOLATED, line))


def acknowledge(cluster: Cluster, sendings: Sequence[Sending]) -> None:
    """Send every transaction once more: its validator must say that it is final. From then on no crash may lose it.

    Of one transaction for each validator the height is asked too.
    """
    for sending, result in submit(cluster, sendings):
        cluster.record("submitted", sending.target, id=sending.id, body=sending.body)
        if result.get("status") != "committed":
            line = (
                f"{sending.target}: transaction {sending.id[:8]}… is in a block of every validator"
                f" ≠ answer to sending it again: {result.get('status')} {result.get('code', '')}"
            )
            raise RunEnded(Verdict("exactly_once", Outcome.VIOLATED, line))
        cluster.record("acknowledged", sending.target, id=sending.id, height=None)
    last = {sending.target: sending for sending in sendings}.values()
    requests = [Request(sending.target, "ledger", "GET", f"/transactions/{sending.id}") for sending in last]
    for sending, answer in zip(last, cluster.backend.request_all(requests), strict=True):
        if answer.is_ok and answer.body["status"] == "committed":
            cluster.record("acknowledged", sending.target, id=sending.id, height=answer.body["height"])


def ask_balances(cluster: Cluster, workload: Workload) -> None:
    """Every validator's answer for every account, between two of its heights."""
    accounts = workload.accounts
    for node in cluster.plan.correct_ids:
        before = cluster.ask(node, "ledger", "GET", "/state/supply")
        requests = [Request(node, "ledger", "GET", f"/balances/{account}") for account in accounts]
        found = cluster.backend.request_all(requests)
        after = cluster.ask(node, "ledger", "GET", "/state/supply")
        if not (before.is_ok and after.is_ok and all(answer.is_ok for answer in found)):
            continue  # The money checker says that the answers are missing.
        answered = {
            account: {"nonce": answer.body["nonce"], "balances": answer.body["balances"]}
            for account, answer in zip(accounts, found, strict=True)
        }
        heights = {"from_height": before.body["height"], "to_height": after.body["height"]}
        cluster.record("balances", node, **heights, accounts=answered)
    cluster.observe()
