"""Proposer unchecked: a proposal is taken from whoever signed it, whosever turn it is."""

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch

CAUGHT_BY = ("justified",)


def plant(patch: Patch) -> None:
    patch.edit(
        Tendermint,
        "on_proposal",
        "if proposal.validator != self.validators.get_proposer(proposal.round).public_key:",
        "if self.validators.get_power(proposal.validator) == 0 or (known and known.validator != proposal.validator):",
    )
