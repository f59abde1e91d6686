"""The client of a validator: its ledger, its status port and its t4."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self
from urllib.parse import quote

from tana.client.http import HttpClient
from tana.types.errors import InvalidInput, NotFound

Body = dict[str, Any]

DEFAULT_LEDGER_URL = "http://localhost:8080"
DEFAULT_STATUS_URL = "http://localhost:9001"
DEFAULT_T4_URL = "http://localhost:8180"
DEFAULT_WAIT_MS = 30_000
_REMEDY = "start it with `tana validator run`, or give the URL where it listens"


class ValidatorClient:
    """Synchronous; one keep-alive connection per port that is used. Bodies are those of the wire formats.

    Every method raises the `TanaError` of the answer's status, `Unavailable` where nobody answers.
    """

    def __init__(
        self,
        ledger_url: str = DEFAULT_LEDGER_URL,
        status_url: str = DEFAULT_STATUS_URL,
        t4_url: str = DEFAULT_T4_URL,
        timeout_ms: int = 10_000,
    ) -> None:
        self.ledger_url = ledger_url.rstrip("/")
        self._timeout_ms = timeout_ms
        self._ledger = HttpClient(ledger_url, service="ledger", remedy=_REMEDY, timeout_ms=timeout_ms)
        self._status = HttpClient(status_url, service="validator", remedy=_REMEDY, timeout_ms=timeout_ms)
        self._t4 = HttpClient(t4_url, service="t4", remedy=_REMEDY, timeout_ms=timeout_ms)

    # ------------------------------------------------------------------ status port

    def get_status(self) -> Body:
        """State, height, hashes, peers, and where consensus stands, from the status port."""
        return _as_object(self._status.get("/health"))

    def list_peers(self) -> list[Body]:
        """Connected peers: `{id, publicKey, height, power}`."""
        peers: list[Body] = self._status.get("/peers")["peers"]
        return peers

    def get_quorum(self, block_hash: str) -> Body:
        """Who precommitted a block, and whether that is a quorum."""
        return _as_object(self._status.get(f"/quorum/{quote(block_hash, safe='')}"))

    # ------------------------------------------------------------------ ledger

    def get_health(self) -> Body:
        """The same as `get_status`, from the ledger's port."""
        return _as_object(self._ledger.get("/health"))

    def submit(self, transaction: Body, *, wait: bool = False, timeout_ms: int = DEFAULT_WAIT_MS) -> Body:
        """Send one signed transaction. `{id, status}`; with `wait` also `height` and `blockHash` once it is final.

        Where the time runs out before that, `status` is still "accepted" or "known". Raises the error of a refusal.
        """
        return _as_object(self._submit(transaction, wait, timeout_ms))

    def submit_many(
        self, transactions: Sequence[Body], *, wait: bool = False, timeout_ms: int = DEFAULT_WAIT_MS
    ) -> list[Body]:
        """Send up to 1000 signed transactions. One row for each, in order: `{id, status, code?, error?}`."""
        rows: list[Body] = self._submit(list(transactions), wait, timeout_ms)["results"]
        return rows

    def get_transaction(self, transaction_id: str) -> Body:
        """`{id, status: pending or committed, height?, transaction}`. Raises `NotFound`."""
        return _as_object(self._ledger.get(f"/transactions/{quote(transaction_id, safe='')}"))

    def find_transaction(self, transaction_id: str) -> Body | None:
        """The same, None where the node knows of no such transaction."""
        try:
            return self.get_transaction(transaction_id)
        except NotFound:
            return None

    def list_pending(self) -> list[Body]:
        """Transactions that wait, in order of arrival (1000 at most)."""
        rows: list[Body] = self._ledger.get("/transactions/pending")["transactions"]
        return rows

    def get_block(self, height: int | str) -> Body:
        """A final block with its certificate; `height` may be "latest". Raises `NotFound`."""
        return _as_object(self._ledger.get(f"/blocks/{quote(str(height), safe='')}"))

    def get_latest_block(self) -> Body:
        """The last final block. Raises `NotFound` before block 1."""
        return self.get_block("latest")

    def list_blocks(self, first_height: int | None = None, limit: int = 20) -> list[Body]:
        """Final blocks, ascending: from a height on, or the latest. There may be fewer than `limit`."""
        query: dict[str, str | int] = {"limit": limit}
        if first_height is not None:
            query["from"] = first_height
        rows: list[Body] = self._ledger.get("/blocks", query)["blocks"]
        return rows

    def get_balances(self, account: str) -> Body:
        """`{account, nonce, role, balances: {CODE: "12.50"}, height}`. Raises `NotFound`."""
        return _as_object(self._ledger.get(f"/balances/{quote(account, safe='')}"))

    def list_users(self) -> list[Body]:
        """Every account with its username and role."""
        rows: list[Body] = self._ledger.get("/users")["users"]
        return rows

    def list_validators(self) -> Body:
        """`{height, decidingHeight, validators: [{id, publicKey, power}], upcomingHeight, upcoming}`: who votes on the
        next height, and who on the one after it."""
        return _as_object(self._ledger.get("/validators"))

    def get_supply(self) -> Body:
        """`{height, stateRoot, supply: {CODE: smallest units as text}}`."""
        return _as_object(self._ledger.get("/state/supply"))

    # ------------------------------------------------------------------ t4

    def get_t4_health(self) -> Body:
        return _as_object(self._t4.get("/health"))

    def get_content(self, content_hash: str) -> bytes:
        """Content by its hash, checked against it. Raises `NotFound`, `InvalidInput` where the bytes are others."""
        with self._t4.stream(f"/content/{quote(content_hash, safe='')}", {}) as response:
            data: bytes = response.read()
            if not response.is_success:
                self._t4.read(response)
        if hashlib.sha256(data).hexdigest() != content_hash:
            raise InvalidInput("t4 answered with other content than was asked for", field="hash")
        return data

    def close(self) -> None:
        for client in (self._ledger, self._status, self._t4):
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _submit(self, body: Any, wait: bool, timeout_ms: int) -> Any:
        if not wait:
            return self._ledger.post("/transactions", body)
        # The answer comes when the block is final: the connection must be as patient as the node is asked to be.
        with HttpClient(
            self.ledger_url, service="ledger", remedy=_REMEDY, timeout_ms=timeout_ms + self._timeout_ms
        ) as patient:
            query: dict[str, str | int] = {"wait": "commit", "timeout_ms": timeout_ms}
            return patient.request("POST", "/transactions", query=query, body=body)


def _as_object(answer: Any) -> Body:
    if not isinstance(answer, dict):
        raise InvalidInput("the answer is not a JSON object")
    return answer
