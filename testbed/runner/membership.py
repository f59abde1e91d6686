"""replace_key: the sovereign changes who votes while the chain runs, and certificates show that it is so then."""

from __future__ import annotations

import hashlib
from typing import Any

from tana.crypto.keys import format_signature
from tana.types.transaction import Transaction
from testbed.cluster import Cluster
from testbed.diagnosis import explain_standstill
from testbed.runner.load import run_phase
from testbed.steps import ReplaceKey
from testbed.verdict import Outcome, RunEnded, Verdict
from testbed.workload import Phase, Sending

IN_FORCE_AFTER = 2
"""A change counts from the height that is so many above its block (docs/adr/0018-validator-set-changes.md)."""
CHECK = "validator_sets"


def replace_key(cluster: Cluster, step: ReplaceKey) -> None:
    """One key votes in the place of another from one height to the next; the old one signs nothing from there on."""
    old, new = (cluster.plan.get_node(name).key.public_text for name in (step.node, step.by))
    witness = next(name for name in cluster.plan.correct_ids if name not in (step.node, step.by))
    member = _find_member(cluster, witness, old)
    change = {"nodeId": member["id"], "power": member["power"], "replaces": old}
    sending = _make_change(cluster, witness, new, change)
    run_phase(cluster, Phase("changes of the validator set", (sending,), ()), step.timeout_ms)
    answer = cluster.ask(witness, "ledger", "GET", f"/transactions/{sending.id}")
    height = int(answer.body["height"])
    cluster.voters = (cluster.voters - {step.node}) | {step.by}
    cluster.require(
        lambda: cluster.get_signed_height(step.by) >= height + IN_FORCE_AFTER and _has_states(cluster, step),
        CHECK,
        f"{step.by} to vote in the place of {step.node}, from height {height + IN_FORCE_AFTER} on",
        step.timeout_ms,
        explain=lambda: explain_standstill(cluster),
    )
    if (signed := cluster.get_signed_height(step.node)) >= height + IN_FORCE_AFTER:
        line = f"{step.node} at height {signed}: its key signed ≠ height {height}, at which another took its place"
        raise RunEnded(Verdict(CHECK, Outcome.VIOLATED, line))
    cluster.record("replaced_key", old=old, new=new, height=height)


def _has_states(cluster: Cluster, step: ReplaceKey) -> bool:
    states = [(cluster.get_health(node) or {}).get("state") for node in (step.node, step.by)]
    return states == ["following", "validating"]


def _find_member(cluster: Cluster, witness: str, key: str) -> dict[str, Any]:
    """A member of the set as a validator answers it. A validator keeps its id whatever its key."""
    answer = cluster.ask(witness, "ledger", "GET", "/validators")
    rows: list[dict[str, Any]] = answer.body["upcoming"] if answer.is_ok else []
    found = next((row for row in rows if row["publicKey"] == key), None)
    if found is None:
        raise RunEnded(Verdict(CHECK, Outcome.VIOLATED, f"{witness} answers no validator with the key {key}"))
    return found


def _make_change(cluster: Cluster, witness: str, key: str, change: dict[str, Any]) -> Sending:
    """The sovereign's next transaction."""
    sovereign = cluster.plan.sovereign
    chain_id = (cluster.get_health(witness) or {}).get("chain_id", "")
    account = cluster.ask(witness, "ledger", "GET", f"/balances/{sovereign.public_text}")
    transaction = Transaction(
        type="validator_change",
        sender=sovereign.public_text,
        recipient=key,
        timestamp_ms=cluster.backend.now_ms(),
        nonce=account.body["nonce"] if account.is_ok else 0,
        contract_input=change,
        metadata={"chainId": chain_id},
    )
    text = transaction.to_text().encode("utf-8")
    body = {**transaction.to_json(), "signature": format_signature(sovereign.sign(text))}
    return Sending(hashlib.sha256(text).hexdigest(), witness, body)
