"""What clients submit: from JSON to signed transactions, and from the mempool's answers back to JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tana.crypto.keys import parse_signature
from tana.ledger.mempool import Admission
from tana.types.errors import InvalidInput, TanaError, TooLarge
from tana.types.transaction import SignedTransaction, sign_body

MAX_BATCH = 1000
"""Transactions in one request."""

Submit = Callable[[tuple[SignedTransaction, ...]], Sequence[Admission]]
"""Gives transactions to the machine as one input and returns its answers, in the same order."""

Answer = tuple[int, dict[str, Any]]

_STATUS_OF = {
    "bad_signature": 401,
    "not_permitted": 403,
    "account_exists": 409,
    "username_taken": 409,
    "nonce_too_low": 409,
    "nonce_taken": 409,
    "too_large": 413,
    "mempool_full": 429,
}


class Submission:
    """One request of a client: an object (one transaction) or an array of them.

    `is_committed(id)` says whether a final block has a transaction: a late copy of one is no error.
    """

    def __init__(self, submit: Submit, is_committed: Callable[[str], bool]) -> None:
        self._submit = submit
        self._is_committed = is_committed

    def submit_one(self, body: Any) -> Answer:
        """202 `{id, status}`, or a refusal with `{error, code, field, remedy, id}`. Raises `InvalidInput`."""
        (admission,) = self._submit((parse_submitted(body),))
        row = self._show(admission)
        if row["status"] != "refused":
            return 202, row
        del row["status"]
        return _STATUS_OF.get(admission.code, 400), row

    def submit_many(self, bodies: list[Any]) -> Answer:
        """202 `{results: [{id, status, code?, error?}]}` in the order of the request. Raises `TooLarge`."""
        if len(bodies) > MAX_BATCH:
            raise TooLarge(
                f"the request has {len(bodies)} transactions", remedy=f"send at most {MAX_BATCH} at once", field="body"
            )
        rows: list[dict[str, Any] | None] = []
        parsed: list[SignedTransaction] = []
        for body in bodies:
            try:
                parsed.append(parse_submitted(body))
                rows.append(None)
            except InvalidInput as error:
                rows.append({"id": None, "status": "refused", **error.to_json()})
        admissions = iter(self._submit(tuple(parsed)) if parsed else ())
        return 202, {"results": [self._show(next(admissions)) if row is None else row for row in rows]}

    def _show(self, admission: Admission) -> dict[str, Any]:
        if admission.status != "refused":
            return {"id": admission.id, "status": admission.status}
        if self._is_committed(admission.id):
            return {"id": admission.id, "status": "committed"}
        words = {"error": admission.message, "code": admission.code}
        words |= {"field": admission.field} if admission.field else {}
        words |= {"remedy": admission.remedy} if admission.remedy else {}
        return {"id": admission.id, "status": "refused", **words}


def parse_submitted(body: Any) -> SignedTransaction:
    """A signed transaction from the JSON object of a request. Raises `InvalidInput` naming the field."""
    signature = body.get("signature") if isinstance(body, dict) else None
    if isinstance(body, dict) and signature is None:
        raise InvalidInput("signature is missing", code="missing_field", field="signature")
    return sign_body(body, parse_signature(signature) if signature is not None else b"")


def refuse_other_type(body: Any, expected: str) -> None:
    """Raises `InvalidInput` where a transaction's type is not the one that this path takes."""
    kind = body.get("type") if isinstance(body, dict) else None
    if kind != expected:
        raise InvalidInput(f"type must be {expected} here", remedy="send others to POST /transactions", field="type")


def to_answer(error: TanaError) -> Answer:
    """The answer that an error stands for."""
    return error.http_status, error.to_json()
