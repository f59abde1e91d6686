"""Parent links: each block's hash is that of its header, which names its parent; times rise, heights never regress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tana.crypto.keys import parse_public_key, parse_signature
from tana.crypto.merkle import compute_root
from tana.types.block import Header
from tana.types.errors import InvalidInput
from tana.types.transaction import sign_body
from testbed.checkers.base import Checker, shorten
from testbed.history import Event

HAS_CHAIN = ("syncing", "validating", "following", "abstaining")
"""States in which a validator's `/health` speaks about a chain that it has loaded."""


class ParentLinks(Checker):
    name = "parent_links"
    steps = frozenset({"genesis"})

    def __init__(self) -> None:
        super().__init__()
        self._chain_id = ""
        self._blocks: dict[tuple[str, int], tuple[str, int]] = {}
        self._heights: dict[str, int] = {}
        self._links = 0

    def on_genesis(self, event: Event) -> None:
        self._chain_id = event.data["chain_id"]

    def on_block(self, event: Event) -> None:
        height, parent, time_ms = event.data["height"], event.data["parent"], event.data["time_ms"]
        computed = compute_block_hash(event.data)
        if computed != event.data["hash"]:
            self.violate(
                f"{event.node} at height {height}: hash {shorten(event.data['hash'])} ≠ {shorten(computed)}, which its"
                " header and transactions give"
            )
        self._blocks[event.node, height] = (event.data["hash"], time_ms)
        expected, parent_time_ms = self._blocks.get((event.node, height - 1), ("", -1))
        if height == 1:
            expected = self._chain_id
        if expected and parent != expected:
            self.violate(
                f"{event.node} at height {height}: parent {shorten(parent)} ≠ {shorten(expected)}, its block below"
            )
        if expected and time_ms <= parent_time_ms:
            self.violate(f"{event.node} at height {height}: time {time_ms} ≤ parent's {parent_time_ms}")
        self._links += bool(expected)

    def on_health(self, event: Event) -> None:
        if event.data["state"] not in HAS_CHAIN:
            return
        height, last = event.data["height"], self._heights.get(event.node, 0)
        if height < last:
            self.violate(f"{event.node} at height {height}: it had answered height {last} before")
        self._heights[event.node] = height

    def on_damaged(self, event: Event) -> None:
        # Whose chain is taken away begins before its first block again.
        if event.data["lost"] == "chain":
            self._heights.pop(event.data["target"], None)

    def find_missing(self) -> str:
        return "" if self._links else "no validator answered two blocks in a row"

    def summarize(self) -> str:
        self.facts = {"links": self._links, "last_heights": dict(self._heights)}
        return f"{self._links} links, no height regressed"


def compute_block_hash(block: Mapping[str, Any]) -> str:
    """The hash of a block as answered, from its fields and transactions; a reason in words where it has none."""
    header = block["header"]
    try:
        leaves = [
            sign_body(
                {key: value for key, value in body.items() if key not in ("signature", "id")},
                parse_signature(body["signature"]),
            ).leaf
            for body in block["transactions"]
        ]
        made = Header(
            version=header["version"],
            chain_id=bytes.fromhex(header["chainId"]),
            height=block["height"],
            parent=bytes.fromhex(block["parent"]),
            time_ms=block["time_ms"],
            producer=parse_public_key(block["producer"]),
            transaction_count=len(leaves),
            transactions_root=compute_root(leaves),
            state_root=bytes.fromhex(block["state_root"]),
            validators_hash=bytes.fromhex(header["validatorsHash"]),
            next_validators_hash=bytes.fromhex(header["nextValidatorsHash"]),
            evidence_root=bytes.fromhex(header["evidenceRoot"]),
        )
    except (InvalidInput, KeyError, TypeError, ValueError) as error:
        return f"none: {error}"
    return made.compute_hash().hex()
