"""Who votes, worked out again from the chain: convictions and changes of the set, each in force two heights on.

Rules as in docs/adr/0017-evidence.md and 0018-validator-set-changes.md, with arithmetic of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tana.types.block import Block, RawTransaction

CHANGE = b'{"type":"validator_change",'
"""How the text of a change begins: texts are canonical."""

Members = dict[bytes, tuple[int, str]]
"""Power and node id by key, in the order of the keys."""


class Membership:
    """The members two heights on. `convicted` says of each offender in which block that was."""

    def __init__(self, members: Mapping[bytes, tuple[int, str]]) -> None:
        self.members: Members = dict(sorted(members.items()))
        self.convicted: dict[bytes, int] = {}
        self.faults: dict[bytes, str] = {}
        """By text what is wrong with the changes of the block applied last."""

    def apply(self, block: Block) -> bool:
        """What a final block makes of the members. Returns whether they are others than before."""
        self.faults = {}
        changes = [raw for raw in block.transactions if raw.text.startswith(CHANGE)]
        if not block.evidence and not changes:
            return False
        before = self.members
        for evidence in block.evidence:
            self.convicted.setdefault(evidence.validator, block.height)
            if evidence.validator in self.members and len(self.members) > 1:
                self.members = {key: row for key, row in self.members.items() if key != evidence.validator}
        for raw in changes:
            self._apply_change(raw, before)
        return self.members != before

    def _apply_change(self, raw: RawTransaction, before: Members) -> None:
        fields = json.loads(raw.text)
        wanted: dict[str, Any] = fields["contractInput"]
        key, power, name = _read_key(fields["to"]), wanted["power"], wanted["nodeId"]
        replaced = _read_key(wanted["replaces"]) if wanted.get("replaces") else None
        fault = self._find_fault(key, power, name, replaced)
        members = {item: row for item, row in self.members.items() if item not in (key, replaced)}
        if power > 0:
            members[key] = (power, name)
        members = dict(sorted(members.items()))
        gained, lost = _measure(before, members)
        total = sum(row[0] for row in before.values())
        if not fault and 3 * max(gained, lost) > total:
            fault = f"the block moves a power of {max(gained, lost)}, more than a third of {total}"
        if fault:
            self.faults[raw.text] = fault
        self.members = members

    def _find_fault(self, key: bytes, power: int, name: str, replaced: bytes | None) -> str:
        member = self.members.get(key)
        others = {row[1] for item, row in self.members.items() if item not in (key, replaced)}
        if power > 0 and key in self.convicted:
            return f"an offence of that key was proven at height {self.convicted[key]}"
        if power == 0 and member is None:
            return "who leaves is no member"
        if power == 0 and len(self.members) == 1:
            return "nobody would be left"
        if power > 0 and name in others:
            return f"{name} has another key"
        if replaced is not None and self.members.get(replaced, (0, ""))[1] != name:
            return f"the replaced key is not {name}'s"
        if member is not None and (replaced is not None or member[1] != name):
            return f"the key is {member[1]}'s already"
        return ""


def _measure(before: Members, after: Members) -> tuple[int, int]:
    """How much power is gained and lost, over all keys."""
    steps = [after.get(key, (0,))[0] - before.get(key, (0,))[0] for key in {**before, **after}]
    return sum(step for step in steps if step > 0), -sum(step for step in steps if step < 0)


def _read_key(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("ed25519_"))


def mix_priorities(priorities: Mapping[bytes, int], powers: Mapping[bytes, int]) -> Iterable[int]:
    """Priorities in the rotation after a change, in the order of `powers`.

    A new key begins at −1.125 times the total power. Then the spread is drawn together to twice the total, and the mean
    is moved to zero.
    """
    total = sum(powers.values())
    mixed = [priorities.get(key, -total - total // 8) for key in powers]
    spread = max(mixed) - min(mixed)
    divisor = (spread + 2 * total - 1) // (2 * total)
    if divisor > 1:
        mixed = [priority // divisor for priority in mixed]
    mean = sum(mixed) // len(mixed)
    return [priority - mean for priority in mixed]
