"""What a Byzantine behaviour is: a hook on the outgoing side of a correct node, which changes what leaves it.

The node inside stays correct: same machine, same ledger, same log. Its hook sees each step's effects and says what
leaves instead; it holds the node's key, so its lies are truly signed. Journals record the effects before the lies.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from tana.crypto.keys import Signer
from tana.node.effects import Broadcast, Effect, Report, Send
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, TimerFired
from tana.node.machine import Machine
from tana.types.block import Block
from tana.types.errors import InvalidInput
from tana.types.evidence import get_slot
from tana.types.messages import (
    Announcement,
    BlockPart,
    PeerMessage,
    Proposal,
    Vote,
    VoteQuorum,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from testbed.byzantine.trigger import ALWAYS, Trigger

MAX_SLOTS_REMEMBERED = 1_000
LIED = "lied"
"""The report that shows from outside that a lie was told, once for each height and behaviour."""


class Behaviour(Hooks):
    """Base of all behaviours. A subclass overrides `say`, `change` or `add`; `lied` counts what it told.

    The same seed, trigger and inputs give the same lies.
    """

    kind: ClassVar[str]
    is_withholding: ClassVar[bool] = False
    """Whether the node's voting power is missing meanwhile, as if it were down."""
    is_punished: ClassVar[bool] = False
    """Whether it leaves evidence, which correct validators commit."""

    def __init__(
        self, trigger: Trigger = ALWAYS, *, seed: int | str = 0, accomplices: Collection[bytes] = frozenset()
    ) -> None:
        self.trigger = trigger
        self.lied = 0
        self.accomplices = frozenset(accomplices)
        """Keys of the other traitors."""
        self.seed = f"{seed}/{self.kind}"
        self.random = random.Random(self.seed)
        self.peers: dict[bytes, None] = {}
        """Connected peers in the order of their keys."""
        self._said: dict[tuple[bytes, int, int, int], list[PeerMessage]] = {}
        """What was said in each slot of its own, so that it is said again and nothing else."""
        self._reported_height = 0
        self.queued: list[Effect] = []
        """What leaves besides, at the end of this step."""
        self._now_ms = 0
        self.prepare()

    # ------------------------------------------------------------------ hooks

    def on_begin(self, beginning: Beginning) -> None:
        self.machine: Machine = beginning.machine
        self.signer = beginning.signer
        self.genesis = beginning.genesis
        self.chain_id = beginning.machine.ledger.chain_id
        self.peers = {}
        self._hide_evidence()

    def meet(self, peers: Iterable[bytes]) -> None:
        """These peers are connected already: the lies begin in the middle of a node's life."""
        self.peers = dict.fromkeys(sorted(peers))

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        self._now_ms = now_ms
        match input:
            case PeerConnected(peer):
                self.peers = dict.fromkeys(sorted({*self.peers, peer}))
            case PeerDisconnected(peer):
                self.peers.pop(peer, None)
            case Received(peer, message):
                self.hear(peer, message)
            case _:
                pass
        changed: list[Effect] = []
        for effect in effects:
            changed += self.change(effect)
        if isinstance(input, TimerFired) and input.timer.kind == "announce" and self.is_on():
            changed += self.add()
        queued, self.queued = self.queued, []
        return changed + queued

    # ------------------------------------------------------------------ what subclasses override

    def prepare(self) -> None:
        """Make what the behaviour remembers. Called once, before anything else."""

    def on_end(self) -> None:
        """The node is to be honest again. Called once, after everything else."""

    def hear(self, peer: bytes, message: PeerMessage) -> None:
        """A message came in; the machine has had it already."""

    def change(self, effect: Effect) -> Sequence[Effect]:
        """What happens instead of one effect. Called whether the trigger is on or not."""
        match effect:
            case Broadcast(message):
                return [Broadcast(item) for item in self._tell(message)]
            case Send(peer, message):
                return [Send(peer, item) for item in self._tell(message)]
        return [effect]

    def say(self, message: PeerMessage) -> Sequence[PeerMessage]:
        """What leaves instead of one message, to whomever it goes. Called only while the trigger is on."""
        return [message]

    def add(self) -> Sequence[Effect]:
        """What leaves besides, once in each announce interval. Called only while the trigger is on."""
        return ()

    # ------------------------------------------------------------------ sticking to a story

    def stick_to(self, effects: Sequence[Effect]) -> list[Effect]:
        """These effects with nothing in them that contradicts what was said while the lies lasted.

        Peers ask for the votes of heights past. The truth about a slot that was lied about would be a second statement
        in it, and an offence of its own.
        """
        changed: list[Effect] = []
        for effect in effects:
            match effect:
                case Broadcast(Vote() | Proposal() | VoteQuorum() as message) if self._find_story(message) is not None:
                    changed += [Broadcast(item) for item in self._find_story(message) or ()]
                case Send(peer, Vote() | Proposal() | VoteQuorum() as message) if self._find_story(message) is not None:
                    changed += [Send(peer, item) for item in self._find_story(message) or ()]
                case _:
                    changed.append(effect)
        return changed

    def _hide_evidence(self) -> None:
        """Let the honest machine inside take in no evidence against itself or its accomplices: it hears its own lies
        from its peers, and would turn itself in."""
        pool = self.machine.evidence
        pool.spared = {self.signer.public_key, *self.accomplices, *pool.spared}

    def _tell(self, message: PeerMessage) -> Sequence[PeerMessage]:
        story = self._find_story(message)
        if story is not None:
            return story
        if not self.is_on_for(message):
            return [message]
        told = self.say(message)
        if not self.is_withholding:
            for item in told:
                if isinstance(item, Vote | Proposal) and self.is_own(item):
                    self._said.setdefault(get_slot(item), []).append(item)
            while len(self._said) > MAX_SLOTS_REMEMBERED:
                del self._said[next(iter(self._said))]
        return told

    def _find_story(self, message: PeerMessage) -> Sequence[PeerMessage] | None:
        if isinstance(message, VoteQuorum) and self.shows_own_vote(message):
            # Its own vote is among them, and what was said instead of it is another one.
            slot = (self.signer.public_key, message.height, message.round, message.kind)
            return () if slot in self._said else None
        if not isinstance(message, Vote | Proposal) or not self.is_own(message):
            return None
        return self._said.get(get_slot(message))

    # ------------------------------------------------------------------ for subclasses

    def is_on(self, height: int | None = None, round: int | None = None) -> bool:
        """Whether to lie about a height and round: those being decided where left out."""
        core = self.machine.core
        height = core.height if height is None else height
        round = max(core.round, 0) if round is None else round
        return self.trigger.is_on(self.seed, height, round, self._now_ms - self.genesis.createdAt)

    def is_on_for(self, message: PeerMessage) -> bool:
        match message:
            case Vote() | Proposal() | VoteQuorum():
                return self.is_on(message.height, message.round)
            case BlockPart() | Announcement():
                return self.is_on(message.height)
        return self.is_on()

    def is_own(self, message: PeerMessage) -> bool:
        """Whether this node signed a message itself (others' votes pass through it too)."""
        return isinstance(message, Vote | Proposal) and message.validator == self.signer.public_key

    def shows_own_vote(self, message: PeerMessage) -> bool:
        """Whether a message shows a vote that this node signed: alone, or among those of a quorum."""
        if isinstance(message, VoteQuorum):
            return any(item.validator == self.signer.public_key for item in message.signatures)
        return isinstance(message, Vote) and self.is_own(message)

    def note_lie(self, height: int | None = None) -> None:
        """Count a lie, and report the first of each height."""
        self.lied += 1
        height = self.machine.core.height if height is None else height
        if height > self._reported_height:
            self._reported_height = height
            self.queued.append(Report(LIED, {"behaviour": self.kind, "height": height}))

    def sign_vote(
        self, kind: int, height: int, round: int, block_hash: bytes | None, signer: Signer | None = None
    ) -> Vote:
        """A vote that this node's key signs, or another one."""
        signer = signer or self.signer
        message = vote_sign_bytes(self.chain_id, kind, height, round, block_hash)
        return Vote(kind, height, round, block_hash, signer.public_key, signer.sign(message))

    def sign_proposal(
        self, height: int, round: int, block_hash: bytes, valid_round: int = -1, signer: Signer | None = None
    ) -> Proposal:
        """A proposal that this node's key signs, or another one."""
        signer = signer or self.signer
        message = proposal_sign_bytes(self.chain_id, height, round, block_hash, valid_round)
        return Proposal(height, round, block_hash, valid_round, signer.public_key, signer.sign(message))

    def make_hash(self, label: object) -> bytes:
        """32 bytes that are no block's hash; the same label gives the same ones."""
        return random.Random(f"{self.seed}/{label}").randbytes(32)

    @staticmethod
    def read_block(part: BlockPart) -> Block | None:
        """The block of a part, None where its bytes are none: another lie of the same node may have made them."""
        try:
            return Block.decode(part.data)
        except InvalidInput:
            return None

    def find_block(self, block_hash: bytes) -> Block | None:
        return self.machine.core.blocks.get(block_hash)

    @property
    def now_ms_here(self) -> int:
        """The node's clock at this step."""
        return self._now_ms
