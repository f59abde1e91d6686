"""Certificates: each commit carries precommits of a quorum of that very height, chain and round, each signer once.

A signature by a correct node counts only where that node made it, which needs no cryptography: the trace has every
message that correct nodes signed. Other signatures are verified.
"""

from __future__ import annotations

from tana.types.messages import PRECOMMIT, vote_sign_bytes
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import NodeFacts, SetFacts
from testbed.needs import STEPS


class Certificates(Invariant):
    number = 5
    name = "certificates"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        chain_id, certificate, validators = decision.header.chain_id, decision.certificate, node.validators
        self._count += 1
        if self.world.chain_id and chain_id != self.world.chain_id:
            self._violate(node, decision, f"the block is of chain {chain_id.hex()[:8]}…")
        elif certificate.height != decision.height:
            self._violate(node, decision, f"the certificate is of height {certificate.height}")
        elif certificate.block_hash != decision.block_hash:
            self._violate(node, decision, f"the certificate is for block {certificate.block_hash.hex()[:8]}…")
        elif validators is not None:
            reason = self._judge(decision, validators)
            if reason:
                self._violate(node, decision, reason)

    def _judge(self, decision: Decision, validators: SetFacts) -> str:
        """Why a certificate proves nothing, empty where it does."""
        power = 0
        signers: set[bytes] = set()
        for item in decision.certificate.signatures:
            validator = item.validator
            weight = validators.powers.get(validator, 0)
            if not weight:
                return f"signer {validators.describe(validator)} is not in the set of this height"
            if validator in signers:
                return f"signer {validators.describe(validator)} is there twice"
            if not self._is_precommit(decision, validator, item.signature):
                return f"{validators.describe(validator)} did not sign this precommit"
            signers.add(validator)
            power += weight
        if power < validators.quorum:
            needed = f"a quorum, which needs {validators.quorum} at height {decision.height}"
            return f"power {power} of {validators.total} ≠ {needed}"
        return ""

    def _is_precommit(self, decision: Decision, validator: bytes, signature: bytes) -> bool:
        """Whether a signature is one for this block in the round, and at the height, of the certificate."""
        world, height = self.world, decision.height
        signed = world.statements.find(height, signature)
        if signed is None:
            arguments = (PRECOMMIT, height, decision.round, decision.block_hash)
            message = vote_sign_bytes(decision.header.chain_id, *arguments)
            if validator not in world.correct or not world.statements.remembers(height):
                return world.verifier(validator, message, signature)
            return validator in world.ended and world.is_signed_unseen(validator, message, signature)
        return (
            signed.kind == PRECOMMIT
            and signed.validator == validator
            and signed.round == decision.round
            and signed.block_hash == decision.block_hash
        )

    def _violate(self, node: NodeFacts, decision: Decision, reason: str) -> None:
        self.violate(
            f"{node.name} at height {decision.height} round {decision.round}"
            f" committed {decision.block_hash.hex()[:8]}…: {reason}",
            node.name,
            height=decision.height,
            round=decision.round,
            signers=[item.validator.hex() for item in decision.certificate.signatures],
        )

    def find_missing(self) -> str:
        return "" if self._count else "no correct node committed a block"

    def summarize(self) -> str:
        return f"{self._count} certificates, each of a quorum of its height"
