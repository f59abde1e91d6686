"""The lock splitter: it holds back votes of one height until validators are locked on different blocks.

In each round only a chosen few see the polka, never so many that their precommits could decide. The others see what
is left of it, after a timeout precommit nil, and go on to a round in which something else is proposed. Who has not
seen a polka hears of it later in that round, in a later round, or only when all is over: it is drawn. While nobody is
locked, one node gets no proposal: its prevote for nil keeps the others from waiting for the votes that are held back.

Validators whose locks clash, less those that are broken from then on, are the hardest case for liveness: they go on
only if a later polka moves whoever is locked (L28), and are safe only if an earlier one does not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tana.consensus.tendermint import Step, Tendermint
from tana.types.messages import PREVOTE, PeerMessage, Proposal, Vote, VoteQuorum

LOST_MS = 100_000_000
"""Later than any run ends. What is lost is sent again once an announcement shows that it lacks."""
ROUNDS_MORE = (0, 0, 1, 3, 6)
"""How many rounds it goes on after locks clash first."""
LOCKED_AGAIN = 0.25
"""How likely a round's polka is shown to a validator that is locked already."""
RESTARTED = 0.5
"""How likely one of the locked is started anew at the end."""

_Value = tuple[bytes, int, bytes]
"""Receiver, round and block of prevotes."""


class LockSplitter:
    """An `Inspector` of the network, about one height.

    `victims` are the keys among which locks are to clash; `get_core` gives the consensus of a node that runs.
    """

    def __init__(
        self, height: int, victims: Sequence[bytes], get_core: Callable[[bytes], Tendermint | None], *, seed: str
    ) -> None:
        self.height = height
        self._victims = tuple(victims)
        self._get_core = get_core
        self._draw = random.Random(f"{seed}/locks")
        self._rounds_more = self._draw.choice(ROUNDS_MORE)
        self._last_round: int | None = None
        self._seers: dict[int, bytes] = {}
        """By round who sees its polka in time."""
        self._blind: dict[int, bytes] = {}
        """By round who gets no proposal; empty for nobody."""
        self._patience: dict[tuple[bytes, int], str] = {}
        """By receiver and round when it hears of the polka: in that `round`, `later`, or `never`."""
        self._shown: dict[_Value, set[bytes]] = {}
        """Whose prevotes a receiver was let have."""

    def __call__(self, source: bytes, target: bytes, message: PeerMessage) -> int:
        if not isinstance(message, Vote | VoteQuorum | Proposal) or message.height != self.height:
            return 0
        core = self._get_core(target)
        if core is None or core.height != self.height:
            return 0
        if isinstance(message, Proposal):
            return LOST_MS if self._is_blind(target, message, core) else 0
        if message.kind != PREVOTE or message.block_hash is None or self._may_see(target, message, core):
            return 0
        return LOST_MS

    def find_locks(self) -> dict[bytes, bytes]:
        """By victim that is locked, the block."""
        cores = ((key, self._get_core(key)) for key in self._victims)
        return {
            key: core.locked_hash
            for key, core in cores
            if core is not None and core.height == self.height and core.locked_hash is not None
        }

    def draw_restarted(self) -> bytes | None:
        """Which of the locked loses its memory when all is over; None for nobody."""
        locked = sorted(self.find_locks())
        return self._draw.choice(locked) if locked and self._draw.random() < RESTARTED else None

    def is_done(self) -> bool:
        """Whether locks clash, and have done so for as many rounds as was drawn."""
        cores = (self._get_core(key) for key in self._victims)
        round = max((core.round for core in cores if core is not None and core.height == self.height), default=0)
        if self._last_round is None and len({*self.find_locks().values()}) > 1:
            self._last_round = round + self._rounds_more
        return self._last_round is not None and round >= self._last_round

    def _is_blind(self, target: bytes, proposal: Proposal, core: Tendermint) -> bool:
        round = proposal.round
        if round not in self._blind:
            others = [key for key in self._victims if key != proposal.validator]
            self._blind[round] = b"" if self.find_locks() or not others else self._draw.choice(others)
        return target == self._blind[round] and core.round <= round and core.step <= Step.PROPOSE

    def _may_see(self, target: bytes, message: Vote | VoteQuorum, core: Tendermint) -> bool:
        assert message.block_hash is not None
        if target == self._choose_seer(message.round) or self._hears_late(target, message.round, core):
            return True
        if isinstance(message, VoteQuorum):
            return False
        shown = self._shown.setdefault((target, message.round, message.block_hash), set())
        own = core.votes.get(message.round, PREVOTE).get(target)
        is_for_it = not own or own[0].block_hash == message.block_hash
        powers = core.validators.get_power
        power = sum(map(powers, {*shown, message.validator})) + (powers(target) if is_for_it else 0)
        if core.validators.is_quorum(power):
            return False
        shown.add(message.validator)
        return True

    def _choose_seer(self, round: int) -> bytes:
        if round not in self._seers:
            locked = self.find_locks()
            free = [key for key in self._victims if key not in locked]
            again = self._draw.random() < LOCKED_AGAIN
            self._seers[round] = self._draw.choice(free if free and not again else self._victims)
        return self._seers[round]

    def _hears_late(self, target: bytes, round: int, core: Tendermint) -> bool:
        """Whether it is past the moment at which it was to miss the polka."""
        when = self._patience.get((target, round))
        if when is None:
            when = self._patience[target, round] = self._draw.choice(("round", "later", "never"))
        if core.round > round:
            return when != "never"
        return when == "round" and core.round == round and core.step == Step.PRECOMMIT
