"""`tana tx`: build, sign and send transactions, and ask what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tana.cli.accounts import ACCOUNT_HELP, KEY_HELP, find_account, read_signing_key
from tana.cli.options import DEFAULT_LEDGER_URL, AsJson, LedgerUrl, make_group, show_example
from tana.cli.output import print_json, print_table
from tana.cli.submit import DEFAULT_EXPIRES_IN, SubmitOptions, print_outcome, require_final, submit
from tana.client.keyfiles import SOVEREIGN
from tana.client.validator import ValidatorClient
from tana.types.errors import NotFound
from tana.types.transaction import Transaction

POLL_MS = 100

app = make_group(
    "Build, sign and send transactions. Each one names its chain and the height at which it expires.",
    "tana tx transfer @bob 12.50 USD --key alice --wait",
)

Key = Annotated[str, typer.Option("--key", help=f"Who signs: {KEY_HELP}.")]
Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help=f"To whom: {ACCOUNT_HELP}.")]
Amount = Annotated[str, typer.Argument(help='A decimal amount, such as "12.50".')]
Currency = Annotated[str, typer.Argument(help="A currency of the chain, such as USD.")]
Nonce = Annotated[int | None, typer.Option("--nonce", min=0, help="Default: the account's next one.")]
ExpiresIn = Annotated[int, typer.Option("--expires-in", min=1, help="Heights until the transaction expires.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the transaction is final.")]
TimeoutMs = Annotated[int, typer.Option("--timeout-ms", min=1, help="How long --wait waits.")]


@app.command(
    epilog=show_example(
        'tana tx user @alice --key alice --display-name "Alice"   (creates its own account)',
        "tana tx user @bob --account ed25519_… --key sovereign",
    )
)
def user(
    username: Annotated[str, typer.Argument(help="@ and up to 31 of a-z, 0-9 and _.")],
    *,
    key: Key,
    account: Annotated[str | None, typer.Option(help="The new account; default the key's own.")] = None,
    display_name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    bio: Annotated[str | None, typer.Option(help="A few words.")] = None,
    nonce: Nonce = None,
    expires_in: ExpiresIn = DEFAULT_EXPIRES_IN,
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Create a user: one's own account, or another's with the key of the sovereign or of staff."""
    profile = {"username": username, "displayName": display_name, "bio": bio}
    content = {name: text for name, text in profile.items() if text is not None}
    options = SubmitOptions(nonce, expires_in, wait, timeout_ms, as_json)
    _send(ledger_url, "user_creation", key, account, options, contract_input=content)


@app.command(epilog=show_example("tana tx deposit @alice 100 USD --wait"))
def deposit(
    account: Account,
    amount: Amount,
    currency: Currency,
    *,
    key: Key = SOVEREIGN,
    nonce: Nonce = None,
    expires_in: ExpiresIn = DEFAULT_EXPIRES_IN,
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Put new money into an account (the sovereign's right)."""
    options = SubmitOptions(nonce, expires_in, wait, timeout_ms, as_json)
    _send(ledger_url, "deposit", key, account, options, amount=amount, currency=currency)


@app.command(epilog=show_example("tana tx withdraw @alice 100 USD --wait"))
def withdraw(
    account: Account,
    amount: Amount,
    currency: Currency,
    *,
    key: Key = SOVEREIGN,
    nonce: Nonce = None,
    expires_in: ExpiresIn = DEFAULT_EXPIRES_IN,
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Take money out of an account and of the supply (the sovereign's right)."""
    options = SubmitOptions(nonce, expires_in, wait, timeout_ms, as_json)
    _send(ledger_url, "withdraw", key, account, options, amount=amount, currency=currency)


@app.command(epilog=show_example("tana tx transfer @bob 12.50 USD --key alice --wait"))
def transfer(
    account: Account,
    amount: Amount,
    currency: Currency,
    *,
    key: Key,
    nonce: Nonce = None,
    expires_in: ExpiresIn = DEFAULT_EXPIRES_IN,
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Send money to another account."""
    options = SubmitOptions(nonce, expires_in, wait, timeout_ms, as_json)
    _send(ledger_url, "transfer", key, account, options, amount=amount, currency=currency)


@app.command(epilog=show_example("tana tx role @alice staff --wait"))
def role(
    account: Account,
    new_role: Annotated[str, typer.Argument(metavar="ROLE", help="sovereign, staff or user.")],
    *,
    key: Key = SOVEREIGN,
    nonce: Nonce = None,
    expires_in: ExpiresIn = DEFAULT_EXPIRES_IN,
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Change an account's role (the sovereign's right)."""
    options = SubmitOptions(nonce, expires_in, wait, timeout_ms, as_json)
    _send(ledger_url, "role_change", key, account, options, contract_input={"role": new_role})


@app.command(epilog=show_example("tana tx status 5f1c… --wait"))
def status(
    transaction_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `tana tx` printed.")],
    wait: Wait = False,
    timeout_ms: TimeoutMs = 30_000,
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Say whether a transaction is pending or final. Exit code 1 where the node does not know it."""
    with ValidatorClient(ledger_url) as client:
        answer = _wait_final(lambda: client.get_transaction(transaction_id), timeout_ms if wait else 0)
    if wait:
        require_final(answer, timeout_ms)
    print_outcome(answer, as_json)


@app.command(epilog=show_example("tana tx pending --json"))
def pending(ledger_url: LedgerUrl = DEFAULT_LEDGER_URL, as_json: AsJson = False) -> None:
    """List the transactions that wait for a block at this node."""
    with ValidatorClient(ledger_url) as client:
        rows = client.list_pending()
    if as_json:
        print_json({"transactions": rows})
    else:
        print_table(
            ("ID", "TYPE", "FROM", "NONCE"), ((row["id"], row["type"], row["from"], row["nonce"]) for row in rows)
        )


def _send(
    ledger_url: str,
    kind: str,
    key: str,
    account: str | None,
    options: SubmitOptions,
    *,
    amount: str | None = None,
    currency: str | None = None,
    contract_input: dict[str, Any] | None = None,
) -> None:
    keypair = read_signing_key(key)
    with ValidatorClient(ledger_url) as client:
        recipient = keypair.public_text if account is None else find_account(account, client)
        draft = Transaction(kind, keypair.public_text, recipient, 0, 0, amount, currency, contract_input=contract_input)
        submit(client, keypair, draft, options)


def _wait_final(ask: Callable[[], dict[str, Any]], timeout_ms: int) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        try:
            answer = ask()
        except NotFound as error:
            raise NotFound(
                error.message,
                remedy="ask the node it was sent to; where it expired or never arrived, send it again",
                code=error.code,
            ) from None
        if answer["status"] == "committed" or time.monotonic() >= deadline:
            return answer
        time.sleep(POLL_MS / 1000)
