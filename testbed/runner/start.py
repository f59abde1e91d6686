"""start: mesh and validators come up, register, are refused what is not theirs yet, are approved, and get a genesis."""

from __future__ import annotations

from typing import Any

import msgspec

from tana.client.registration import (
    build_approval,
    build_heartbeat,
    build_registration,
    build_service,
    build_signed_genesis,
)
from tana.types.genesis import (
    Genesis,
    GenesisAccount,
    GenesisCurrency,
    GenesisParameters,
    GenesisValidator,
)
from testbed.backends.base import MESH
from testbed.cluster import Cluster
from testbed.diagnosis import explain_standstill
from testbed.steps import Approve, MakeGenesis, RefuseForgedApproval, RefuseOutsider, RefuseUnapproved, Register, Start
from testbed.verdict import Outcome, RunEnded, Verdict
from testbed.workload import CURRENCY, DECIMALS

OUTSIDER = "outsider"


def start(cluster: Cluster, step: Start) -> None:
    """Start the mesh and every validator, and wait until each answers. Validators wait for the mesh by themselves."""
    cluster.start(MESH)
    for node in cluster.plan.node_ids:
        cluster.start(node)
    cluster.require(
        lambda: cluster.view.topology is not None,
        "start",
        "the mesh to answer",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster, ()),
        outcome=Outcome.COULD_NOT_TELL,
    )
    cluster.require(
        lambda: all(cluster.view.health.get(node) is not None for node in cluster.plan.node_ids),
        "start",
        "every validator to answer",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster),
        outcome=Outcome.COULD_NOT_TELL,
    )


def register(cluster: Cluster, step: Register) -> None:
    """Wait until the mesh lists every validator as pending, and each says so itself."""

    def is_pending(node: str) -> bool:
        row, health = cluster.view.mesh.get(node), cluster.view.health.get(node)
        return row is not None and row["status"] == "pending" and health is not None and health["state"] == "pending"

    cluster.require(
        lambda: all(is_pending(node) for node in cluster.plan.node_ids),
        "registration",
        "every validator to be pending",
        step.timeout_ms,
        explain=lambda: describe_statuses(cluster),
    )


def refuse_unapproved(cluster: Cluster, step: RefuseUnapproved) -> None:
    """Show that nodes which nobody approved get nothing."""
    plan = cluster.plan
    services = [build_service("consensus", 1, plan.outsider.public_text)]
    body = build_registration(plan.outsider, OUTSIDER, OUTSIDER, "127.0.0.1", services)
    registration = cluster.ask_mesh("POST", "/register", body).status
    if is_on_tailnet(cluster):
        # The testbed is no node of the tailnet: it cannot even register.
        refuse(cluster, "the registration of somebody outside the tailnet", registration, 403)
    else:
        expect_status(cluster, "a registration", registration, 201)
    heartbeat = build_heartbeat(plan.outsider, OUTSIDER, cluster.backend.now_ms())
    refuse(
        cluster,
        "the heartbeat of a node that is not approved",
        cluster.ask_mesh("POST", "/heartbeat", heartbeat).status,
        403,
    )
    refuse(cluster, "the genesis before there is one", cluster.ask_mesh("GET", "/genesis").status, 404)
    cluster.refresh()
    active = cluster.ask_mesh("GET", "/validators/active")
    for row in active.body["validators"] if active.is_ok else ():
        raise RunEnded(
            Verdict("registration", Outcome.VIOLATED, f"mesh lists {row['id']} as active ≠ pending, nobody approved it")
        )
    for node in plan.node_ids:
        answer = cluster.ask(node, "ledger", "GET", "/blocks/latest")
        cluster.record("refusal", node, what="a block before approval", status=answer.status, wanted=[404, 503])
    cluster.observe()


def refuse_forged_approval(cluster: Cluster, step: RefuseForgedApproval) -> None:
    """Show that approvals not signed by the sovereign are refused and change nothing."""
    plan, target = cluster.plan, cluster.plan.node_ids[0]
    named_outsider = build_approval(plan.outsider, target)
    forged = {**named_outsider, "approverPublicKey": plan.sovereign.public_text}
    # What the sovereign signed for one id is worth nothing for another.
    replayed = build_approval(plan.sovereign, "somebody-else")
    path = f"/approve/{target}"
    refuse(cluster, "an approval with a forged signature", cluster.ask_mesh("POST", path, forged).status, 401)
    refuse(cluster, "an approval by nobody's sovereign", cluster.ask_mesh("POST", path, named_outsider).status, 403)
    refuse(cluster, "an approval made for another id", cluster.ask_mesh("POST", path, replayed).status, 401)
    cluster.refresh()
    status = cluster.view.mesh[target]["status"]
    if status != "pending":
        line = f"{target} is {status} on the mesh after forged approvals ≠ pending"
        raise RunEnded(Verdict("registration", Outcome.VIOLATED, line))


def refuse_outsider(cluster: Cluster, step: RefuseOutsider) -> None:
    """Show that running validators refuse the peer link of a node that nobody approved."""
    for node in cluster.plan.node_ids:
        health = cluster.view.health.get(node)
        chain_id = bytes.fromhex(health["chain_id"]) if health else b""
        found = cluster.backend.knock(node, cluster.plan.outsider, chain_id)
        what = "the peer link of a node that is not approved"
        if found is None:
            cluster.record("not_shown", node, what=what, why=f"{cluster.backend.name} has no listeners")
        else:
            cluster.record("refusal", node, what=what, status=found, wanted=["unknown_peer"])
    cluster.observe()


def approve(cluster: Cluster, step: Approve) -> None:
    """The sovereign approves every validator."""
    for node in cluster.plan.node_ids:
        cluster.record("approval", target=node)
        answer = cluster.ask_mesh("POST", f"/approve/{node}", build_approval(cluster.plan.sovereign, node))
        expect_status(cluster, f"the approval of {node}", answer.status, 200)
    cluster.require(
        lambda: all(cluster.view.mesh[node]["status"] == "active" for node in cluster.plan.node_ids),
        "registration",
        "every validator to be active",
        step.timeout_ms,
        explain=lambda: describe_statuses(cluster),
    )


def make_genesis(cluster: Cluster, step: MakeGenesis) -> None:
    """The sovereign signs the genesis, the mesh publishes it, and every validator begins with its chain id."""
    plan = cluster.plan
    signed = build_signed_genesis(plan.sovereign, build_genesis(cluster))
    answer = cluster.ask_mesh("PUT", "/genesis", signed.to_json())
    expect_status(cluster, "the genesis", answer.status, 201)
    served = cluster.ask_mesh("GET", "/genesis")
    expect_status(cluster, "GET /genesis", served.status, 200)
    cluster.record("genesis", MESH, chain_id=signed.chain_id.hex(), body=served.body)
    other = build_signed_genesis(plan.sovereign, msgspec.structs.replace(signed.genesis, createdAt=1))
    refuse(cluster, "a second genesis", cluster.ask_mesh("PUT", "/genesis", other.to_json()).status, 409)

    def has_begun(node: str) -> bool:
        health = cluster.view.health.get(node)
        return health is not None and health["chain_id"] == signed.chain_id.hex()

    cluster.require(
        lambda: all(has_begun(node) for node in plan.node_ids),
        "progress",
        "every validator to begin",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster),
    )


def build_genesis(cluster: Cluster) -> Genesis:
    """The genesis of the validators that the mesh lists as active, with the powers of the scenario."""
    plan = cluster.plan
    active = [node for node in plan.nodes if cluster.view.mesh.get(node.node_id, {}).get("status") == "active"]
    return Genesis(
        version=1,
        createdAt=cluster.backend.now_ms(),
        sovereign=plan.sovereign.public_text,
        currencies=(GenesisCurrency(CURRENCY, DECIMALS),),
        validators=tuple(
            GenesisValidator(node.node_id, node.key.public_text, node.power) for node in active if node.power
        ),
        accounts=(GenesisAccount(plan.sovereign.public_text, "@sovereign", "sovereign", {}),),
        parameters=GenesisParameters(requireChainId=True),
    )


def is_on_tailnet(cluster: Cluster) -> bool:
    """Whether the mesh hears nodes through the tailnet only."""
    containers = cluster.backend.containers
    return containers is not None and containers.network == "tailnet"


def refuse(cluster: Cluster, what: str, status: int, wanted: int) -> None:
    """Record the answer to something that must be refused; the registration checker judges it."""
    cluster.record("refusal", MESH, what=what, status=status, wanted=[wanted])
    cluster.raise_violation()


def expect_status(cluster: Cluster, what: str, status: int, wanted: int) -> None:
    if status != wanted:
        line = f"the mesh answered {what} with {status} ≠ {wanted}"
        raise RunEnded(Verdict("registration", Outcome.VIOLATED, line))


def describe_statuses(cluster: Cluster) -> str:
    """What the mesh and the validators say of where they stand."""
    if gone := explain_gone(cluster):
        return gone
    words = []
    for node in cluster.plan.node_ids:
        row: dict[str, Any] = cluster.view.mesh.get(node) or {"status": "not listed"}
        health = cluster.view.health.get(node) or {"state": "gone"}
        words.append(f"{node} is {row['status']} on the mesh and says {health['state']}")
    return "; ".join(words)


def explain_gone(cluster: Cluster) -> str:
    for node, reason in cluster.view.unreachable.items():
        return f"{node} gives no answer: {reason}"
    return ""
