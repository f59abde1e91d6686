"""The refusal of a transaction."""

from __future__ import annotations

from tana.types.errors import InvalidInput


class TransactionRefused(InvalidInput):
    """A transaction that the rules do not allow on this state; `code` is the stable reason."""

    def __init__(self, code: str, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message, code=code, field=field, remedy=remedy)
