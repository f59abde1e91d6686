"""Transaction executed twice: a block's transfer moves its money two times."""

from msgspec.structs import replace

from tana.ledger import ledger
from tana.ledger.refusal import TransactionRefused
from tana.ledger.rules import Context, apply_transaction
from tana.ledger.state import State
from tana.types.transaction import Transaction
from testbed.planting import Patch

CAUGHT_BY = ("money", "state_root")


def plant(patch: Patch) -> None:
    def apply_twice(state: State, transaction: Transaction, context: Context) -> None:
        apply_transaction(state, transaction, context)
        sender = state.get_account(transaction.sender)
        if transaction.type != "transfer" or sender is None:
            return
        state.set_account(transaction.sender, replace(sender, nonce=transaction.nonce))
        try:
            apply_transaction(state, transaction, context)
        except TransactionRefused:
            state.set_account(transaction.sender, sender)

    patch.set(ledger, "apply_transaction", apply_twice)
