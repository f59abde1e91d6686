"""A lie as the harness asks a node for it: one JSON text, since it travels through a node's control file."""

from __future__ import annotations

import msgspec

from tana.crypto.keys import parse_public_key
from tana.types.genesis import Genesis
from testbed.byzantine import ALL_BEHAVIOURS, Behaviour, Trigger


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    behaviour: str
    seed: str
    accomplices: tuple[str, ...]
    """Node ids of the other traitors."""
    trigger: Trigger


def write_wish(behaviour: str, trigger: Trigger, seed: str, accomplices: tuple[str, ...]) -> str:
    """The text that makes a node behave so."""
    return msgspec.json.encode(_Wish(behaviour, seed, accomplices, trigger)).decode()


def read_wish(text: str, genesis: Genesis) -> Behaviour:
    """The behaviour that a text asks for, on a node of that genesis."""
    wish = msgspec.json.decode(text, type=_Wish)
    keys = {item.nodeId: parse_public_key(item.publicKey) for item in genesis.validators}
    accomplices = [keys[node] for node in wish.accomplices]
    return ALL_BEHAVIOURS[wish.behaviour](wish.trigger, seed=wish.seed, accomplices=accomplices)
