"""From a command's words to a signed transaction on its way: nonce, chain id, expiry, signature, answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from tana.cli.output import print_json
from tana.client.validator import ValidatorClient
from tana.crypto.keys import KeyPair, format_signature
from tana.types.errors import NotFound, Unavailable
from tana.types.transaction import SignedTransaction, Transaction, sign_body

DEFAULT_EXPIRES_IN = 10_000
"""Heights until a transaction that nobody takes can no longer be executed."""


@dataclass(frozen=True)
class SubmitOptions:
    """What every `tana tx` command can be told. `nonce` None asks for the next one."""

    nonce: int | None
    expires_in: int
    is_waiting: bool
    timeout_ms: int
    as_json: bool


def submit(client: ValidatorClient, keypair: KeyPair, draft: Transaction, options: SubmitOptions) -> None:
    """Complete, sign and send a transaction, and print what became of it. Raises the `TanaError` of a refusal."""
    signed = sign(keypair, complete(client, draft, options))
    body = {**signed.transaction.to_json(), "signature": format_signature(signed.signature)}
    try:
        answer = client.submit(body, wait=options.is_waiting, timeout_ms=options.timeout_ms)
    except Unavailable as error:
        raise Unavailable(
            error.message,
            remedy=f"it may have arrived all the same: ask `tana tx status {signed.id}` before you send it again",
            code=error.code,
        ) from None
    if options.is_waiting:
        require_final(answer, options.timeout_ms)
    print_outcome({"nonce": signed.transaction.nonce, **answer}, options.as_json)


def complete(client: ValidatorClient, draft: Transaction, options: SubmitOptions) -> Transaction:
    """The draft with the account's next nonce, the time, and the chain's id and expiry height in its metadata."""
    chain = client.get_health()
    if "chainId" not in chain:
        raise Unavailable(
            f"the node is {chain.get('state')} and has no chain yet",
            remedy="approve it and make the genesis first, or give another node with --ledger-url",
            code="no_chain",
        )
    nonce = find_next_nonce(client, draft.sender) if options.nonce is None else options.nonce
    metadata = {"chainId": chain["chainId"], "expiresAtHeight": int(chain["currentHeight"]) + options.expires_in}
    return replace(draft, nonce=nonce, timestamp_ms=int(time.time() * 1000), metadata=metadata)


def find_next_nonce(client: ValidatorClient, account: str) -> int:
    """The nonce behind those of the chain and of what is already waiting; 0 for an account that does not exist yet."""
    # In this order: what is committed between the two questions then counts in the second.
    waiting = [int(row["nonce"]) for row in client.list_pending() if row["from"] == account]
    try:
        committed = int(client.get_balances(account)["nonce"])
    except NotFound:
        committed = 0
    return max([committed, *(nonce + 1 for nonce in waiting)])


def sign(keypair: KeyPair, transaction: Transaction) -> SignedTransaction:
    """The transaction with the key's signature."""
    text = transaction.to_text().encode("utf-8")
    return sign_body(transaction.to_json(), keypair.sign(text))


def require_final(answer: dict[str, Any], waited_ms: int) -> None:
    """Raises `Unavailable` where a transaction that was waited for is not final."""
    if answer["status"] != "committed":
        raise Unavailable(
            f"transaction {answer['id']} is not final after {waited_ms} ms, it is {answer['status']}",
            remedy=f"see with `tana status` whether the chain moves, and ask again: tana tx status {answer['id']}",
            code="timeout",
        )


def print_outcome(answer: dict[str, Any], as_json: bool) -> None:
    """One line: the id, and where the transaction is."""
    if as_json:
        print_json(answer)
    elif answer["status"] == "committed":
        print(f"{answer['id']} committed in block {answer['height']}")
    else:
        print(f"{answer['id']} {answer['status']}; follow it with `tana tx status {answer['id']} --wait`")
