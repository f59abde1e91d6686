"""perturb: a fault is applied, verified, endured, undone; quorum arithmetic says what the chain must do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from testbed.checkers.no_progress import NoProgress
from testbed.cluster import Cluster
from testbed.diagnosis import explain_standstill
from testbed.faults import FAULTS
from testbed.faults.base import NotApplied
from testbed.plan import MUST, FaultWindow
from testbed.runner.settle import wait_progress, wait_whole
from testbed.scenario import Perturb
from testbed.verdict import Outcome, RunEnded, Verdict

T = TypeVar("T")


def perturb(cluster: Cluster, step: Perturb, window: FaultWindow) -> None:
    """One fault from asked to undone, and the proof that the cluster bore it."""
    fault = FAULTS[step.fault](cluster, step.node, step.timeout_ms)
    note(cluster, step, "asked", f"expected: the chain {window.progress.replace('_', ' ')} progress, {window.why}")
    survivors = [node for node in cluster.plan.node_ids if node != step.node or not fault.removes_power]
    expectation = {"progress": window.progress, "nodes": survivors, "missing": [step.node], "why": window.why}
    attempt(cluster, step, fault.apply)
    if window.progress != MUST:
        cluster.record("expectation", phase="begin", **expectation)
    evidence = attempt(cluster, step, fault.verify)
    note(cluster, step, "applied", evidence)
    if window.progress == MUST:
        wait_progress(cluster, survivors, step.heights, f"{step.fault} on {step.node}: {window.why}", step.timeout_ms)
    else:
        wait_standstill(cluster, step, tuple(survivors))
        cluster.record("expectation", phase="end", **expectation)
    touched = fault.describe_effect()
    attempt(cluster, step, fault.undo)
    cluster.record("fault", fault=step.fault, target=step.node, phase="undone", evidence=touched, touched=bool(touched))
    wait_whole(cluster, step.timeout_ms)
    wait_progress(cluster, cluster.plan.node_ids, step.heights, f"{step.fault} is undone", step.timeout_ms)


def wait_standstill(cluster: Cluster, step: Perturb, survivors: tuple[str, ...]) -> None:
    """Wait until the survivors themselves show that they lack a quorum (see the checker)."""
    checker = next(item for item in cluster.checkers if isinstance(item, NoProgress))
    cluster.require(
        lambda: checker.is_shown,
        checker.name,
        f"the survivors to say that they lack {step.node}'s vote",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster, survivors),
        outcome=Outcome.COULD_NOT_TELL,
    )


def attempt(cluster: Cluster, step: Perturb, verb: Callable[[], T]) -> T:
    """One verb of a fault. A fault that is not applied fails the run."""
    try:
        return verb()
    except NotApplied as error:
        note(cluster, step, "not_applied", str(error))
        cluster.raise_violation()
        raise RunEnded(Verdict("faults", Outcome.VIOLATED, str(error))) from None


def note(cluster: Cluster, step: Perturb, phase: str, evidence: str) -> None:
    heights = {node: health["height"] for node, health in cluster.view.health.items() if health}
    cluster.record(
        "fault", fault=step.fault, target=step.node, phase=phase, evidence=evidence, heights=heights, touched=False
    )
