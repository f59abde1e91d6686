"""settle: waiting for what must come true: progress, heartbeats, a whole cluster, and in the end convergence."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.checkers.heartbeats import describe_missing_heartbeat
from testbed.cluster import Cluster
from testbed.diagnosis import explain_standstill
from testbed.runner.load import ask_balances
from testbed.runner.start import describe_statuses
from testbed.steps import Converge, Heartbeats, Progress
from testbed.workload import Workload


def progress(cluster: Cluster, step: Progress) -> None:
    """Every validator answers some more blocks."""
    wait_progress(cluster, cluster.plan.correct_ids, step.heights, "no fault is on", step.timeout_ms)


def wait_progress(cluster: Cluster, nodes: Sequence[str], heights: int, why: str, timeout_ms: int) -> None:
    """Wait until each of `nodes` has answered `heights` more blocks than when this begins."""
    window = f"{cluster.history.count}"
    start = {node: cluster.view.read_height.get(node, 0) for node in nodes}
    expectation = {"progress": "must", "window": window, "nodes": list(nodes), "heights": heights, "why": why}
    cluster.record("expectation", phase="begin", **expectation)
    cluster.require(
        lambda: all(cluster.view.read_height.get(node, 0) >= start[node] + heights for node in nodes),
        "progress",
        f"{heights} more blocks",
        timeout_ms,
        explain=lambda: explain_standstill(cluster, tuple(nodes)),
    )
    cluster.record("expectation", phase="end", **expectation)


def heartbeats(cluster: Cluster, step: Heartbeats) -> None:
    """Every validator is active on the mesh through a heartbeat of its own."""

    def is_active(node: str) -> bool:
        row = cluster.view.mesh.get(node)
        return row is not None and row["status"] == "active" and not describe_missing_heartbeat(row)

    def explain() -> str:
        rows = [cluster.view.mesh[node] for node in cluster.plan.node_ids if node in cluster.view.mesh]
        complaints = [describe_missing_heartbeat(row) for row in rows]
        return next((complaint for complaint in complaints if complaint), "") or describe_statuses(cluster)

    cluster.require(
        lambda: all(is_active(node) for node in cluster.plan.node_ids),
        "heartbeats",
        "every validator's heartbeat",
        step.timeout_ms,
        explain=explain,
    )


def wait_whole(cluster: Cluster, timeout_ms: int) -> None:
    """After a fault: every validator votes again, has caught up, and is active on the mesh."""

    def is_whole(node: str) -> bool:
        health, row = cluster.view.health.get(node), cluster.view.mesh.get(node)
        tip = max(cluster.view.read_height.get(other, 0) for other in cluster.plan.correct_ids)
        return (
            health is not None
            and health["state"] == ("validating" if node in cluster.voters else "following")
            and row is not None
            and row["status"] == "active"
            and cluster.view.read_height.get(node, 0) >= tip - 1
        )

    def explain() -> str:
        statuses = describe_statuses(cluster)
        return f"{explain_standstill(cluster)}; {statuses}"

    cluster.require(
        lambda: all(is_whole(node) for node in cluster.plan.correct_ids),
        "progress",
        "every validator to be back",
        timeout_ms,
        explain=explain,
    )


def converge(cluster: Cluster, step: Converge, workload: Workload | None) -> None:
    """Pin a height and read what every validator answers there; the checkers compare."""
    cluster.observe()
    pinned = max((cluster.view.read_height.get(node, 0) for node in cluster.plan.correct_ids), default=0)
    cluster.record("convergence", height=pinned)
    cluster.require(
        lambda: all(cluster.view.read_height.get(node, 0) >= pinned for node in cluster.plan.correct_ids),
        "convergence",
        f"every validator to reach height {pinned}",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster),
    )
    if workload is not None:
        ask_balances(cluster, workload)
    # What the mesh lists is recorded once more, from now on: a late heartbeat may have had a node offline for a moment.
    cluster.view.topology = None
    cluster.require(
        lambda: {row["id"] for row in cluster.view.topology or ()} >= set(cluster.plan.node_ids),
        "topology",
        "the mesh to list every validator as active",
        step.timeout_ms,
        explain=lambda: describe_statuses(cluster),
    )
