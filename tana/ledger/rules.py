"""The rules: what one transaction may do to the state.

Every rule checks everything first and changes the state last, so that a refused transaction leaves no trace and a
block can be built by trying. Nothing here looks at a clock, a round or a sender's connection: the same transaction
on the same state ends the same way on every node.

Money: supply and balances change together and a supply is at most `MAX_UNITS`, so no balance can overflow.
Once each: a transaction's nonce must be its sender's next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tana.ledger.accounts import Account, Profile
from tana.ledger.membership import ValidatorChange, change_members, parse_change
from tana.ledger.refusal import TransactionRefused
from tana.ledger.rows import (
    SINCE_KEY,
    account_key,
    get_public_key,
    punished_key,
    supply_key,
    username_key,
)
from tana.ledger.state import State
from tana.types.errors import InvalidInput
from tana.types.genesis import ROLES, Genesis
from tana.types.money import MAX_UNITS, format_amount, parse_amount
from tana.types.transaction import Transaction

MAX_DISPLAY_NAME_CHARACTERS = 64
MAX_BIO_CHARACTERS = 512
USERNAME = re.compile(r"@[a-z0-9_]{1,31}\Z", re.ASCII)


class Context:
    """What the rules know besides the state: the chain, its currencies, the height of the block's parent. Immutable."""

    __slots__ = ("chain_id_text", "decimals", "is_chain_id_required", "parent_height")

    def __init__(
        self, chain_id_text: str, parent_height: int, decimals: Mapping[str, int], is_chain_id_required: bool
    ) -> None:
        self.chain_id_text = chain_id_text
        self.parent_height = parent_height
        self.decimals = decimals
        self.is_chain_id_required = is_chain_id_required

    @classmethod
    def create(cls, genesis: Genesis, chain_id: bytes, parent_height: int) -> Context:
        return cls(
            chain_id.hex(),
            parent_height,
            {currency.code: currency.decimals for currency in genesis.currencies},
            genesis.parameters.requireChainId,
        )

    def at(self, parent_height: int) -> Context:
        """The same chain after another block."""
        return Context(self.chain_id_text, parent_height, self.decimals, self.is_chain_id_required)


def apply_transaction(state: State, transaction: Transaction, context: Context) -> None:
    """Change the state as a transaction says (its signature is somebody else's matter).

    Raises `TransactionRefused`, and then the state is as before.
    """
    _check_metadata(transaction, context)
    rule = _RULES.get(transaction.type)
    if rule is None:
        raise TransactionRefused("unsupported_type", f"{transaction.type} is not supported by this chain", field="type")
    rule(state, transaction, context)


def check_form(transaction: Transaction, context: Context) -> None:
    """Refuse what no state could allow: for transactions whose turn has not come. Raises `TransactionRefused`."""
    _check_metadata(transaction, context)
    if transaction.type in ("transfer", "deposit", "withdraw"):
        _parse_money(transaction, context)
    elif transaction.type == "user_creation":
        _parse_profile(transaction)
    elif transaction.type == "role_change":
        _parse_role(transaction)
    elif transaction.type == "validator_change":
        _parse_change(transaction)
    else:
        raise TransactionRefused("unsupported_type", f"{transaction.type} is not supported by this chain", field="type")


def get_expiry(transaction: Transaction) -> int | None:
    """The height from which on, as the parent's height, a transaction is refused; None where it never expires."""
    expires = (transaction.metadata or {}).get("expiresAtHeight")
    return expires if isinstance(expires, int) else None


def get_dependencies(transaction: Transaction) -> tuple[bytes, ...]:
    """The rows besides the sender's account whose change can turn an allowed transaction into a refused one."""
    match transaction.type:
        case "user_creation":
            username: str = transaction.contract_input["username"]
            return account_key(transaction.recipient), username_key(username)
        case "deposit":
            return (supply_key(transaction.currency_code or ""),)
        case "withdraw":
            return (account_key(transaction.recipient),)
        case "validator_change":
            return SINCE_KEY, punished_key(get_public_key(transaction.recipient))
        case _:
            return ()


def _transfer(state: State, transaction: Transaction, context: Context) -> None:
    sender = _get_sender(state, transaction)
    code, units = _parse_money(transaction, context)
    if transaction.sender == transaction.recipient:
        raise TransactionRefused("same_account", "from and to are the same account", field="to")
    recipient = _get_recipient(state, transaction)
    _check_balance(sender, code, units, context, "from")
    state.set_account(transaction.sender, Account(sender.role, sender.nonce + 1, _changed(sender, code, -units)))
    state.set_account(transaction.recipient, Account(recipient.role, recipient.nonce, _changed(recipient, code, units)))


def _deposit(state: State, transaction: Transaction, context: Context) -> None:
    sender = _get_sovereign(state, transaction)
    code, units = _parse_money(transaction, context)
    _get_recipient(state, transaction)
    supply = state.get_supply(code) + units
    if supply > MAX_UNITS:
        raise TransactionRefused(
            "supply_exceeded", f"there would be more {code} than {MAX_UNITS} units", field="amount"
        )
    _use_nonce(state, transaction, sender)
    _add_to_recipient(state, transaction, code, units)
    state.set_supply(code, supply)


def _withdraw(state: State, transaction: Transaction, context: Context) -> None:
    sender = _get_sovereign(state, transaction)
    code, units = _parse_money(transaction, context)
    _check_balance(_get_recipient(state, transaction), code, units, context, "to")
    _use_nonce(state, transaction, sender)
    _add_to_recipient(state, transaction, code, -units)
    state.set_supply(code, state.get_supply(code) - units)


def _create_user(state: State, transaction: Transaction, context: Context) -> None:
    profile = _parse_profile(transaction)
    is_own = transaction.sender == transaction.recipient
    if state.get_account(transaction.recipient) is not None:
        raise TransactionRefused("account_exists", f"account {transaction.recipient} exists already", field="to")
    sender = None if is_own else _get_sender(state, transaction)
    if sender is None:
        _check_nonce(transaction, 0)
    elif sender.role not in ("sovereign", "staff"):
        raise TransactionRefused(
            "not_permitted",
            f"an account of role {sender.role} may not create others",
            field="from",
            remedy="let the new account create itself (from and to the same key, nonce 0), or ask staff",
        )
    if state.is_username_taken(profile.username):
        raise TransactionRefused("username_taken", f"username {profile.username} is taken", field="contractInput")
    if sender is not None:
        _use_nonce(state, transaction, sender)
    state.set_account(transaction.recipient, Account("user", 1 if is_own else 0, {}))
    state.set_profile(transaction.recipient, profile)


def _change_role(state: State, transaction: Transaction, context: Context) -> None:
    sender = _get_sovereign(state, transaction)
    role = _parse_role(transaction)
    recipient = _get_recipient(state, transaction)
    if transaction.sender == transaction.recipient:
        # Else the last sovereign could resign, and nobody could ever make another.
        raise TransactionRefused("same_account", "nobody changes their own role", field="to")
    _use_nonce(state, transaction, sender)
    state.set_account(transaction.recipient, Account(role, recipient.nonce, recipient.balances))


def _change_validator(state: State, transaction: Transaction, context: Context) -> None:
    sender = _get_sovereign(state, transaction)
    change = _parse_change(transaction)
    if change.power > 0 and state.get_punishment(change.public_key) is not None:
        raise TransactionRefused(
            "punished",
            "an offence was proven against this key, it votes no more",
            field="to",
            remedy="let the node make a new key",
        )
    members = change_members(state.get_parent_members(), state.get_upcoming_members(), change)
    _use_nonce(state, transaction, sender)
    state.set_upcoming_members(members)


_RULES: dict[str, Callable[[State, Transaction, Context], None]] = {
    "transfer": _transfer,
    "deposit": _deposit,
    "withdraw": _withdraw,
    "user_creation": _create_user,
    "role_change": _change_role,
    "validator_change": _change_validator,
}


def _check_metadata(transaction: Transaction, context: Context) -> None:
    metadata = transaction.metadata or {}
    chain_id = metadata.get("chainId")
    if chain_id is None and context.is_chain_id_required:
        raise TransactionRefused(
            "wrong_chain", "metadata.chainId is missing and this chain requires it", field="metadata.chainId"
        )
    if chain_id is not None and chain_id != context.chain_id_text:
        raise TransactionRefused(
            "wrong_chain",
            f"metadata.chainId is not this chain's id {context.chain_id_text}",
            field="metadata.chainId",
        )
    expires = metadata.get("expiresAtHeight")
    if expires is None:
        return
    if not isinstance(expires, int) or isinstance(expires, bool) or expires < 0:
        raise TransactionRefused(
            "malformed_metadata", "metadata.expiresAtHeight must be a whole number", field="metadata.expiresAtHeight"
        )
    if context.parent_height >= expires:
        raise TransactionRefused(
            "expired",
            f"the transaction expired at height {expires} and the chain is at {context.parent_height}",
            field="metadata.expiresAtHeight",
            remedy="sign it again with a later expiresAtHeight",
        )


def _get_sender(state: State, transaction: Transaction) -> Account:
    sender = state.get_account(transaction.sender)
    if sender is None:
        raise TransactionRefused(
            "unknown_account",
            f"account {transaction.sender} does not exist",
            field="from",
            remedy="create it first with a user_creation",
        )
    _check_nonce(transaction, sender.nonce)
    return sender


def _get_sovereign(state: State, transaction: Transaction) -> Account:
    sender = _get_sender(state, transaction)
    if sender.role != "sovereign":
        raise TransactionRefused(
            "not_permitted", f"only a sovereign may {transaction.type}; from has role {sender.role}", field="from"
        )
    return sender


def _get_recipient(state: State, transaction: Transaction) -> Account:
    recipient = state.get_account(transaction.recipient)
    if recipient is None:
        raise TransactionRefused(
            "unknown_account",
            f"account {transaction.recipient} does not exist",
            field="to",
            remedy="create it first with a user_creation",
        )
    return recipient


def _check_nonce(transaction: Transaction, expected: int) -> None:
    if transaction.nonce == expected:
        return
    code = "nonce_too_low" if transaction.nonce < expected else "nonce_too_high"
    raise TransactionRefused(
        code,
        f"nonce is {transaction.nonce} and the account's next is {expected}",
        field="nonce",
        remedy="read the account's nonce and sign again",
    )


def _check_balance(account: Account, code: str, units: int, context: Context, field: str) -> None:
    balance = account.get_balance(code)
    if balance < units:
        decimals = context.decimals[code]
        raise TransactionRefused(
            "insufficient_balance",
            f"{field} has {format_amount(balance, decimals)} {code}, less than {format_amount(units, decimals)}",
            field="amount",
        )


def _use_nonce(state: State, transaction: Transaction, sender: Account) -> None:
    state.set_account(transaction.sender, Account(sender.role, sender.nonce + 1, sender.balances))


def _add_to_recipient(state: State, transaction: Transaction, code: str, units: int) -> None:
    # Read again: the recipient may be the sender, whose nonce has just moved.
    account = _get_recipient(state, transaction)
    state.set_account(transaction.recipient, Account(account.role, account.nonce, _changed(account, code, units)))


def _changed(account: Account, code: str, units: int) -> dict[str, int]:
    """The account's balances with `units` more (or fewer) of a currency; a zero is left out."""
    balances = dict(account.balances)
    balance = balances.pop(code, 0) + units
    assert balance >= 0, "checked before anything is changed"
    if balance:
        balances[code] = balance
    return balances


def _parse_money(transaction: Transaction, context: Context) -> tuple[str, int]:
    """Currency code and smallest units of a transaction that moves money."""
    code = transaction.currency_code
    decimals = None if code is None else context.decimals.get(code)
    if code is None or decimals is None:
        raise TransactionRefused(
            "unknown_currency",
            f"currencyCode {code!r} is not a currency of this chain",
            field="currencyCode",
            remedy=f"use one of {', '.join(context.decimals)}" if context.decimals else "",
        )
    try:
        units = parse_amount(transaction.amount or "", decimals)
    except InvalidInput as error:
        raise TransactionRefused(error.code, error.message, field="amount") from None
    if units == 0:
        raise TransactionRefused("malformed_amount", "amount must be more than zero", field="amount")
    return code, units


def _parse_profile(transaction: Transaction) -> Profile:
    fields = _parse_input(transaction)
    username = fields.get("username")
    if not isinstance(username, str) or USERNAME.match(username) is None:
        raise TransactionRefused(
            "malformed_username",
            "username must be @ and 1 to 31 lower-case letters, digits or underscores",
            field="contractInput.username",
        )
    return Profile(
        username,
        _parse_text(fields, "displayName", MAX_DISPLAY_NAME_CHARACTERS),
        _parse_text(fields, "bio", MAX_BIO_CHARACTERS),
    )


def _parse_text(fields: Mapping[str, Any], name: str, max_characters: int) -> str:
    text = fields.get(name)
    if text is None:
        return ""
    # A lone surrogate is a character in JavaScript and has no bytes in UTF-8.
    is_valid = isinstance(text, str) and len(text) <= max_characters and not re.search(r"[\ud800-\udfff]", text)
    if not is_valid:
        raise TransactionRefused(
            "malformed_profile",
            f"{name} must be a text of at most {max_characters} characters",
            field=f"contractInput.{name}",
        )
    return str(text)


def _parse_role(transaction: Transaction) -> str:
    role = _parse_input(transaction).get("role")
    if role not in ROLES:
        raise TransactionRefused(
            "malformed_role", f"role must be one of {', '.join(ROLES)}", field="contractInput.role"
        )
    return str(role)


def _parse_change(transaction: Transaction) -> ValidatorChange:
    return parse_change(get_public_key(transaction.recipient), _parse_input(transaction))


def _parse_input(transaction: Transaction) -> dict[str, Any]:
    if not isinstance(transaction.contract_input, dict):
        raise TransactionRefused("malformed_input", "contractInput must be an object", field="contractInput")
    return transaction.contract_input
