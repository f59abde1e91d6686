"""Votes unchecked: a vote counts for whomever it names, whoever signed it."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "agreement", "accountability", "justified")


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "_take_vote",
        "if not is_member or not self._verifier(vote.validator, vote.sign_bytes(self._chain_id), vote.signature):",
        "if not is_member:",
    )
