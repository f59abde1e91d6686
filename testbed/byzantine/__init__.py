"""Byzantine behaviours by name: hooks that make a correct node lie. One file for each tight family."""

from __future__ import annotations

from testbed.byzantine.base import LIED, Behaviour
from testbed.byzantine.equivocation import DoublePrecommit, DoublePrevote, EquivocatingProposer
from testbed.byzantine.floods import FutureFlood, MadeUpEvidence, MalformedFrames
from testbed.byzantine.forgeries import BadSignature, ForgedSender, OtherChain, Replay, UnknownValidator
from testbed.byzantine.fork import Fork
from testbed.byzantine.lock_breaking import ForgottenLock, PrecommitWithoutPolka
from testbed.byzantine.lying_sync import LyingSyncPeer
from testbed.byzantine.proposals import Censorship, FalseTimestamps, InvalidBlock, ProposalOutOfTurn, WrongStateRoot
from testbed.byzantine.same_key_twice import SameKeyTwice
from testbed.byzantine.trigger import ALWAYS, Trigger
from testbed.byzantine.withholding import (
    AlwaysNil,
    SendsToSome,
    SendsToTraitors,
    Silent,
    WithholdsProposals,
    WithholdsVotes,
)

__all__ = ["ALL_BEHAVIOURS", "ALWAYS", "BEHAVIOURS", "LIED", "Behaviour", "Fork", "Trigger"]

BEHAVIOURS: dict[str, type[Behaviour]] = {
    behaviour.kind: behaviour
    for behaviour in (
        EquivocatingProposer,
        DoublePrevote,
        DoublePrecommit,
        SameKeyTwice,
        ForgottenLock,
        PrecommitWithoutPolka,
        Silent,
        WithholdsVotes,
        AlwaysNil,
        WithholdsProposals,
        SendsToSome,
        SendsToTraitors,
        InvalidBlock,
        WrongStateRoot,
        FalseTimestamps,
        Censorship,
        ProposalOutOfTurn,
        BadSignature,
        ForgedSender,
        UnknownValidator,
        OtherChain,
        Replay,
        FutureFlood,
        MadeUpEvidence,
        MalformedFrames,
        LyingSyncPeer,
    )
}
"""Whatever a cluster must withstand. `Fork`, which it cannot, stands apart."""

ALL_BEHAVIOURS: dict[str, type[Behaviour]] = {**BEHAVIOURS, Fork.kind: Fork}
