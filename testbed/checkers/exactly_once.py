"""Exactly once: each acknowledged transaction is in one block of every chain; only signed, submitted ones are."""

from __future__ import annotations

from typing import Any

from tana.crypto.keys import parse_public_key, parse_signature, verify
from tana.types.errors import InvalidInput
from tana.types.transaction import SignedTransaction, sign_body
from testbed.checkers.base import Checker, shorten
from testbed.history import Event


class ExactlyOnce(Checker):
    name = "exactly_once"
    steps = frozenset({"load"})

    def __init__(self) -> None:
        super().__init__()
        self._submitted: dict[str, int] = {}
        self._acknowledged: dict[str, tuple[int | None, str]] = {}
        """Who said that a transaction is final, and at which height if that was said too."""
        self._committed: dict[str, dict[str, int]] = {}
        self._last_height: dict[str, int] = {}
        self._verified: set[bytes] = set()

    def on_submitted(self, event: Event) -> None:
        self._submitted[event.data["id"]] = self._submitted.get(event.data["id"], 0) + 1

    def on_acknowledged(self, event: Event) -> None:
        height, _ = self._acknowledged.get(event.data["id"], (None, ""))
        self._acknowledged[event.data["id"]] = (event.data["height"] or height, event.node)

    def on_block(self, event: Event) -> None:
        height, node = event.data["height"], event.node
        committed = self._committed.setdefault(node, {})
        if height == 1:
            # A validator that was restarted is read again from its first block.
            committed.clear()
        self._last_height[node] = max(height, self._last_height.get(node, 0))
        for body in event.data["transactions"]:
            transaction = self._read(f"{node} at height {height}", body)
            if transaction is None:
                continue
            earlier = committed.get(transaction.id)
            if earlier is not None:
                self.violate(
                    f"{node} at height {height}: transaction {shorten(transaction.id)} is also at height {earlier}"
                )
            committed[transaction.id] = height

    def _read(self, where: str, body: dict[str, Any]) -> SignedTransaction | None:
        try:
            fields = {key: value for key, value in body.items() if key not in ("signature", "id")}
            transaction = sign_body(fields, parse_signature(body["signature"]))
        except (InvalidInput, KeyError) as error:
            self.violate(f"{where}: a transaction in the block is malformed: {error}")
            return None
        if transaction.id not in self._submitted:
            self.violate(f"{where}: transaction {shorten(transaction.id)} is in the block and was never submitted")
        if transaction.leaf not in self._verified:
            sender = parse_public_key(transaction.transaction.sender)
            if not verify(sender, transaction.text, transaction.signature):
                self.violate(f"{where}: transaction {shorten(transaction.id)} is not signed by its sender")
            self._verified.add(transaction.leaf)
        return transaction

    def find_missing(self) -> str:
        if not self._acknowledged:
            return "no transaction was acknowledged"
        for node, committed in sorted(self._committed.items()):
            for transaction_id, (height, said_by) in self._acknowledged.items():
                found = committed.get(transaction_id)
                if found is not None and (height is None or found == height):
                    continue
                where = "as final" if height is None else f"at height {height}"
                self.violate(
                    f"{said_by} and {node}: transaction {shorten(transaction_id)} acknowledged {where} by {said_by}"
                    f" ≠ {f'at height {found}' if found else f'in no block up to {self._last_height[node]}'} on {node}"
                )
                return ""
        silent = [node for node in self.node_ids if node not in self._committed]
        return f"no block was answered by {', '.join(silent)}" if silent else ""

    def summarize(self) -> str:
        sent, times = len(self._submitted), sum(self._submitted.values())
        self.facts = {
            "submitted": sent,
            "sent_times": times,
            "acknowledged": len(self._acknowledged),
            "signatures_verified": len(self._verified),
        }
        return f"{len(self._acknowledged)} of {sent} transactions (sent {times} times) final, each in one block"
