"""The state before block 1, as the genesis describes it."""

from __future__ import annotations

import msgspec

from tana.ledger.accounts import Account, Profile
from tana.ledger.state import State
from tana.ledger.tree import StateTree
from tana.types.genesis import Genesis, parse_genesis
from tana.types.money import parse_amount


def build_genesis_rows(genesis: Genesis) -> list[tuple[bytes, bytes]]:
    """The rows of the state before block 1, sorted by key. Raises `InvalidInput` where the genesis is no valid one."""
    # A genesis may have been put together in code: hold it to the rules of one that was read.
    parse_genesis(msgspec.to_builtins(genesis))
    decimals = {currency.code: currency.decimals for currency in genesis.currencies}
    supply = dict.fromkeys(decimals, 0)
    state = State(StateTree())
    # The sovereign has an account even where the genesis lists none for it.
    state.set_account(genesis.sovereign, Account("sovereign", 0, {}))
    state.set_profile(genesis.sovereign, Profile(""))
    for item in genesis.accounts:
        units = {code: parse_amount(amount, decimals[code]) for code, amount in item.balances.items()}
        state.set_account(
            item.publicKey, Account(item.role, 0, {code: count for code, count in units.items() if count})
        )
        state.set_profile(item.publicKey, Profile(item.username))
        for code, count in units.items():
            supply[code] += count
    for code, count in supply.items():
        state.set_supply(code, count)
    validators = genesis.to_validator_set()
    state.set_validators(validators)
    state.set_first_members(validators.members)
    changes, _ = state.compute_changes()
    return [(key, value) for key, value in changes if value is not None]
