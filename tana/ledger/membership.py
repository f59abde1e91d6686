"""Changes of the validator set: join, leave, change of power, replacement of a key.

A `validator_change` says what one key is to be from two heights on. Its rules, each about the members that the
block's parent left in force two heights on, with what the block has changed so far:

1. Power 0: the key leaves; it must be a member.
2. Otherwise the key joins, or changes its power if it is a member. A node has one key: its id is nobody else's.
3. With `replaces` the key takes the place of a member's key, under the same node id; the old key is gone.
4. A key against which an offence was proven gets no power again.
5. One member at least is left.
6. *At most one third*: over a whole block, neither the power that members gain nor the power that they lose is more
   than a third of the total before the block. A key that joins gains all its power, one that leaves loses it, a
   replacement is one key that leaves and one that joins. So two thirds of every set come from the set before. What
   convicted validators lose in the block is part of the sum, but nobody is spared for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tana.ledger.refusal import TransactionRefused
from tana.types.errors import InvalidInput
from tana.types.validator_set import MAX_TOTAL_POWER, Members, Validator

_NODE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", re.ASCII)
_KEY = re.compile(r"ed25519_[0-9a-f]{64}\Z", re.ASCII)
_FIELDS = ("nodeId", "power", "replaces")


@dataclass(frozen=True, slots=True)
class ValidatorChange:
    """What a key is to be: the node's id and power (0: no member), and the key that it replaces, if any."""

    public_key: bytes
    node_id: str
    power: int
    replaces: bytes | None


def parse_change(public_key: bytes, fields: Mapping[str, Any]) -> ValidatorChange:
    """The change that a `contractInput` of `{nodeId, power, replaces?}` asks for. Raises `TransactionRefused`."""
    for name in fields:
        if name not in _FIELDS:
            raise _refuse_form(name, "is not a field of a validator change")
    node_id, power, replaces = (fields.get(name) for name in _FIELDS)
    if not isinstance(node_id, str) or _NODE_ID.match(node_id) is None:
        raise _refuse_form("nodeId", "must be the node's id: lower-case letters, digits and inner hyphens")
    if not isinstance(power, int) or isinstance(power, bool) or not 0 <= power <= MAX_TOTAL_POWER:
        raise _refuse_form("power", f"must be a whole number from 0 (leaves) to {MAX_TOTAL_POWER}")
    if replaces is None:
        return ValidatorChange(public_key, node_id, power, None)
    if not isinstance(replaces, str) or _KEY.match(replaces) is None:
        raise _refuse_form("replaces", "must be ed25519_ and 64 lower-case hexadecimal characters")
    if power == 0:
        raise _refuse_form("power", "must be at least 1 for a key that replaces another")
    return ValidatorChange(public_key, node_id, power, bytes.fromhex(replaces[8:]))


def change_members(parent: Members, upcoming: Members, change: ValidatorChange) -> Members:
    """`upcoming` with the change, where rules 1 to 3, 5 and 6 allow it. Raises `TransactionRefused`.

    `parent` are the members that would decide two heights on if the block changed nothing.
    """
    others = [item for item in upcoming.validators if item.public_key not in (change.public_key, change.replaces)]
    _check_key(upcoming, change)
    if change.power > 0:
        _check_node_id(others, change)
        others.append(Validator(change.public_key, change.power, change.node_id))
    if not others:
        raise TransactionRefused("last_validator", "no validator would be left", field="contractInput.power")
    try:
        members = Members.create(others)
    except InvalidInput as error:
        raise TransactionRefused("too_many_validators", error.message, field="contractInput") from None
    if members == upcoming:
        raise TransactionRefused("no_change", "that is what the key is already", field="contractInput.power")
    check_extent(parent, members)
    return members


def check_extent(parent: Members, members: Members) -> None:
    """Rule 6. Raises `TransactionRefused`."""
    keys = dict.fromkeys((*parent.powers, *members.powers))
    steps = [members.powers.get(key, 0) - parent.powers.get(key, 0) for key in keys]
    gained = sum(step for step in steps if step > 0)
    lost = -sum(step for step in steps if step < 0)
    if 3 * max(gained, lost) > parent.total_power:
        raise TransactionRefused(
            "too_much_change",
            f"the block would move a power of {max(gained, lost)}, more than a third of {parent.total_power}",
            field="contractInput.power",
            remedy="make the change in smaller steps, a block for each",
        )


def _check_key(upcoming: Members, change: ValidatorChange) -> None:
    member = upcoming.by_key.get(change.public_key)
    if change.replaces is not None:
        old = upcoming.by_key.get(change.replaces)
        if old is None:
            raise TransactionRefused(
                "unknown_validator", "the key to replace is no validator's", field="contractInput.replaces"
            )
        if old.node_id != change.node_id:
            raise TransactionRefused(
                "wrong_node_id", f"that key is {old.node_id}'s, and a node keeps its id", field="contractInput.nodeId"
            )
        if member is not None:
            raise TransactionRefused("validator_exists", f"the new key is {member.node_id}'s already", field="to")
    elif member is None and change.power == 0:
        raise TransactionRefused("unknown_validator", "the key is no validator's, so it cannot leave", field="to")
    elif member is not None and member.node_id != change.node_id:
        raise TransactionRefused(
            "wrong_node_id", f"that key is {member.node_id}'s, and a node keeps its id", field="contractInput.nodeId"
        )


def _check_node_id(others: list[Validator], change: ValidatorChange) -> None:
    if any(item.node_id == change.node_id for item in others):
        raise TransactionRefused(
            "node_id_taken",
            f"{change.node_id} has another key",
            field="contractInput.nodeId",
            remedy="name the old key in replaces",
        )


def _refuse_form(name: str, fault: str) -> TransactionRefused:
    return TransactionRefused("malformed_validator_change", f"{name} {fault}", field=f"contractInput.{name}")
