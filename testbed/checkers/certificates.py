"""Certificates: each block's certificate holds real precommits of more than two thirds of the power."""

from __future__ import annotations

from typing import Any

from tana.crypto.keys import parse_public_key, parse_signature, verify, verify_text
from tana.types.errors import InvalidInput
from tana.types.genesis import parse_signed_genesis
from tana.types.messages import PRECOMMIT, vote_sign_bytes
from testbed.checkers.base import Checker, shorten
from testbed.checkers.powers import ChainPowers
from testbed.history import Event


class Certificates(Checker):
    name = "certificates"
    steps = frozenset({"genesis"})

    def __init__(self) -> None:
        super().__init__()
        self._sovereign = ""
        self._chain_id = b""
        self._powers = ChainPowers()
        self._names: dict[bytes, str] = {}
        self._early: list[Event] = []
        self._verified: set[tuple[bytes, int, int, str, str]] = set()
        self._count = 0

    def on_run(self, event: Event) -> None:
        self._sovereign = event.data["sovereign"]

    def on_genesis(self, event: Event) -> None:
        try:
            signed = parse_signed_genesis(event.data["body"])
            genuine = verify_text(self._sovereign, signed.genesis.to_text(), signed.signature)
        except InvalidInput as error:
            self.violate(f"mesh at height 0: its genesis is malformed: {error.message}")
            return
        if not genuine:
            self.violate("mesh at height 0: the genesis's signature ≠ one by the sovereign")
            return
        self._chain_id = signed.chain_id
        for validator in signed.genesis.validators:
            key = parse_public_key(validator.publicKey)
            self._names[key] = validator.nodeId
        self._powers.begin(signed.genesis)
        early, self._early = self._early, []
        for block in early:
            self.on_block(block)

    def on_block(self, event: Event) -> None:
        if not self._chain_id:
            self._early.append(event)
            return
        self._powers.note_block(event.data)
        where = f"{event.node} at height {event.data['height']}"
        certificate = event.data["certificate"]
        if not certificate:
            self.violate(f"{where}: block {shorten(event.data['hash'])} has no certificate")
        else:
            self._check(where, event.data["height"], event.data["hash"], certificate)
            self._count += 1

    def _check(self, where: str, height: int, block_hash: str, certificate: dict[str, Any]) -> None:
        if (certificate["height"], certificate["block_hash"]) != (height, block_hash):
            self.violate(
                f"{where}: certificate is for height {certificate['height']} {shorten(certificate['block_hash'])}"
                f" ≠ {shorten(block_hash)}"
            )
            return
        powers = {parse_public_key(text): power for text, power in self._powers.at(height).items()}
        signers: set[bytes] = set()
        for key_text, signature in certificate["signatures"]:
            key = parse_public_key(key_text)
            name = self._names.get(key, shorten(key.hex()))
            if key not in powers:
                self.violate(f"{where}: {name} signed and is not a validator of that height")
            elif key in signers:
                self.violate(f"{where}: {name} is counted twice in the certificate")
            elif not self._is_genuine(key, height, certificate["round"], block_hash, signature):
                self.violate(f"{where}: the precommit of {name} in round {certificate['round']} is not by its key")
            signers.add(key)
        power, total = sum(powers.get(key, 0) for key in signers), sum(powers.values())
        # Written out here once more: the arithmetic under test must not be the one that tests it.
        if not 3 * power > 2 * total:
            signed_by = ", ".join(sorted(self._names.get(key, "?") for key in signers))
            self.violate(
                f"{where}: committed with power {power} of {total} ({signed_by}) ≠ a quorum, which needs"
                f" {2 * total // 3 + 1}"
            )

    def _is_genuine(self, key: bytes, height: int, round: int, block_hash: str, signature: str) -> bool:
        seen = (key, height, round, block_hash, signature)
        if seen in self._verified:
            return True
        message = vote_sign_bytes(self._chain_id, PRECOMMIT, height, round, bytes.fromhex(block_hash))
        if not verify(key, message, parse_signature(signature)):
            return False
        self._verified.add(seen)
        return True

    def find_missing(self) -> str:
        if not self._chain_id:
            return "the mesh served no genesis"
        return "" if self._count else "no validator answered a block"

    def summarize(self) -> str:
        self.facts = {"certificates": self._count, "signatures": len(self._verified)}
        return f"{self._count} certificates with more than two thirds, {len(self._verified)} signatures verified"
