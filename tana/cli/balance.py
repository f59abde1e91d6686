"""`tana balance`: what an account holds."""

from __future__ import annotations

from typing import Annotated

import typer

from tana.cli.accounts import ACCOUNT_HELP, find_account
from tana.cli.options import DEFAULT_LEDGER_URL, AsJson, LedgerUrl, make_command, show_example
from tana.cli.output import print_fields, print_json
from tana.client.validator import ValidatorClient

app = make_command()


@app.command(epilog=show_example("tana balance @alice", "tana balance ed25519_… --json"))
def balance(
    account: Annotated[str, typer.Argument(help=f"Whose: {ACCOUNT_HELP}.")],
    ledger_url: LedgerUrl = DEFAULT_LEDGER_URL,
    as_json: AsJson = False,
) -> None:
    """Show an account's balances and its next nonce."""
    with ValidatorClient(ledger_url) as client:
        answer = client.get_balances(find_account(account, client))
    if as_json:
        print_json(answer)
        return
    print_fields({"account": answer["account"], "next nonce": answer["nonce"]})
    print_fields(answer["balances"])
    if not answer["balances"]:
        print("no balances")
