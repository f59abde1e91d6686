"""The Tendermint algorithm (arXiv:1807.04938, Algorithm 1) as a sans-IO state machine for one height after another.

Theory of operation. Every entry point (`start_height`, `on_vote`, `on_proposal`, `on_block`, `on_timeout`, `on_work`)
records a fact and then evaluates the rules until none fires; it returns the effects in the order in which they must
be done. Rules are tagged with their line of the paper. Deviations, each of them safe:

- A proposal and its block travel apart: "PROPOSAL with value v" holds once the signed proposal and the block of that
  hash are both here. For L36 and L49 the block and the votes suffice: correct validators among them have seen the
  proposal, and a proposer that sent us another one must not keep us from what they agree on.
- Timers of a height start with work (`on_work`) or with a message of that height; until then the step is `NEW_HEIGHT`.
- L55 counts validators that are beyond a round as having reached it (see `HeightVotes.find_skip_round`).
- L49 is tried before anything else, whatever the step: what is certified is final.

Durability: a vote or proposal is appended to the log and flushed before it is broadcast; the block's bytes and
the polka that justify a precommit are in the log before the precommit. `restore` rebuilds the state from those records.
A node never signs a slot (height, round, kind) at or below one that it signed before, unless the very same
message is in its log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from tana.consensus.certificate import create_certificate
from tana.consensus.effects import (
    Accuse,
    Append,
    Broadcast,
    ConsensusEffect,
    Decide,
    Flush,
    Halt,
    LogRecord,
    Report,
    Seen,
    SetTimer,
    Signed,
    Timer,
)
from tana.consensus.past import PastHeights
from tana.consensus.votes import HeightVotes
from tana.crypto.body import verify_body
from tana.crypto.keys import Signer, Verifier
from tana.types.block import MAX_BLOCK_BYTES, Block
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence, get_value
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    BlockPart,
    Proposal,
    Vote,
    VoteQuorum,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from tana.types.validator_set import ValidatorSet

TIMER_KINDS = ("propose", "prevote", "precommit", "empty_block")
MAX_BLOCKS_HELD = 8
PROPOSAL_SLOT = 0
"""Slots of a round in the order in which they are signed: proposal 0, prevote 1, precommit 2."""


class Step(IntEnum):
    """Where a validator stands within a round; `NEW_HEIGHT` is before round 0."""

    NEW_HEIGHT = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


class Application(Protocol):
    """What consensus asks of the ledger. All three are deterministic and free of side effects that others see."""

    def build_block(self, now_ms: int) -> Block:
        """getValue() of L18: a block on top of the last final one."""

    def check_block(self, block: Block) -> str | None:
        """valid(v): None, or why the block is invalid. Depends on the block and its parent's state only."""

    def check_time(self, block: Block, now_ms: int) -> str | None:
        """None, or why a fresh proposal lies too far ahead of our clock."""


@dataclass(frozen=True)
class Timeouts:
    """Base of each timeout and its growth per round, in ms."""

    propose_timeout_ms: int = 1000
    prevote_timeout_ms: int = 500
    precommit_timeout_ms: int = 500
    timeout_delta_ms: int = 250
    empty_block_interval_ms: int | None = 1000

    def of(self, kind: str, round: int) -> int:
        base = {
            "propose": self.propose_timeout_ms,
            "prevote": self.prevote_timeout_ms,
            "precommit": self.precommit_timeout_ms,
        }[kind]
        return base + round * self.timeout_delta_ms


class Tendermint:
    """One validator's (or follower's, with `signer` None) view of consensus.

    `sign_floor` is the highest slot `(height, round, kind)` ever signed, from the log; nothing at or below is signed
    anew. Public attributes are for reading.
    """

    round: int
    votes: HeightVotes
    proposals: dict[int, Proposal]
    equivocal: set[int]
    """Rounds whose proposer is known to have made two proposals."""

    def __init__(
        self,
        chain_id: bytes,
        application: Application,
        timeouts: Timeouts,
        signer: Signer | None,
        verifier: Verifier,
        *,
        sign_floor: tuple[int, int, int] = (0, 0, 0),
        max_block_bytes: int = MAX_BLOCK_BYTES,
    ) -> None:
        self._max_block_bytes = max_block_bytes
        self._chain_id = chain_id
        self._application = application
        self._timeouts = timeouts
        self._signer = signer
        self._verifier = verifier
        self._sign_floor = sign_floor
        self._effects: list[ConsensusEffect] = []
        self._now_ms = 0
        self.past = PastHeights(chain_id, verifier)
        self.height = 0
        self.halted = False
        self.distort: Callable[[int, bytes | None], bytes | None] | None = None
        """What to vote for instead, by kind and value: where a testbed makes a node lie."""
        self.lines: set[int] | None = None
        """Set it to a set to collect the lines of the paper that are executed (for tests)."""

    # ------------------------------------------------------------------ entry points

    def start_height(
        self,
        height: int,
        validators: ValidatorSet,
        now_ms: int,
        records: Sequence[LogRecord] = (),
    ) -> list[ConsensusEffect]:
        """Begin to decide a height. `records` are the log's records of that height, after a restart."""
        self._line(2, 3, 4, 5, 6, 7, 8, 9, 53)
        if self.height > 0:
            last_round = max(self.round, self.votes.decision[0] if self.votes.decision else 0)
            self.past.remember(self.height, last_round, self.votes, self.proposals, self.equivocal)
        self.height = height
        self.validators = validators
        self.round = -1
        self.step = Step.NEW_HEIGHT
        self.locked_round = -1
        self.locked_hash: bytes | None = None
        self.valid_round = -1
        self.valid_hash: bytes | None = None
        self.votes = HeightVotes(validators)
        self.proposals = {}
        self.equivocal = set()
        self.blocks: dict[bytes, Block] = {}
        self.decided = False
        self._logged_blocks: set[bytes] = set()
        self._invalid: dict[bytes, str] = {}
        self._signed_messages: dict[tuple[int, int], Vote | Proposal] = {}
        self._scheduled: set[tuple[str, int]] = set()
        self._begin(now_ms)
        self._restore(records)
        self._rise_above_floor()
        if self.step == Step.NEW_HEIGHT and self._timeouts.empty_block_interval_ms is not None:
            timer = Timer("empty_block", height)
            self._effects.append(SetTimer(timer, self._timeouts.empty_block_interval_ms))
        return self._evaluate()

    def on_work(self, now_ms: int) -> list[ConsensusEffect]:
        """There is something to decide: transactions, or a message of this height."""
        self._begin(now_ms)
        if self.step == Step.NEW_HEIGHT and not self.decided:
            self._line(10)
            self._start_round(0)
        return self._evaluate()

    def on_vote(self, vote: Vote, now_ms: int) -> list[ConsensusEffect]:
        """A prevote or precommit of the current height. One that is wrong or known changes nothing.

        One of an earlier height is only compared with what its validator said there.
        """
        self._begin(now_ms)
        height = vote.height
        if height < self.height:
            return self._accuse(self.past.on_vote(vote))
        if height > self.height or self.decided or not self.votes.is_news(vote):
            return []
        self._take_vote(vote)
        return self._evaluate()

    def on_quorum(self, quorum: VoteQuorum, now_ms: int) -> list[ConsensusEffect]:
        """The votes of a polka or commit that a peer sees and we do not. One that is wrong ends the reading."""
        self._begin(now_ms)
        if quorum.height != self.height or self.decided:
            return []
        votes = quorum.list_votes()
        # What an equivocator says thirdly counts only once others have said it: hence those that are left again.
        for _ in range(2):
            if not all(self._take_vote(vote) for vote in votes if self.votes.is_news(vote)):
                break
        return self._evaluate()

    def _take_vote(self, vote: Vote) -> bool:
        """Count a vote of this height. False where its signature or its validator is wrong."""
        is_member = self.validators.get_power(vote.validator) > 0
        if not is_member or not self._verifier(vote.validator, vote.sign_bytes(self._chain_id), vote.signature):
            reason = "bad signature" if is_member else "not a validator"
            self._effects.append(Report("vote_refused", {"reason": reason, "validator": vote.validator.hex()}))
            return False
        conflicting = self.votes.find_equivocation(vote)
        if conflicting is not None:
            self._effects += self._accuse(Evidence.create(conflicting, vote))
        if self.votes.add(vote, self.round):
            self._effects.append(Append(Seen(vote)))
            if conflicting is not None:
                # Nobody else may ever hear both: after a restart the log shows them again.
                self._effects.append(Flush())
            self._wake()
        return True

    def on_proposal(self, proposal: Proposal, now_ms: int) -> list[ConsensusEffect]:
        """A proposal of the current height, up to one round ahead of ours. The first one of a round counts."""
        self._begin(now_ms)
        if proposal.height < self.height:
            return self._accuse(self.past.on_proposal(proposal))
        if proposal.height > self.height or self.decided or proposal.round > max(self.round, 0) + 1:
            return []
        known = self.proposals.get(proposal.round)
        if known is not None and (get_value(known) == get_value(proposal) or proposal.round in self.equivocal):
            return []
        if proposal.valid_round >= proposal.round:
            return [Report("proposal_refused", {"reason": "valid round is not earlier", "round": proposal.round})]
        if proposal.validator != self.validators.get_proposer(proposal.round).public_key:
            return [Report("proposal_refused", {"reason": "not its proposer", "round": proposal.round})]
        if not self._verifier(proposal.validator, proposal.sign_bytes(self._chain_id), proposal.signature):
            return [Report("proposal_refused", {"reason": "bad signature", "round": proposal.round})]
        if known is not None:
            self.equivocal.add(proposal.round)
            return self._accuse(Evidence.create(known, proposal))
        self.proposals[proposal.round] = proposal
        self._effects.append(Append(Seen(proposal)))
        self._wake()
        return self._evaluate()

    def on_block(self, part: BlockPart, now_ms: int) -> list[ConsensusEffect]:
        """The bytes of a block. Kept only where a proposal or a vote of this height names its hash."""
        self._begin(now_ms)
        if part.height != self.height or self.decided or not self._is_waiting_for_a_block():
            return []
        if len(part.data) > self._max_block_bytes:
            reason = f"{len(part.data)} bytes, over the bound of {self._max_block_bytes}"
            return [Report("block_refused", {"reason": reason})]
        try:
            block = Block.decode(part.data)
            verify_body(block)
        except InvalidInput as error:
            return [Report("block_refused", {"reason": error.message})]
        if block.hash in self.blocks or not self._is_wanted(block.hash):
            return []
        self._keep_block(block)
        return self._evaluate()

    def on_timeout(self, timer: Timer, now_ms: int) -> list[ConsensusEffect]:
        """A timer has run out. A stale one (other height, round or step) changes nothing."""
        self._begin(now_ms)
        if timer.height != self.height or self.decided:
            return []
        if timer.kind == "empty_block":
            return self.on_work(now_ms)
        if timer.round != self.round:
            return []
        if timer.kind == "propose" and self.step == Step.PROPOSE:
            self._line(57, 58, 59, 60)
            self._prevote(None)
        elif timer.kind == "prevote" and self.step == Step.PREVOTE:
            self._line(61, 62, 63, 64)
            self._precommit(None)
        elif timer.kind == "precommit":
            self._line(65, 66, 67)
            self._start_round(self.round + 1)
        return self._evaluate()

    @property
    def is_signing(self) -> bool:
        """Whether this node votes at this height."""
        return self._signer is not None and self.validators.get_power(self._signer.public_key) > 0

    def own_messages(self) -> list[Vote | Proposal]:
        """What this node signed at this height, in signing order: sent again after a restart, byte for byte."""
        return [self._signed_messages[slot] for slot in sorted(self._signed_messages)]

    # ------------------------------------------------------------------ the rules

    def _evaluate(self) -> list[ConsensusEffect]:
        """Fire rules until none applies, and hand out the effects."""
        # Most of the time nothing fires: what each rule needs is looked at here, before it is tried.
        votes = self.votes
        while not (self.decided or self.halted):
            if votes.decision is not None and self._try_decide():
                continue
            if votes.is_anybody_ahead and self._try_skip_round():
                continue
            if self.step == Step.PROPOSE:
                if self.round in self.proposals and self._try_prevote():
                    continue
            elif self.step >= Step.PREVOTE:
                found, block_hash = votes.get(self.round, PREVOTE).find_quorum()
                if found and (self._try_precommit_nil(block_hash) or self._try_polka(block_hash)):
                    continue
            self._schedule_waiting()
            break
        effects, self._effects = self._effects, []
        return effects

    def _start_round(self, round: int) -> None:
        self._line(11, 12, 13)
        self.round = round
        self.step = Step.PROPOSE
        self.votes.enter_round(round)
        if self._is_proposer(round):
            self._line(14)
            self._propose()
        else:
            self._line(20, 21)
            self._schedule("propose")

    def _propose(self) -> None:
        if self.valid_hash is not None:
            self._line(15, 16)
            block = self.blocks[self.valid_hash]
        else:
            self._line(17, 18)
            block = self._application.build_block(self._now_ms)
            self._keep_block(block)
        self._line(19)
        proposal = self._sign_proposal(block.hash)
        if proposal is None:
            # The slot was used before a crash and its message is gone: be as a proposer that is silent.
            self._schedule("propose")
            return
        self.proposals[self.round] = proposal
        self._log_block(block)
        self._effects += [
            Append(Signed(proposal)),
            Flush(),
            Broadcast(proposal),
            Broadcast(BlockPart(self.height, block.data)),
        ]

    def _try_prevote(self) -> bool:
        proposal = self.proposals[self.round]
        block = self.blocks.get(proposal.block_hash)
        if block is None:
            return False
        if proposal.valid_round == -1:
            self._line(22, 23)
            late = self._application.check_time(block, self._now_ms) if block.hash != self.locked_hash else None
            is_free = self.locked_round == -1 or self.locked_hash == block.hash
            self._answer_proposal(block, late, is_free, (24, 26, 27))
            return True
        if not self._is_polka(proposal.valid_round, block.hash):
            return False
        self._line(28, 29)
        is_free = self.locked_round <= proposal.valid_round or self.locked_hash == block.hash
        self._answer_proposal(block, None, is_free, (30, 32, 33))
        return True

    def _answer_proposal(self, block: Block, objection: str | None, is_free: bool, lines: tuple[int, int, int]) -> None:
        reason = objection or self._check(block)
        yes_line, no_line, step_line = lines
        self._line(step_line)
        if reason is None and is_free:
            self._line(yes_line)
            self._prevote(block.hash)
            return
        self._line(no_line)
        reason = reason or f"locked on {(self.locked_hash or b'').hex()[:8]} since round {self.locked_round}"
        proposer = self.proposals[self.round].validator.hex()
        fields = {"height": self.height, "round": self.round, "proposer": proposer, "block": block.hash.hex()}
        self._effects.append(Report("prevote_nil", {**fields, "reason": reason}))
        self._prevote(None)

    def _try_polka(self, block_hash: bytes | None) -> bool:
        if block_hash is None or ("polka", self.round) in self._scheduled:
            return False
        block = self.blocks.get(block_hash)
        if block is None or self._check(block) is not None:
            return False
        self._line(36)
        self._scheduled.add(("polka", self.round))
        if self.step == Step.PREVOTE:
            self._line(37, 38, 39, 40, 41)
            self.locked_hash, self.locked_round = block_hash, self.round
            self._log_block(block)
            self._precommit(block_hash)
        self._line(42, 43)
        self.valid_hash, self.valid_round = block_hash, self.round
        return True

    def _try_precommit_nil(self, block_hash: bytes | None) -> bool:
        if self.step != Step.PREVOTE or block_hash is not None:
            return False
        self._line(44, 45, 46)
        self._precommit(None)
        return True

    def _schedule_waiting(self) -> None:
        if self.step == Step.PREVOTE and self.votes.get(self.round, PREVOTE).has_any_quorum():
            self._line(34, 35)
            self._schedule("prevote")
        if self.round >= 0 and self.votes.get(self.round, PRECOMMIT).has_any_quorum():
            self._line(47, 48)
            self._schedule("precommit")

    def _try_decide(self) -> bool:
        assert self.votes.decision is not None
        round, block_hash = self.votes.decision
        block = self.blocks.get(block_hash)
        if block is None:
            return False
        reason = self._check(block)
        if reason is not None:
            self._effects.append(Halt(f"height {self.height}: a certified block is invalid here: {reason}"))
            self.halted = True
            return True
        self._line(49, 50, 51, 52, 54)
        certificate = create_certificate(self.height, round, block_hash, self.votes.get(round, PRECOMMIT))
        self.decided = True
        self._effects.append(Decide(block, certificate))
        return True

    def _try_skip_round(self) -> bool:
        round = self.votes.find_skip_round(self.round)
        if round is None:
            return False
        self._line(55, 56)
        self._start_round(round)
        return True

    # ------------------------------------------------------------------ signing

    def _prevote(self, block_hash: bytes | None) -> None:
        self.step = Step.PREVOTE
        self._cast(PREVOTE, block_hash)

    def _precommit(self, block_hash: bytes | None) -> None:
        self.step = Step.PRECOMMIT
        self._cast(PRECOMMIT, block_hash)

    def _cast(self, kind: int, block_hash: bytes | None) -> None:
        signer = self._signer
        if signer is None or not self._may_sign(kind):
            return
        if self.distort is not None:
            block_hash = self.distort(kind, block_hash)
        message = vote_sign_bytes(self._chain_id, kind, self.height, self.round, block_hash)
        vote = Vote(kind, self.height, self.round, block_hash, signer.public_key, signer.sign(message))
        self._signed_messages[self.round, kind] = vote
        self.votes.add(vote, self.round)
        self._effects += [Append(Signed(vote)), Flush(), Broadcast(vote)]

    def _sign_proposal(self, block_hash: bytes) -> Proposal | None:
        signer = self._signer
        if signer is None or not self._may_sign(PROPOSAL_SLOT):
            return None
        message = proposal_sign_bytes(self._chain_id, self.height, self.round, block_hash, self.valid_round)
        signature = signer.sign(message)
        proposal = Proposal(self.height, self.round, block_hash, self.valid_round, signer.public_key, signature)
        self._signed_messages[self.round, PROPOSAL_SLOT] = proposal
        return proposal

    def _may_sign(self, kind: int) -> bool:
        """Whether this slot was never signed: above the floor, which then rises to it."""
        slot = (self.height, self.round, kind)
        if not self.is_signing or slot <= self._sign_floor:
            return False
        self._sign_floor = slot
        return True

    # ------------------------------------------------------------------ restart

    def _restore(self, records: Sequence[LogRecord]) -> None:
        """Rebuild round, step, lock and valid value from this height's log records, and send our own messages again."""
        for record in records:
            message = record.message
            if isinstance(record, Signed) and not isinstance(message, BlockPart):
                kind = message.kind if isinstance(message, Vote) else PROPOSAL_SLOT
                self._signed_messages[message.round, kind] = message
                self.round = max(self.round, message.round)
        for record in records:
            self._restore_message(record.message)
        own = self.own_messages()
        if not own:
            return
        last_slot = max(kind for round, kind in self._signed_messages if round == self.round)
        self.step = Step(max(last_slot + 1, Step.PROPOSE))
        for round in range(self.round + 1):
            vote = self._signed_messages.get((round, PRECOMMIT))
            if isinstance(vote, Vote) and vote.block_hash is not None:
                self.locked_round = self.valid_round = round
                self.locked_hash = self.valid_hash = vote.block_hash
        self._restore_valid_value()
        assert self.locked_hash is None or self.locked_hash in self.blocks, "a lock without its block in the log"
        if self.step == Step.PROPOSE and not self._is_proposer(self.round):
            self._schedule("propose")
        self._effects.append(
            Report("restored", {"height": self.height, "round": self.round, "step": self.step.name.lower()})
        )
        for message in own:
            self._effects.append(Broadcast(message))
            block = self.blocks.get(message.block_hash) if isinstance(message, Proposal) else None
            if block is not None:
                self._effects.append(Broadcast(BlockPart(self.height, block.data)))

    def _rise_above_floor(self) -> None:
        """Where slots of this height are used up and their messages are gone (`tana validator recover`), begin in the
        first round that is free: its votes move on whoever waits in an earlier one (L55)."""
        height, round, kind = self._sign_floor
        if height != self.height:
            return
        slots = [slot for signed, slot in self._signed_messages if signed == self.round]
        last = (self.round, max(slots, default=PROPOSAL_SLOT))
        if self.is_signing and (round, kind) > last:
            self._start_round(round + 1 if kind == PRECOMMIT else max(round, self.round))

    def _restore_message(self, message: Vote | Proposal | BlockPart) -> None:
        if isinstance(message, Vote):
            conflicting = self.votes.find_equivocation(message)
            if conflicting is not None:
                self._effects += self._accuse(Evidence.create(conflicting, message))
            self.votes.add(message, self.round)
        elif isinstance(message, Proposal):
            self.proposals[message.round] = message
        else:
            block = Block.decode(message.data)
            self.blocks[block.hash] = block
            self._logged_blocks.add(block.hash)

    def _restore_valid_value(self) -> None:
        for round in range(self.round, self.valid_round, -1):
            found, block_hash = self.votes.get(round, PREVOTE).find_quorum()
            if found and block_hash in self.blocks:
                self.valid_round, self.valid_hash = round, block_hash
                return

    # ------------------------------------------------------------------ small helpers

    def _begin(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def _wake(self) -> None:
        """A message of this height starts its timers."""
        if self.step == Step.NEW_HEIGHT:
            self._line(10)
            self._start_round(0)

    def _is_waiting_for_a_block(self) -> bool:
        """Whether any block would be kept: else its bytes are not worth a look."""
        return any(proposal.block_hash not in self.blocks for proposal in self.proposals.values()) or any(
            block_hash not in self.blocks for block_hash in self.votes.find_backed()
        )

    def _is_wanted(self, block_hash: bytes) -> bool:
        """Whether a proposal names the block, or a third of the power voted for it in one round."""
        is_proposed = any(proposal.block_hash == block_hash for proposal in self.proposals.values())
        return is_proposed or block_hash in self.votes.find_backed()

    def _keep_block(self, block: Block) -> None:
        self.blocks[block.hash] = block
        kept = {self.locked_hash, self.valid_hash, block.hash}
        kept |= {self.proposals[self.round].block_hash} if self.round in self.proposals else set()
        for block_hash in list(self.blocks):
            if len(self.blocks) <= MAX_BLOCKS_HELD:
                break
            if block_hash not in kept:
                del self.blocks[block_hash]

    def _log_block(self, block: Block) -> None:
        if block.hash not in self._logged_blocks:
            self._logged_blocks.add(block.hash)
            self._effects.append(Append(Seen(BlockPart(self.height, block.data))))

    def _check(self, block: Block) -> str | None:
        """valid(v), asked once for each block."""
        if block.hash not in self._invalid:
            self._invalid[block.hash] = self._application.check_block(block) or ""
        return self._invalid[block.hash] or None

    def _is_polka(self, round: int, block_hash: bytes) -> bool:
        return self.validators.is_quorum(self.votes.get(round, PREVOTE).power_for(block_hash))

    def _is_proposer(self, round: int) -> bool:
        signer = self._signer
        return signer is not None and self.validators.get_proposer(round).public_key == signer.public_key

    def _schedule(self, kind: str) -> None:
        """Start a timer of the current round, once."""
        if (kind, self.round) not in self._scheduled:
            self._scheduled.add((kind, self.round))
            timer = Timer(kind, self.height, self.round)
            self._effects.append(SetTimer(timer, self._timeouts.of(kind, self.round)))

    def _accuse(self, evidence: Evidence | None) -> list[ConsensusEffect]:
        if evidence is None:
            return []
        values = [(item.block_hash or b"").hex() or "nil" for item in (evidence.first, evidence.second)]
        fields = {"kind": evidence.kind, "height": evidence.height, "round": evidence.first.round, "values": values}
        return [Report("equivocation", {**fields, "validator": evidence.validator.hex()}), Accuse(evidence)]

    def _line(self, *numbers: int) -> None:
        if self.lines is not None:
            self.lines.update(numbers)
