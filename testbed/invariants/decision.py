"""A block that became final for a node."""

from __future__ import annotations

from tana.node.effects import Commit


class Decision:
    """A commit. Block, header and certificate are asked once for what several invariants want to know of them."""

    __slots__ = (
        "block",
        "block_hash",
        "certificate",
        "execution",
        "header",
        "height",
        "round",
        "state_root",
    )

    def __init__(self, commit: Commit) -> None:
        self.block = commit.block
        self.certificate = commit.certificate
        self.execution = commit.execution
        self.header = self.block.header
        self.height = self.header.height
        self.block_hash = self.block.hash
        self.round = self.certificate.round
        self.state_root = self.execution.state_root
        """As the node computed it."""
