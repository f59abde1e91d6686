"""Blocks, transactions and states of a node as JSON, in the shapes of the wire formats."""

from __future__ import annotations

import hashlib
from typing import Any

from tana.crypto.keys import format_public_key, format_signature
from tana.ledger.ledger import Account, Ledger
from tana.node.blocks import StoredBlock
from tana.node.machine import MachineStatus
from tana.node.segment import Recovery
from tana.types import canonical
from tana.types.block import Block, Certificate, RawTransaction
from tana.types.evidence import Evidence
from tana.types.genesis import Genesis
from tana.types.messages import Proposal, Vote
from tana.types.money import format_amount
from tana.types.validator_set import Members, ValidatorSet


def show_block(stored: StoredBlock) -> dict[str, Any]:
    """A final block with its certificate. Hashes are hex; a header can be computed again from these fields."""
    block = Block.decode(stored.data)
    header = block.header
    return {
        "height": header.height,
        "hash": block.hash.hex(),
        "previousHash": header.parent.hex(),
        "timestamp": header.time_ms,
        "producer": format_public_key(header.producer),
        "transactions": [show_transaction(raw) for raw in block.transactions],
        "stateChanges": [],
        "contentRefs": [],
        "txRoot": header.transactions_root.hex(),
        "stateRoot": header.state_root.hex(),
        "txCount": header.transaction_count,
        "signature": _find_signature(stored.certificate, header.producer),
        "version": header.version,
        "chainId": header.chain_id.hex(),
        "validatorsHash": header.validators_hash.hex(),
        "nextValidatorsHash": header.next_validators_hash.hex(),
        "evidenceRoot": header.evidence_root.hex(),
        "evidence": [show_evidence(item) for item in block.evidence],
        "certificate": show_certificate(stored.certificate),
    }


def show_certificate(certificate: Certificate) -> dict[str, Any]:
    return {
        "height": certificate.height,
        "round": certificate.round,
        "blockHash": certificate.block_hash.hex(),
        "signatures": [
            {"validator": format_public_key(item.validator), "signature": format_signature(item.signature)}
            for item in certificate.signatures
        ],
    }


def show_evidence(evidence: Evidence) -> dict[str, Any]:
    """Two messages of which their validator should have signed one: every field that the signatures cover."""
    return {
        "kind": evidence.kind,
        "height": evidence.height,
        "round": evidence.first.round,
        "validator": format_public_key(evidence.validator),
        "first": _show_signed(evidence.first),
        "second": _show_signed(evidence.second),
    }


def _show_signed(message: Vote | Proposal) -> dict[str, Any]:
    shown: dict[str, Any] = {"blockHash": message.block_hash.hex() if message.block_hash else None}
    if isinstance(message, Proposal):
        shown["validRound"] = message.valid_round
    return shown | {"signature": format_signature(message.signature)}


def show_transaction(raw: RawTransaction) -> dict[str, Any]:
    """A transaction's signed fields with `id` and `signature`."""
    fields: dict[str, Any] = canonical.loads(raw.text)
    return fields | {"id": hashlib.sha256(raw.text).hexdigest(), "signature": format_signature(raw.signature)}


def show_balances(account_id: str, account: Account, genesis: Genesis) -> dict[str, Any]:
    """An account's next nonce, role, and balances as decimal strings (all currencies of the chain)."""
    balances = {
        currency.code: format_amount(account.get_balance(currency.code), currency.decimals)
        for currency in genesis.currencies
    }
    return {"account": account_id, "nonce": account.nonce, "role": account.role, "balances": balances}


def show_consensus(status: MachineStatus) -> dict[str, Any]:
    """Where the node stands in deciding the next height, and who is missing for it."""
    return {
        "decidingHeight": status.deciding_height,
        "round": status.round,
        "step": status.step,
        "stepPower": status.step_power,
        "quorumPower": status.quorum_power,
        "missing": list(status.missing),
        "announcements": status.announcements,
    }


def show_highest_seen(height: int, round: int) -> dict[str, Any]:
    """The highest slot of any consensus message that the node holds."""
    return {"seenHeight": height, "seenRound": round}


def show_recovery(recovery: Recovery) -> dict[str, Any]:
    """That a node went on without its sign-state, and from where."""
    return {
        "height": recovery.height,
        "round": recovery.round,
        "at": recovery.at_ms,
        "lost": recovery.lost,
        "silent": list(recovery.silent),
    }


def find_target_height(status: MachineStatus, validators: ValidatorSet) -> int:
    """The height that a node that is behind has to reach, as far as it can be believed: the highest that peers with a
    third of the power claim, one of whom does not lie; without so many, the highest claim of all."""
    power = 0
    for key, height in sorted(status.peer_heights, key=lambda claim: claim[1], reverse=True):
        power += validators.get_power(key)
        if validators.is_one_third(power):
            return max(height, status.height)
    return max([status.height, *(height for _, height in status.peer_heights)])


def show_validators(ledger: Ledger) -> dict[str, Any]:
    """Who decides the next height, and who the height after it: changes of the last block are in `upcoming` only."""
    return {
        "height": ledger.height,
        "decidingHeight": ledger.height + 1,
        "validators": _show_members(ledger.validators.members),
        "upcomingHeight": ledger.height + 2,
        "upcoming": _show_members(ledger.upcoming_members),
    }


def _show_members(members: Members) -> list[dict[str, Any]]:
    return [
        {"id": item.node_id, "publicKey": format_public_key(item.public_key), "power": item.power}
        for item in members.validators
    ]


def _find_signature(certificate: Certificate, producer: bytes) -> str | None:
    found = (item.signature for item in certificate.signatures if item.validator == producer)
    return next(map(format_signature, found), None)
