"""What becomes of evidence in a block: whether it is held against a validator, and the punishment.

Whether evidence may be in a block follows from the block's height and its parent's state alone:
1. Its height is at most the block's own, and at most `evidenceMaxAgeHeights` before it.
2. Its validator was a member at that height.
3. Nothing was proven against that validator before: one conviction takes everything there is to take, so a
   traitor that signs a thousand more contradictions fills no block with them.
4. Both messages are signed for this chain.

The convicted loses its power two heights on and never comes back. Only the last member keeps its power, since a chain
without validators could not even be repaired.
"""

from __future__ import annotations

from tana.ledger.accounts import Punishment
from tana.ledger.state import State
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.validator_set import Members


class EvidenceRefused(InvalidInput):
    """Evidence that no block of this height may hold; `code` is the stable reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code, field="evidence")


def check_offence(state: State, evidence: Evidence, height: int, max_age_heights: int) -> None:
    """Rules 1 to 3 for a block of `height` on top of `state`. Raises `EvidenceRefused` or `InvalidInput`."""
    evidence.check_form()
    if evidence.height > height:
        raise EvidenceRefused("evidence_ahead", f"it is about height {evidence.height}, ahead of block {height}")
    if height - evidence.height > max_age_heights:
        raise EvidenceRefused(
            "evidence_expired",
            f"it is about height {evidence.height}, more than {max_age_heights} heights before block {height}",
        )
    members = state.find_members(evidence.height)
    name = evidence.validator.hex()
    if members is None or evidence.validator not in members.powers:
        raise EvidenceRefused("unknown_validator", f"{name} was no validator of height {evidence.height}")
    if state.get_punishment(evidence.validator) is not None:
        raise EvidenceRefused("already_punished", f"{name} was convicted before")


def punish(state: State, evidence: Evidence, height: int) -> None:
    """Write the conviction down, and take the offender's power."""
    state.set_punishment(evidence.validator, Punishment(evidence.kind, evidence.height, height))
    members = state.get_upcoming_members()
    others = [item for item in members.validators if item.public_key != evidence.validator]
    if others and len(others) < len(members.validators):
        state.set_upcoming_members(Members.create(others))
