"""perturb, byzantine: a fault or lie is applied, verified, endured, undone.

Quorum arithmetic says what the chain must do meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tana.types.errors import TanaError
from testbed.checkers.base import join_names
from testbed.checkers.no_progress import NoProgress
from testbed.cluster import Cluster
from testbed.diagnosis import explain_standstill
from testbed.faults import FAULTS
from testbed.faults.base import Fault, NotApplied
from testbed.faults.lies import Lies, Plot
from testbed.runner.load import load
from testbed.runner.settle import wait_progress, wait_whole
from testbed.steps import Byzantine, Load, Perturb
from testbed.timeline import MUST, MUST_NOT, FaultWindow
from testbed.verdict import Outcome, RunEnded, Verdict
from testbed.workload import Workload

T = TypeVar("T")
WORK_USERS = 4
"""Who sends and gets the transfers while some validators lie."""


def perturb(cluster: Cluster, step: Perturb, window: FaultWindow) -> None:
    """One fault from asked to undone, and the proof that the cluster bore it."""
    fault = FAULTS[step.fault](cluster, window.node, step.timeout_ms, step.peers)
    endure(cluster, fault, window, step)


def betray(cluster: Cluster, step: Byzantine, window: FaultWindow) -> Workload | None:
    """Lies from the first to the last, and the proof that the correct validators bore them. Gives what was sent."""
    plot = Plot(step.nodes, step.behaviour, step.trigger, cluster.plan.seed)
    fault = Lies(cluster, plot, step.timeout_ms)
    if not step.transfers:
        return endure(cluster, fault, window, step)
    transfers = Load(step.timeout_ms, users=WORK_USERS, transfers=step.transfers)
    # Whoever lies about transactions does so only in its turn, and only where some wait then.
    return endure(cluster, fault, window, step, lambda: load(cluster, transfers, fault.has_begun))


def endure(
    cluster: Cluster,
    fault: Fault,
    window: FaultWindow,
    step: Perturb | Byzantine,
    work: Callable[[], Workload] | None = None,
) -> Workload | None:
    """Apply and verify a fault, show what it must do to the chain, undo it, and wait until the cluster is whole."""
    note(cluster, window, "asked", f"expected: the chain {window.progress.replace('_', ' ')} progress, {window.why}")
    survivors = [node for node in cluster.plan.correct_ids if node not in window.broken]
    missing = list(window.broken)
    expectation = {"progress": window.progress, "nodes": survivors, "missing": missing, "why": window.why}
    attempt(cluster, window, fault.apply)
    if window.progress == MUST_NOT:
        cluster.record("expectation", phase="begin", **expectation)
    workload = work() if work is not None else None
    evidence = attempt(cluster, window, fault.verify)
    note(cluster, window, "applied", evidence)
    if window.progress == MUST:
        why = f"{window.fault} on {window.node}: {window.why}"
        wait_progress(cluster, survivors, step.heights, why, step.timeout_ms)
        wait_evidence(cluster, window, why, step.timeout_ms)
    elif window.progress == MUST_NOT:
        wait_standstill(cluster, step, tuple(survivors), missing)
        cluster.record("expectation", phase="end", **expectation)
    touched = attempt(cluster, window, fault.describe_effect)
    attempt(cluster, window, fault.undo)
    note(cluster, window, "undone", touched)
    wait_whole(cluster, step.timeout_ms)
    why = f"{window.fault} is undone"
    wait_progress(cluster, cluster.plan.correct_ids, step.heights, why, step.timeout_ms)
    return workload


def wait_evidence(cluster: Cluster, window: FaultWindow, why: str, timeout_ms: int) -> None:
    """Wait until every correct validator has the evidence in its blocks that the lies must leave."""
    if not window.guilty:
        return
    cluster.record("guilt", nodes=list(window.guilty), why=why)
    keys = {_get_key(cluster, node) for node in window.guilty}

    def find_innocent() -> str:
        missing = {node: keys - cluster.view.accused.get(node, set()) for node in cluster.plan.correct_ids}
        names = [node for node in window.guilty if any(_get_key(cluster, node) in left for left in missing.values())]
        return f"no evidence against {join_names(names)} is in the blocks of every correct validator ({why})"

    cluster.require(
        lambda: all(keys <= cluster.view.accused.get(node, set()) for node in cluster.plan.correct_ids),
        "evidence",
        f"evidence against {join_names(window.guilty)}",
        timeout_ms,
        explain=find_innocent,
    )


def _get_key(cluster: Cluster, node: str) -> str:
    return cluster.plan.get_node(node).key.public_text


def wait_standstill(
    cluster: Cluster, step: Perturb | Byzantine, survivors: tuple[str, ...], missing: Sequence[str]
) -> None:
    """Wait until the survivors themselves show that they lack a quorum (see the checker)."""
    checker = next(item for item in cluster.checkers if isinstance(item, NoProgress))
    cluster.require(
        lambda: checker.is_shown,
        checker.name,
        f"the survivors to say that they lack the votes of {join_names(missing)}",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster, survivors),
        outcome=Outcome.COULD_NOT_TELL,
    )


def attempt(cluster: Cluster, window: FaultWindow, verb: Callable[[], T]) -> T:
    """One verb of a fault. A fault that is not applied fails the run."""
    try:
        return verb()
    except (NotApplied, TanaError) as error:
        reason = str(error)
    note(cluster, window, "not_applied", reason)
    cluster.raise_violation()
    raise RunEnded(Verdict("faults", Outcome.VIOLATED, reason))


def note(cluster: Cluster, window: FaultWindow, phase: str, evidence: str) -> None:
    heights = {node: health["height"] for node, health in cluster.view.health.items() if health}
    is_touched = phase == "undone" and bool(evidence)
    cluster.record(
        "fault",
        fault=window.fault,
        target=window.node,
        phase=phase,
        evidence=evidence,
        heights=heights,
        touched=is_touched,
    )
