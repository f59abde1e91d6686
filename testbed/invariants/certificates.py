"""Certificates: each commit carries precommits of a quorum of that very height, chain and round, each signer once.

A signature by a correct node counts only where that node made it, which needs no cryptography: the trace has every
message that correct nodes signed. Other signatures are verified.
"""

from __future__ import annotations

from tana.node.effects import Commit
from tana.types.messages import PRECOMMIT, Vote, vote_sign_bytes
from testbed.invariants.base import Invariant
from testbed.invariants.facts import NodeFacts, SetFacts
from testbed.needs import STEPS


class Certificates(Invariant):
    number = 5
    name = "certificates"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def on_commit(self, node: NodeFacts, commit: Commit) -> None:
        block, certificate, validators = commit.block, commit.certificate, node.validators
        self._count += 1
        if self.world.chain_id and block.header.chain_id != self.world.chain_id:
            self._violate(node, commit, f"the block is of chain {block.header.chain_id.hex()[:8]}…")
        elif certificate.height != block.height:
            self._violate(node, commit, f"the certificate is of height {certificate.height}")
        elif certificate.block_hash != block.hash:
            self._violate(node, commit, f"the certificate is for block {certificate.block_hash.hex()[:8]}…")
        elif validators is not None:
            reason = self._judge(commit, validators)
            if reason:
                self._violate(node, commit, reason)

    def _judge(self, commit: Commit, validators: SetFacts) -> str:
        """Why a certificate proves nothing, empty where it does."""
        power = 0
        signers = set()
        height = commit.block.height
        for item in commit.certificate.signatures:
            weight = validators.powers.get(item.validator, 0)
            if not weight:
                return f"signer {validators.describe(item.validator)} is not in the set of this height"
            if item.validator in signers:
                return f"signer {validators.describe(item.validator)} is there twice"
            if not self._is_precommit(commit, item.validator, item.signature):
                return f"{validators.describe(item.validator)} did not sign this precommit"
            signers.add(item.validator)
            power += weight
        if power < validators.quorum:
            return f"power {power} of {validators.total} ≠ a quorum, which needs {validators.quorum} at height {height}"
        return ""

    def _is_precommit(self, commit: Commit, validator: bytes, signature: bytes) -> bool:
        world, certificate = self.world, commit.certificate
        signed = world.signatures.find(certificate.height, signature)
        if signed is None:
            arguments = (PRECOMMIT, certificate.height, certificate.round, certificate.block_hash)
            message = vote_sign_bytes(commit.block.header.chain_id, *arguments)
            if validator not in world.correct or not world.signatures.remembers(certificate.height):
                return world.verifier(validator, message, signature)
            return validator in world.ended and world.is_signed_unseen(validator, message, signature)
        return (
            isinstance(signed, Vote)
            and signed.kind == PRECOMMIT
            and signed.validator == validator
            and signed.round == certificate.round
            and signed.block_hash == certificate.block_hash
        )

    def _violate(self, node: NodeFacts, commit: Commit, reason: str) -> None:
        self.violate(
            f"{node.name} at height {commit.block.height} round {commit.certificate.round}"
            f" committed {commit.block.hash.hex()[:8]}…: {reason}",
            node.name,
            height=commit.block.height,
            round=commit.certificate.round,
            signers=[item.validator.hex() for item in commit.certificate.signatures],
        )

    def find_missing(self) -> str:
        return "" if self._count else "no correct node committed a block"

    def summarize(self) -> str:
        return f"{self._count} certificates, each of a quorum of its height"
