"""What validators say: votes and proposals with their fields read once, and a book of those that were really signed."""

from __future__ import annotations

from typing import Final

from tana.types.vote import PROPOSAL, Proposal, Vote

Slot = tuple[int, int, int]
"""`(height, round, kind)` in the order of signing; the kind is 0 for a proposal, 1 prevote, 2 precommit."""

HEIGHTS_REMEMBERED: Final = 64
"""Of so many heights below the newest it is still known who signed what."""


class Statement:
    """A vote or a proposal. The message is asked for its fields once, however many invariants look at it."""

    __slots__ = (
        "block_hash",
        "height",
        "is_noted",
        "kind",
        "message",
        "round",
        "signature",
        "step",
        "valid_round",
        "validator",
    )

    def __init__(self, message: Vote | Proposal) -> None:
        self.message = message
        self.height = message.height
        self.round = message.round
        self.block_hash: bytes | None = message.block_hash
        self.validator = message.validator
        self.signature = message.signature
        if isinstance(message, Vote):
            self.kind = message.kind
            self.valid_round = -1
        else:
            self.kind = PROPOSAL
            self.valid_round = message.valid_round
        self.step = 3 * self.round + self.kind
        """Its place in the order of signing, within its height."""
        self.is_noted = False
        """Whether this very message is in the book, by a correct node that signed it."""

    @property
    def slot(self) -> Slot:
        return (self.height, self.round, self.kind)

    def is_after(self, other: Statement) -> bool:
        """Whether its slot is above another one's."""
        if self.height != other.height:
            return self.height > other.height
        return self.step > other.step


class Statements:
    """What correct nodes of this run really signed, by its signature, of the latest heights."""

    def __init__(self) -> None:
        self._by_height: dict[int, list[Statement]] = {}
        self._by_signature: dict[bytes, Statement] = {}

    def note(self, statement: Statement) -> None:
        """A correct node signed this."""
        statement.is_noted = True
        height = statement.height
        page = self._by_height.get(height)
        if page is None:
            page = self._by_height[height] = []
            for old in self._by_height.pop(height - HEIGHTS_REMEMBERED, ()):
                self._by_signature.pop(old.signature, None)
        page.append(statement)
        self._by_signature[statement.signature] = statement

    def read(self, message: Vote | Proposal) -> Statement:
        """The statement that is in the book where it is of this very message, or else a new one."""
        known = self._by_signature.get(message.signature)
        return known if known is not None and known.message is message else Statement(message)

    def find(self, height: int, signature: bytes) -> Statement | None:
        known = self._by_signature.get(signature)
        return known if known is not None and known.height == height else None

    def remembers(self, height: int) -> bool:
        return height in self._by_height

    def list_height(self, height: int) -> list[Statement]:
        """All of a height, in the order of signing."""
        return self._by_height.get(height, [])
