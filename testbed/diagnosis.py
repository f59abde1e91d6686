"""Why a run did not get on: the most likely cause, from what the nodes themselves say."""

from __future__ import annotations

from testbed.cluster import Cluster


def explain_standstill(cluster: Cluster, nodes: tuple[str, ...] | None = None) -> str:
    """The most likely reason why the chain or the nodes do not get on, nearest cause first; empty if none is found."""
    wanted = nodes or cluster.plan.node_ids
    return _explain_gone(cluster, wanted) or _explain_stopped(cluster, wanted) or _explain_votes(cluster, wanted)


def _explain_gone(cluster: Cluster, nodes: tuple[str, ...]) -> str:
    for node in ("mesh", *nodes):
        if reason := cluster.view.unreachable.get(node):
            return f"{node} gives no answer: {reason}"
    return ""


def _explain_stopped(cluster: Cluster, nodes: tuple[str, ...]) -> str:
    for node in nodes:
        health = cluster.view.health.get(node)
        if health and health["state"] in ("stopped", "abstaining"):
            return f"{node} is {health['state']} at height {health['height']}: {health['reason']}"
    return ""


def _explain_votes(cluster: Cluster, nodes: tuple[str, ...]) -> str:
    for node in nodes:
        refusal = cluster.view.refusals.get(node)
        if refusal and refusal["name"] == "prevote_nil":
            return f"{node} votes nil at height {refusal.get('height')}: {refusal.get('reason')}"
    for node in nodes:
        health = cluster.view.health.get(node)
        if health and health["state"] not in ("validating", "following"):
            return f"{node} is {health['state']}{': ' + health['reason'] if health['reason'] else ''}"
    for node in nodes:
        health = cluster.view.health.get(node)
        if health and health["missing"] and health["step_power"] < health["quorum_power"]:
            return (
                f"{node} waits at height {health['deciding_height']} round {health['round']} {health['step']}:"
                f" power {health['step_power']} of the {health['quorum_power']} needed, votes of"
                f" {', '.join(health['missing'])} are missing"
            )
    heights = [f"{node} {health['height']}" for node in nodes if (health := cluster.view.health.get(node))]
    return f"heights: {', '.join(heights)}" if heights else ""
