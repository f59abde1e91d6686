"""The rules of each transaction type: what it changes, and every reason for which it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tana.crypto.keys import KeyPair
from tana.ledger.accounts import Account, Profile
from tana.ledger.genesis_rows import build_genesis_rows
from tana.ledger.refusal import TransactionRefused
from tana.ledger.rules import Context, apply_transaction, check_form
from tana.ledger.state import State
from tana.ledger.tree import StateTree
from tana.types.money import MAX_UNITS
from tana.types.transaction import SignedTransaction
from tests.ledger.chain import (
    ALICE,
    BOB,
    CAROL,
    SOVEREIGN,
    STAFF,
    create_user,
    deposit,
    make_genesis,
    sign,
    transfer,
    withdraw,
)

CHAIN_ID = make_genesis().compute_chain_id()


class Bench:
    """A state after the genesis, and the rules on it."""

    def __init__(self, parent_height: int = 10, **parameters: Any) -> None:
        genesis = make_genesis(**parameters)
        self.state = State(StateTree(build_genesis_rows(genesis)))
        self.context = Context.create(genesis, CHAIN_ID, parent_height)

    def apply(self, *transactions: SignedTransaction) -> None:
        for stx in transactions:
            apply_transaction(self.state, stx.transaction, self.context)

    def account(self, pair: KeyPair) -> Account:
        account = self.state.get_account(pair.public_text)
        assert account is not None
        return account

    def expect_refusal(self, code: str, stx: SignedTransaction) -> TransactionRefused:
        """The refusal, which must have the code and leave no trace."""
        before = self.state.compute_changes()
        with pytest.raises(TransactionRefused) as caught:
            self.apply(stx)
        assert caught.value.code == code
        assert self.state.compute_changes() == before
        return caught.value


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_transfer_moves_money_and_uses_the_nonce(bench: Bench) -> None:
    bench.apply(transfer(ALICE, BOB, 0, "12.50"))
    assert bench.account(ALICE) == Account("user", 1, {"USD": 8750})
    assert bench.account(BOB) == Account("user", 0, {"USD": 11250})


def test_transfer_of_everything_leaves_no_zero_row(bench: Bench) -> None:
    bench.apply(transfer(ALICE, BOB, 0, "100"))
    assert bench.account(ALICE).balances == {}


def test_deposit_and_withdraw_change_the_supply(bench: Bench) -> None:
    bench.apply(deposit(ALICE, 0, "5.00"), withdraw(BOB, 1, "3.00"), deposit(ALICE, 2, "0.00000001", "BTC"))
    assert bench.account(ALICE).balances == {"USD": 10500, "BTC": 1}
    assert bench.account(BOB).balances == {"USD": 9700}
    assert bench.account(SOVEREIGN).nonce == 3
    assert (bench.state.get_supply("USD"), bench.state.get_supply("BTC")) == (20200, 1)


def test_sovereign_deposits_to_itself(bench: Bench) -> None:
    bench.apply(deposit(SOVEREIGN, 0, "5.00"), withdraw(SOVEREIGN, 1, "2.00"))
    assert bench.account(SOVEREIGN) == Account("sovereign", 2, {"USD": 300})


@pytest.mark.parametrize("creator", [SOVEREIGN, STAFF])
def test_user_created_by_sovereign_or_staff_begins_at_nonce_0(bench: Bench, creator: KeyPair) -> None:
    bench.apply(create_user(creator, CAROL, 0, "@carol", displayName="Carol ✓", bio=None))
    assert bench.account(CAROL) == Account("user", 0, {})
    assert bench.account(creator).nonce == 1
    assert bench.state.get_profile(CAROL.public_text) == Profile("@carol", "Carol ✓", "")


def test_user_that_creates_itself_has_used_nonce_0(bench: Bench) -> None:
    bench.apply(create_user(CAROL, CAROL, 0, "@carol"))
    assert bench.account(CAROL) == Account("user", 1, {})


def test_role_change_gives_and_takes_rights(bench: Bench) -> None:
    bench.apply(sign(SOVEREIGN, ALICE, "role_change", 0, contractInput={"role": "staff"}))
    bench.apply(create_user(ALICE, CAROL, 0, "@carol"))
    bench.apply(sign(SOVEREIGN, ALICE, "role_change", 1, contractInput={"role": "user"}))
    bench.expect_refusal("not_permitted", create_user(ALICE, KeyPair.from_seed(b"x" * 32), 1, "@x"))


def test_metadata_for_this_chain_and_height_is_taken(bench: Bench) -> None:
    bench.apply(transfer(ALICE, BOB, 0, metadata={"chainId": CHAIN_ID.hex(), "expiresAtHeight": 11, "ref": "x"}))
    bench.apply(transfer(ALICE, BOB, 1, metadata={"chainId": None, "expiresAtHeight": None}))


def with_role(role: Any) -> SignedTransaction:
    return sign(SOVEREIGN, ALICE, "role_change", 0, contractInput={"role": role})


def with_metadata(**metadata: Any) -> SignedTransaction:
    return transfer(ALICE, BOB, 0, metadata=metadata)


REFUSALS: dict[str, tuple[str, Callable[[], SignedTransaction]]] = {
    "transfer_without_money": ("insufficient_balance", lambda: transfer(ALICE, BOB, 0, "100.01")),
    "transfer_in_a_currency_not_held": ("insufficient_balance", lambda: transfer(ALICE, BOB, 0, "1", "BTC")),
    "transfer_to_self": ("same_account", lambda: transfer(ALICE, ALICE, 0)),
    "transfer_of_zero": ("malformed_amount", lambda: transfer(ALICE, BOB, 0, "0.00")),
    "transfer_below_zero": ("malformed_amount", lambda: transfer(ALICE, BOB, 0, "-1.00")),
    "transfer_with_too_many_places": ("malformed_amount", lambda: transfer(ALICE, BOB, 0, "1.001")),
    "transfer_with_exponent": ("malformed_amount", lambda: transfer(ALICE, BOB, 0, "1e2")),
    "transfer_over_the_bound": ("malformed_amount", lambda: transfer(ALICE, BOB, 0, "999999999999999999")),
    "transfer_without_amount": ("malformed_amount", lambda: sign(ALICE, BOB, "transfer", 0, currencyCode="USD")),
    "transfer_without_currency": ("unknown_currency", lambda: sign(ALICE, BOB, "transfer", 0, amount="1")),
    "transfer_in_unknown_currency": ("unknown_currency", lambda: transfer(ALICE, BOB, 0, "1", "EUR")),
    "transfer_from_unknown": ("unknown_account", lambda: transfer(CAROL, BOB, 0)),
    "transfer_to_unknown": ("unknown_account", lambda: transfer(ALICE, CAROL, 0)),
    "transfer_with_later_nonce": ("nonce_too_high", lambda: transfer(ALICE, BOB, 1)),
    "deposit_by_user": ("not_permitted", lambda: sign(ALICE, ALICE, "deposit", 0, amount="1", currencyCode="USD")),
    "deposit_by_staff": ("not_permitted", lambda: sign(STAFF, ALICE, "deposit", 0, amount="1", currencyCode="USD")),
    "deposit_to_unknown": ("unknown_account", lambda: deposit(CAROL, 0)),
    "deposit_over_the_supply": ("supply_exceeded", lambda: deposit(ALICE, 0, f"{MAX_UNITS // 100}.00")),
    "withdraw_by_owner": ("not_permitted", lambda: sign(ALICE, ALICE, "withdraw", 0, amount="1", currencyCode="USD")),
    "withdraw_without_money": ("insufficient_balance", lambda: withdraw(ALICE, 0, "100.01")),
    "withdraw_from_unknown": ("unknown_account", lambda: withdraw(CAROL, 0)),
    "user_that_exists": ("account_exists", lambda: create_user(SOVEREIGN, ALICE, 0, "@other")),
    "user_that_creates_itself_again": ("account_exists", lambda: create_user(ALICE, ALICE, 0, "@other")),
    "user_that_creates_itself_late": ("nonce_too_high", lambda: create_user(CAROL, CAROL, 1, "@carol")),
    "user_by_user": ("not_permitted", lambda: create_user(ALICE, CAROL, 0, "@carol")),
    "user_by_unknown": (
        "unknown_account",
        lambda: create_user(KeyPair.from_seed(b"x" * 32), CAROL, 0, "@carol"),
    ),
    "user_with_taken_name": ("username_taken", lambda: create_user(SOVEREIGN, CAROL, 0, "@alice")),
    "user_without_at_sign": ("malformed_username", lambda: create_user(SOVEREIGN, CAROL, 0, "carol")),
    "user_with_upper_case_name": ("malformed_username", lambda: create_user(SOVEREIGN, CAROL, 0, "@Carol")),
    "user_with_long_name": ("malformed_username", lambda: create_user(SOVEREIGN, CAROL, 0, "@" + "c" * 32)),
    "user_with_line_break_in_name": ("malformed_username", lambda: create_user(SOVEREIGN, CAROL, 0, "@carol\n")),
    "user_with_digit_of_another_script": ("malformed_username", lambda: create_user(SOVEREIGN, CAROL, 0, "@carol٣")),
    "user_without_input": ("malformed_input", lambda: sign(SOVEREIGN, CAROL, "user_creation", 0)),
    "user_with_text_as_input": (
        "malformed_input",
        lambda: sign(SOVEREIGN, CAROL, "user_creation", 0, contractInput="@c"),
    ),
    "user_with_long_bio": ("malformed_profile", lambda: create_user(SOVEREIGN, CAROL, 0, "@carol", bio="x" * 513)),
    "user_with_number_as_name": ("malformed_profile", lambda: create_user(SOVEREIGN, CAROL, 0, "@c", displayName=7)),
    "user_with_lone_surrogate": ("malformed_profile", lambda: create_user(SOVEREIGN, CAROL, 0, "@c", bio="a\ud800b")),
    "role_by_user": ("not_permitted", lambda: sign(ALICE, BOB, "role_change", 0, contractInput={"role": "staff"})),
    "role_of_self": (
        "same_account",
        lambda: sign(SOVEREIGN, SOVEREIGN, "role_change", 0, contractInput={"role": "user"}),
    ),
    "role_of_unknown": (
        "unknown_account",
        lambda: sign(SOVEREIGN, CAROL, "role_change", 0, contractInput={"role": "user"}),
    ),
    "role_unheard_of": ("malformed_role", lambda: with_role("king")),
    "role_as_list": ("malformed_role", lambda: with_role(["user"])),
    "role_without_input": ("malformed_input", lambda: sign(SOVEREIGN, ALICE, "role_change", 0)),
    "contract_call": ("unsupported_type", lambda: sign(ALICE, BOB, "contract_call", 0, contractId="c-1")),
    "contract_deployment": ("unsupported_type", lambda: sign(ALICE, BOB, "contract_deployment", 0)),
    "chain_id_of_another_chain": ("wrong_chain", lambda: with_metadata(chainId="00" * 32)),
    "chain_id_in_upper_case": ("wrong_chain", lambda: with_metadata(chainId=CHAIN_ID.hex().upper())),
    "chain_id_as_number": ("wrong_chain", lambda: with_metadata(chainId=7)),
    "expired_at_the_parent": ("expired", lambda: with_metadata(expiresAtHeight=10)),
    "expired_from_the_start": ("expired", lambda: with_metadata(expiresAtHeight=0)),
    "expiry_as_text": ("malformed_metadata", lambda: with_metadata(expiresAtHeight="11")),
    "expiry_as_boolean": ("malformed_metadata", lambda: with_metadata(expiresAtHeight=True)),
    "expiry_as_fraction": ("malformed_metadata", lambda: with_metadata(expiresAtHeight=11.5)),
    "expiry_beyond_integers": ("malformed_metadata", lambda: with_metadata(expiresAtHeight=1e21)),
    "expiry_below_zero": ("malformed_metadata", lambda: with_metadata(expiresAtHeight=-1)),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_invalid(reason: str, bench: Bench) -> None:
    code, make = REFUSALS[reason]
    error = bench.expect_refusal(code, make())
    assert error.message
    assert error.field


def test_invalid_nonce_used_twice(bench: Bench) -> None:
    bench.apply(transfer(ALICE, BOB, 0))
    bench.expect_refusal("nonce_too_low", transfer(ALICE, BOB, 0))


def test_invalid_chain_id_missing_where_genesis_requires_it() -> None:
    bench = Bench(requireChainId=True)
    bench.expect_refusal("wrong_chain", transfer(ALICE, BOB, 0))
    bench.expect_refusal("wrong_chain", with_metadata(expiresAtHeight=20))
    bench.apply(with_metadata(chainId=CHAIN_ID.hex()))


def test_form_is_checked_without_a_state(bench: Bench) -> None:
    """What no state could allow is refused before its turn; what only the state forbids is not."""
    of_state = {
        "insufficient_balance",
        "same_account",
        "unknown_account",
        "nonce_too_high",
        "not_permitted",
        "supply_exceeded",
        "account_exists",
        "username_taken",
    }
    for code, make in REFUSALS.values():
        transaction = make().transaction
        if code in of_state:
            check_form(transaction, bench.context)
        else:
            with pytest.raises(TransactionRefused) as caught:
                check_form(transaction, bench.context)
            assert caught.value.code == code
