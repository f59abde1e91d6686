"""Transactions: what a client signs, and how it travels.

The signed text is canonical JSON with the keys of `SIGNED_KEYS` in just that order, where absent or null optional
fields are left out. It travels verbatim, so a transaction's id, SHA-256 of the signed text, is the same on
every retry and on every node.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from tana.types import canonical
from tana.types.errors import InvalidInput, TooLarge

TRANSACTION_TYPES = (
    "user_creation",
    "transfer",
    "deposit",
    "withdraw",
    "contract_deployment",
    "contract_call",
    "role_change",
    "validator_change",
)
SIGNED_KEYS = (
    "type",
    "from",
    "to",
    "timestamp",
    "nonce",
    "amount",
    "currencyCode",
    "contractId",
    "contractInput",
    "metadata",
)
_REQUIRED_KEYS = SIGNED_KEYS[:5]
_OPTIONAL_KEYS = SIGNED_KEYS[5:]
_ALL_KEYS = frozenset((*SIGNED_KEYS, "signature"))
MAX_TEXT_BYTES = 16 * 1024
MAX_NONCE = 2**53 - 1


@dataclass(slots=True, unsafe_hash=True)
class Transaction:
    """The fields of a signed text, checked for type and range, not for meaning. Immutable.

    `sender` and `recipient` are printed public keys in lower case; `amount` a decimal string; times in ms.
    """

    type: str
    sender: str
    recipient: str
    timestamp_ms: int
    nonce: int
    amount: str | None = None
    currency_code: str | None = None
    contract_id: str | None = None
    contract_input: Any = None
    metadata: Any = None

    def to_json(self) -> dict[str, Any]:
        """The fields under their wire names, in signing order, without the absent ones."""
        fields: dict[str, Any] = {
            "type": self.type,
            "from": self.sender,
            "to": self.recipient,
            "timestamp": self.timestamp_ms,
            "nonce": self.nonce,
        }
        fields.update(self._optional())
        return fields

    def to_text(self) -> str:
        """The canonical text that is signed: what `canonical.dumps(self.to_json())` prints, at half its price."""
        quote = canonical.quote
        parts = [
            f'{{"type":{quote(self.type)},"from":{quote(self.sender)},"to":{quote(self.recipient)}'
            f',"timestamp":{self.timestamp_ms},"nonce":{self.nonce}'
        ]
        for key, value in self._optional():
            parts.append(f',"{key}":{canonical.dumps(value)}')
        return "".join(parts) + "}"

    def _optional(self) -> list[tuple[str, Any]]:
        values = (self.amount, self.currency_code, self.contract_id, self.contract_input, self.metadata)
        return [(key, value) for key, value in zip(_OPTIONAL_KEYS, values, strict=True) if value is not None]


class SignedTransaction:
    """A transaction as it travels: the signed text verbatim (UTF-8) and a 64-byte signature, not yet verified.

    Immutable. `id` is SHA-256 of the signed text, 64 hex characters; `leaf` see `compute_leaf`; `size_bytes` are those
    of text and signature.
    """

    __slots__ = ("id", "leaf", "signature", "size_bytes", "text", "transaction")

    def __init__(self, text: bytes, signature: bytes, transaction: Transaction) -> None:
        self.text = text
        self.signature = signature
        self.transaction = transaction
        self.id = hashlib.sha256(text).hexdigest()
        self.leaf = compute_leaf(text, signature)
        self.size_bytes = len(text) + len(signature)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SignedTransaction) and (self.text, self.signature) == (other.text, other.signature)

    def __hash__(self) -> int:
        return hash((self.text, self.signature))


def compute_leaf(text: bytes, signature: bytes) -> bytes:
    """SHA-256 of text and signature: remembered once verified, and a leaf of the block's transaction root."""
    return hashlib.sha256(text + signature).digest()


def parse_signed_text(text: bytes, signature: bytes) -> SignedTransaction:
    """A transaction from the text that was signed, as it travels between nodes.

    Raises `InvalidInput` where the text is not canonical: one meaning must have one text, or ids would not be unique.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise TooLarge(f"the transaction has {len(text)} bytes and at most {MAX_TEXT_BYTES} are allowed")
    transaction = parse_transaction(canonical.loads(text))
    if transaction.to_text().encode("utf-8") != text:
        raise InvalidInput("the transaction's text is not canonical JSON", code="not_canonical")
    return SignedTransaction(text, signature, transaction)


def sign_body(body: Any, signature: bytes) -> SignedTransaction:
    """A transaction from the JSON object of a client's request and its parsed signature.

    The canonical text is computed from the fields, as the client did when it signed, and read back: a body can say
    what its text cannot (1.0 for 1, 1e400 for null), and this node must see what every other one will.
    Raises `InvalidInput`.
    """
    return parse_signed_text(parse_transaction(body).to_text().encode("utf-8"), signature)


def parse_transaction(body: Any) -> Transaction:
    """The fields of a transaction's JSON object (a `signature` member is passed over).

    Raises `InvalidInput` naming the field that is missing, unknown, of a wrong type, or out of range.
    """
    if not isinstance(body, dict):
        raise InvalidInput("a transaction must be a JSON object", field="transaction")
    for key in _REQUIRED_KEYS:
        if body.get(key) is None:
            raise InvalidInput(f"{key} is missing", code="missing_field", field=key)
    for key in body:
        if key not in _ALL_KEYS:
            raise InvalidInput(f"{key!r} is not a field of a transaction", code="unknown_field", field=key)
    kind = body["type"]
    if kind not in TRANSACTION_TYPES:
        raise InvalidInput(
            f"{kind!r} is not a transaction type",
            remedy=f"use one of {', '.join(TRANSACTION_TYPES)}",
            field="type",
        )
    return Transaction(
        type=kind,
        sender=_account(body["from"], "from"),
        recipient=_account(body["to"], "to"),
        timestamp_ms=_count(body["timestamp"], "timestamp"),
        nonce=_count(body["nonce"], "nonce"),
        amount=_text(body, "amount"),
        currency_code=_text(body, "currencyCode"),
        contract_id=_text(body, "contractId"),
        contract_input=body.get("contractInput"),
        metadata=_object(body, "metadata"),
    )


_ACCOUNT = re.compile(r"ed25519_[0-9a-f]{64}\Z")


def _account(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _ACCOUNT.match(value):
        # One account has one name: upper-case digits would give it a second.
        raise InvalidInput(
            f"{field} must be ed25519_ and 64 hexadecimal characters in lower case", code="malformed_key", field=field
        )
    return value


def _count(value: Any, field: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NONCE:
        raise InvalidInput(f"{field} must be a whole number from 0 to {MAX_NONCE}", field=field)
    return value


def _text(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{field} must be a string", field=field)
    return value


def _object(body: dict[str, Any], field: str) -> dict[str, Any] | None:
    value = body.get(field)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{field} must be an object", field=field)
    return value
