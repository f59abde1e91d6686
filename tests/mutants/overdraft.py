"""Negative balance: a transfer is not checked against what its sender has."""

from tana.ledger import rules
from tana.ledger.accounts import Account
from testbed.planting import Patch

CAUGHT_BY = ("money", "submitted")


def plant(patch: Patch) -> None:
    def change(account: Account, code: str, units: int) -> dict[str, int]:
        return {**account.balances, code: account.balances.get(code, 0) + units}

    patch.set(rules, "_check_balance", lambda account, code, units, context, field: None)
    patch.set(rules, "_changed", change)
