"""The node without input and output: consensus, ledger, mempool and sync behind one `step`.

The runtime of a validator and the simulator of the testbed both drive this very machine. It never looks at a clock,
socket or disk: `step(input, now_ms)` returns effects, and whoever drives it performs them strictly in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tana.consensus.announcements import find_lacking
from tana.consensus.certificate import verify_certificate
from tana.consensus.effects import Accuse, ConsensusEffect, Decide
from tana.consensus.tendermint import Step, Tendermint, Timeouts
from tana.crypto import keys
from tana.crypto.body import verify_body
from tana.crypto.keys import Signer, Verifier
from tana.ledger.evidence_pool import EvidencePool
from tana.ledger.ledger import InvalidBlock, Ledger
from tana.ledger.mempool import Admission, Mempool
from tana.node.announcer import Announcer
from tana.node.effects import (
    Admitted,
    Append,
    Broadcast,
    Commit,
    Dropped,
    Effect,
    Flush,
    Halt,
    LogRecord,
    Report,
    Send,
    ServeBlocks,
    SetTimer,
)
from tana.node.gossip import Gossip
from tana.node.inputs import (
    Input,
    PeerConnected,
    PeerDisconnected,
    Received,
    Started,
    Submitted,
    Timer,
    TimerFired,
)
from tana.node.sync import Sync
from tana.types.block import Block, Certificate
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    Announcement,
    BlockPart,
    Blocks,
    BlocksRequest,
    EvidenceMessage,
    Proposal,
    Transactions,
    Vote,
    VoteQuorum,
)
from tana.types.transaction import SignedTransaction, parse_signed_text

EARLY_MESSAGES_PER_PEER = 16
"""Messages of the next height kept per peer: a proposal, its block, and votes of the first rounds."""
EARLY_PARTS = 2
"""Blocks among them: they are large, and a height begins with one."""
PART_INTERVAL_MS = 500
"""A block is sent to one peer again at most this often: it is large and may still be on its way."""
EVIDENCE_REFUSALS_MAX = 8
"""Wrong evidence that a peer may send in one announce interval; what it sends after that is not looked at."""
_OUTRUN = ("already_punished", "evidence_ahead")
"""Why evidence is refused that honest peers send while one of us is a block behind."""

ConsensusMessage = Vote | Proposal | BlockPart | VoteQuorum


@dataclass(frozen=True)
class MachineConfig(Timeouts):
    """Timing of a node, in ms; `empty_block_interval_ms` None means that there are no empty blocks.

    With `min_block_interval_ms` a node lets transactions gather for a moment after a block instead of deciding on each
    handful: a height has a price of its own. It never holds back a height that a peer has begun.
    """

    announce_interval_ms: int = 100
    sync_timeout_ms: int = 1000
    gossip_delay_ms: int = 5
    min_block_interval_ms: int = 15


@dataclass(frozen=True)
class MachineStatus:
    """Where a node stands. `height` is the last final block; the rest of the second line is about the next one."""

    state: str
    reason: str
    height: int
    block_hash: bytes
    state_root: bytes
    time_ms: int
    deciding_height: int
    round: int
    step: str
    step_power: int
    quorum_power: int
    missing: tuple[str, ...]
    announcements: int
    peers: tuple[bytes, ...]
    peer_heights: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class MachineGauges:
    """What a node holds in memory, in pieces and bytes: every one of these has a bound that follows from n.

    `past_messages` are votes and proposals of heights decided lately, `early_messages` those of the next height.
    """

    validators: int
    peers: int
    round: int
    votes: int
    proposals: int
    blocks: int
    block_bytes: int
    past_messages: int
    early_messages: int
    evidence: int
    mempool_transactions: int
    mempool_bytes: int
    mempool_bytes_max: int


class Machine:
    """One node. `signer` None makes a follower, or an abstaining validator where `abstain_reason` says why.

    `records` are what the log holds, `sign_floor` the highest slot ever signed (see `Tendermint`). The first input
    is `Started`; `status` answers from then on.
    """

    def __init__(
        self,
        config: MachineConfig,
        ledger: Ledger,
        mempool: Mempool,
        signer: Signer | None,
        verifier: Verifier = keys.verify,
        *,
        own_key: bytes,
        records: Sequence[LogRecord] = (),
        sign_floor: tuple[int, int, int] = (0, 0, 0),
        abstain_reason: str = "",
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.mempool = mempool
        self.evidence = EvidencePool(ledger)
        self.own_key = own_key
        self.halted_reason = ""
        self._abstain_reason = abstain_reason
        self._verifier = verifier
        self._records = list(records)
        self._sync = Sync()
        self._early: dict[bytes, deque[ConsensusMessage]] = {}
        self._part_sent_ms: dict[bytes, int] = {}
        self._evidence_refusals: dict[bytes, int] = {}
        self._committed_ms = 0
        self._effects: list[Effect] = []
        self._now_ms = 0
        self._handlers: dict[type, Callable[[bytes, Any], None]] = {
            Vote: self._on_consensus,
            Proposal: self._on_consensus,
            BlockPart: self._on_consensus,
            VoteQuorum: self._on_consensus,
            Announcement: self._on_announcement,
            EvidenceMessage: self._on_evidence,
            Transactions: self._on_transactions,
            BlocksRequest: self._on_blocks_request,
            Blocks: self._on_blocks,
        }
        self.core = Tendermint(
            ledger.chain_id,
            self,
            config,
            signer,
            verifier,
            sign_floor=sign_floor,
            max_block_bytes=ledger.genesis.parameters.maxBlockBytes,
        )
        self._announcer = Announcer(self.core, self.evidence)
        self._gossip = Gossip(mempool)

    # ------------------------------------------------------------------ the one verb

    def step(self, input: Input, now_ms: int) -> list[Effect]:
        """Take one fact in and return what must be done about it, in order."""
        if self.halted_reason:
            return []
        self._now_ms = now_ms
        if type(input) is Received:
            peer, message = input.peer, input.message
            kind = type(message)
            handle = self._handlers.get(kind)
            if handle is not None and peer in self._early:
                if kind is not Announcement:
                    self._announcer.on_change()
                handle(peer, message)
        else:
            self._on_other(input)
        effects, self._effects = self._effects, []
        return order_effects(effects)

    def _on_other(self, input: Input) -> None:
        match input:
            case TimerFired(Timer("announce")):
                self._announce()
                return
            case TimerFired(timer):
                self._on_timer(timer)
            case Submitted(request_id, transactions):
                self._on_submitted(request_id, transactions)
            case PeerConnected(peer):
                self._on_connected(peer)
            case PeerDisconnected(peer):
                self._on_disconnected(peer)
            case Started():
                self._effects.append(SetTimer(Timer("announce"), self.config.announce_interval_ms))
                self._start_height()
        self._announcer.on_change()

    # ------------------------------------------------------------------ Application of the consensus core

    def build_block(self, now_ms: int) -> Block:
        """A block of the evidence and the transactions that wait."""
        candidates, evidence = self.mempool.candidates(), self.evidence.list_all()
        return self.ledger.build_block(self.own_key, now_ms, candidates, evidence=evidence)

    def check_block(self, block: Block) -> str | None:
        """None, or why the ledger refuses the block."""
        try:
            self.ledger.execute(block)
        except InvalidInput as error:
            return error.message
        return None

    def check_time(self, block: Block, now_ms: int) -> str | None:
        """None, or why a fresh proposal is too far ahead of this node's clock."""
        if self.ledger.is_clock_lead_acceptable(block, now_ms):
            return None
        return f"its time is {block.header.time_ms - now_ms} ms ahead of this node's clock"

    # ------------------------------------------------------------------ inputs

    def _on_consensus(self, peer: bytes, message: ConsensusMessage) -> None:
        if message.height == self.core.height + 1:
            # The peer decided before us: what it says of the next height is kept until we get there.
            early = self._early[peer]
            if not isinstance(message, BlockPart) or sum(isinstance(item, BlockPart) for item in early) < EARLY_PARTS:
                early.append(message)
            return
        self._give_to_core(message)

    def _give_to_core(self, message: ConsensusMessage) -> None:
        match message:
            case Vote():
                effects = self.core.on_vote(message, self._now_ms)
            case Proposal():
                effects = self.core.on_proposal(message, self._now_ms)
            case BlockPart():
                effects = self.core.on_block(message, self._now_ms)
            case VoteQuorum():
                effects = self.core.on_quorum(message, self._now_ms)
        if effects:
            self._perform(effects)

    def _on_blocks_request(self, peer: bytes, request: BlocksRequest) -> None:
        last = min(request.last_height, self.ledger.height)
        if request.first_height <= last:
            self._effects.append(ServeBlocks(peer, request.first_height, last))

    def _on_announcement(self, peer: bytes, announcement: Announcement) -> None:
        self._sync.on_claim(peer, announcement.height)
        if self._announcer.is_answered(peer, announcement):
            return
        sent = len(self._effects)
        self._effects += [Send(peer, told) for told in self.core.past.find_conflicting(announcement.past)]
        if announcement.height <= self.core.height:
            for evidence in self.evidence.list_lacking(announcement.accused, announcement.height):
                self._effects.append(Send(peer, EvidenceMessage(evidence)))
        if announcement.height > self.core.height:
            # One height apart is what peers in the middle of a decision are; the next announcement of ours asks.
            if announcement.height > self.core.height + 1:
                self._request_blocks()
        elif announcement.height < self.core.height:
            self._effects.append(Send(peer, self._announcer.create()))
        else:
            lacking = find_lacking(self.core, announcement)
            for message in lacking:
                if not isinstance(message, BlockPart) or self._may_send_part(peer):
                    self._effects.append(Send(peer, message))
            if announcement.step > Step.NEW_HEIGHT and self.core.step == Step.NEW_HEIGHT:
                self._announcer.on_change()
                self._perform(self.core.on_work(self._now_ms))
            elif not lacking and len(self._effects) == sent:
                self._announcer.note_answered(peer, announcement)

    def _on_evidence(self, peer: bytes, message: EvidenceMessage) -> None:
        if self._evidence_refusals.get(peer, 0) >= EVIDENCE_REFUSALS_MAX:
            return
        try:
            self.evidence.add(message.evidence)
        except InvalidInput as error:
            self._evidence_refusals[peer] = self._evidence_refusals.get(peer, 0) + 1
            if error.code not in _OUTRUN:
                self._effects.append(Report("evidence_refused", {"peer": peer.hex(), "reason": error.message}))
        self._start_work()

    def _on_transactions(self, peer: bytes, message: Transactions) -> None:
        for raw in message.transactions:
            if self.ledger.verified.get(raw.leaf) is not None:
                continue
            try:
                self.mempool.add(parse_signed_text(raw.text, raw.signature))
            except InvalidInput as error:
                self._effects.append(Report("transaction_refused", {"reason": error.message}))
        self._start_work()

    def _on_submitted(self, request_id: int, transactions: tuple[SignedTransaction, ...]) -> None:
        admissions: list[Admission] = []
        for transaction in transactions:
            admission = self.mempool.add(transaction)
            admissions.append(admission)
            if admission.status == "accepted" and self._gossip.add(transaction):
                self._effects.append(SetTimer(Timer("gossip"), self.config.gossip_delay_ms))
        self._effects.append(Admitted(request_id, tuple(admissions)))
        self._start_work()

    def _on_timer(self, timer: Timer) -> None:
        match timer.kind:
            case "gossip":
                self._effects += [Broadcast(message) for message in self._gossip.take()]
            case "work":
                self._start_work()
            case "sync":
                self._sync.on_timeout()
                self._request_blocks()
            case _:
                self._perform(self.core.on_timeout(timer, self._now_ms))

    def _on_connected(self, peer: bytes) -> None:
        if peer in self._early:
            return
        self._early[peer] = deque(maxlen=EARLY_MESSAGES_PER_PEER)
        self._sync.on_connected(peer)
        self._effects.append(Send(peer, self._announcer.create()))
        self._effects += [Send(peer, message) for message in self._gossip.list_pending()]

    def _on_disconnected(self, peer: bytes) -> None:
        self._early.pop(peer, None)
        self._announcer.forget(peer)
        self._sync.on_disconnected(peer)
        self._part_sent_ms.pop(peer, None)
        self._evidence_refusals.pop(peer, None)
        self._request_blocks()

    # ------------------------------------------------------------------ consensus

    def _start_height(self) -> None:
        height = self.ledger.height + 1
        records = [record for record in self._records if record.message.height == height]
        self._records = [record for record in self._records if record.message.height > height]
        self._part_sent_ms = {}
        self._announcer.count = 0
        self._perform(self.core.start_height(height, self.ledger.validators, self._now_ms, records))
        for early in self._early.values():
            waiting = list(early)
            early.clear()
            for message in waiting:
                if message.height == self.core.height:
                    self._give_to_core(message)
        self._start_work()

    def _start_work(self) -> None:
        if self.core.step != Step.NEW_HEIGHT or not self._has_work():
            return
        wait_ms = self._committed_ms + self.config.min_block_interval_ms - self._now_ms
        # A clock that was set back since must not hold work up for as long.
        wait_ms = min(wait_ms, self.config.min_block_interval_ms)
        if wait_ms > 0:
            self._effects.append(SetTimer(Timer("work"), wait_ms))
        else:
            self._perform(self.core.on_work(self._now_ms))

    def _has_work(self) -> bool:
        """Whether there is something to decide: transactions, evidence, or a set change not yet in force."""
        return self.mempool.has_work() or len(self.evidence) > 0 or self.ledger.has_pending_change

    def _perform(self, effects: list[ConsensusEffect]) -> None:
        has_accused = False
        for effect in effects:
            # By type and not by class, and the most frequent ones first.
            if type(effect) is Append or type(effect) is Flush:
                self._effects.append(effect)
                continue
            if type(effect) is Decide:
                # Checked before, but after many failed rounds its execution may have been forgotten.
                self.ledger.execute_certified(effect.block)
                self._finalize(effect.block, effect.certificate)
                self._start_height()
                continue
            if type(effect) is Accuse:
                self._on_accused(effect.evidence)
                has_accused = True
                continue
            if type(effect) is Broadcast and type(effect.message) is BlockPart:
                self._part_sent_ms = dict.fromkeys(self._early, self._now_ms)
            elif type(effect) is Halt:
                self.halted_reason = effect.reason
            self._effects.append(effect)
        if has_accused:
            self._start_work()

    def _on_accused(self, evidence: Evidence) -> None:
        """Our own finding: whoever is connected hears of it at once, the others by announcements."""
        try:
            is_new = self.evidence.add(evidence)
        except InvalidInput:
            # Convicted already, or too long ago.
            return
        if is_new:
            self._effects.append(Broadcast(EvidenceMessage(evidence)))

    def _finalize(self, block: Block, certificate: Certificate) -> None:
        execution = self.ledger.commit(block)
        self._committed_ms = self._now_ms
        self._effects.append(Commit(block, certificate, execution))
        self.evidence.on_commit()
        self._report_changes(block)
        dropped = self.mempool.on_commit(execution)
        if dropped:
            self._effects.append(Dropped(tuple(dropped)))

    def _report_changes(self, block: Block) -> None:
        """Convictions, and members that decide from two heights on."""
        for item in block.evidence:
            fields = {"kind": item.kind, "height": item.height, "round": item.first.round}
            fields |= {"validator": item.validator.hex(), "block": block.height}
            self._effects.append(Report("evidence_committed", fields))
        if self.ledger.has_pending_change:
            members = self.ledger.upcoming_members.validators
            powers = {item.node_id: item.power for item in members}
            self._effects.append(Report("validators_changed", {"from_height": block.height + 2, "powers": powers}))

    # ------------------------------------------------------------------ announcements

    def _announce(self) -> None:
        self._effects.append(SetTimer(Timer("announce"), self.config.announce_interval_ms))
        self._evidence_refusals = {}
        self._effects += [Broadcast(message) for message in self._gossip.on_interval()]
        announcement = self._announcer.on_interval()
        if announcement is not None:
            self._effects.append(Broadcast(announcement))
            self._request_blocks()

    def _may_send_part(self, peer: bytes) -> bool:
        last_ms = self._part_sent_ms.get(peer)
        # A clock that was set back since says nothing of how long ago that was.
        if last_ms is not None and 0 <= self._now_ms - last_ms < PART_INTERVAL_MS:
            return False
        self._part_sent_ms[peer] = self._now_ms
        return True

    # ------------------------------------------------------------------ sync

    def _request_blocks(self) -> None:
        request = self._sync.next_request(self.core.height, self._now_ms)
        if request is not None:
            peer, message = request
            self._effects.append(Send(peer, message))
            self._effects.append(SetTimer(Timer("sync"), self.config.sync_timeout_ms))

    def _on_blocks(self, peer: bytes, message: Blocks) -> None:
        if not self._sync.is_owed(peer):
            return
        height_before = self.ledger.height
        is_good = True
        for final in message.blocks:
            try:
                block = Block.decode(final.data)
                if block.height <= self.ledger.height:
                    continue
                self._apply_final(block, final.certificate)
            except InvalidInput as error:
                is_good = False
                self._effects.append(Report("sync_refused", {"peer": peer.hex(), "reason": error.message}))
                break
            if self.halted_reason:
                return
        gained = self.ledger.height - height_before
        self._sync.on_answer(peer, gained, self._now_ms, is_good=is_good)
        if gained:
            self._report_progress()
            self._start_height()
        self._request_blocks()

    def _report_progress(self) -> None:
        target = self._sync.find_progress(self.ledger.height + 1)
        if target is not None:
            self._effects.append(Report("syncing", {"height": self.ledger.height, "target": target}))
        elif not self._sync.is_behind(self.ledger.height + 1):
            self._effects.append(Report("synced", {"height": self.ledger.height}))

    def _apply_final(self, block: Block, certificate: Certificate) -> None:
        """Make a block from a peer final here. Raises `InvalidInput` where its certificate proves nothing."""
        if block.height != self.ledger.height + 1:
            raise InvalidInput(f"block {block.height} does not follow height {self.ledger.height}", field="height")
        if certificate.height != block.height or certificate.block_hash != block.hash:
            raise InvalidInput("the certificate is for another block", field="certificate")
        verify_body(block)
        verify_certificate(certificate, self.ledger.chain_id, self.ledger.validators, self._verifier)
        try:
            self.ledger.execute_certified(block)
        except InvalidBlock as error:
            self.halted_reason = f"height {block.height}: a certified block is invalid here: {error.message}"
            self._effects.append(Halt(self.halted_reason))
            return
        self._finalize(block, certificate)

    # ------------------------------------------------------------------ status

    def status(self) -> MachineStatus:
        """A snapshot for `/health`, metrics and heartbeats."""
        core, ledger = self.core, self.ledger
        kind = PRECOMMIT if core.step == Step.PRECOMMIT else PREVOTE
        tally = core.votes.get(core.round, kind)
        missing = tuple(item.node_id for item in core.validators.validators if not tally.get(item.public_key))
        return MachineStatus(
            state=self._state(),
            reason=self.halted_reason or self._abstain_reason,
            height=ledger.height,
            block_hash=ledger.block_hash,
            state_root=ledger.state_root,
            time_ms=ledger.time_ms,
            deciding_height=core.height,
            round=core.round,
            step=core.step.name.lower(),
            step_power=tally.power,
            quorum_power=core.validators.quorum_power,
            missing=missing,
            announcements=self._announcer.count,
            peers=tuple(sorted(self._early)),
            peer_heights=tuple(self._sync.claims().items()),
        )

    def get_highest_seen(self) -> tuple[int, int]:
        """The highest (height, round) of any consensus message held: what a validator that recovers must stay above."""
        core = self.core
        seen = (core.height, max([core.round, 0, *core.votes.rounds(), *core.proposals]))
        early = (message for messages in self._early.values() for message in messages)
        return max([seen, *((item.height, item.round) for item in early if not isinstance(item, BlockPart))])

    def gauges(self) -> MachineGauges:
        """What is held in memory. Cheap enough to be asked after every step."""
        core = self.core
        return MachineGauges(
            validators=len(core.validators),
            peers=len(self._early),
            round=core.round,
            votes=core.votes.count(),
            proposals=len(core.proposals),
            blocks=len(core.blocks),
            block_bytes=sum(len(block.data) for block in core.blocks.values()),
            past_messages=core.past.count(),
            early_messages=sum(map(len, self._early.values())),
            evidence=len(self.evidence),
            mempool_transactions=len(self.mempool),
            mempool_bytes=self.mempool.size_bytes,
            mempool_bytes_max=self.mempool.max_bytes,
        )

    def _state(self) -> str:
        if self.halted_reason:
            return "stopped"
        if self._sync.is_behind(self.core.height):
            return "syncing"
        if self.ledger.validators.get_power(self.own_key) == 0:
            return "following"
        return "validating" if self.core.is_signing else "abstaining"


def order_effects(effects: list[Effect]) -> list[Effect]:
    """The same effects with fewer flushes: between two commits, all appends, one flush, then the rest in order.

    A broadcast may always come later than the flush that guards it, so moving appends and flushes to the front of
    their stretch keeps the law. Nothing crosses a `Commit`: nothing of h + 1 may be signed before h is durable.
    """
    if len(effects) < 2:
        return effects
    ordered: list[Effect] = []
    others: list[Effect] = []
    flush: Flush | None = None
    for effect in effects:
        if type(effect) is Append:
            ordered.append(effect)
        elif type(effect) is Flush:
            flush = effect
        else:
            others.append(effect)
            if type(effect) is Commit:
                ordered += [flush, *others] if flush is not None else others
                others, flush = [], None
    if flush is not None:
        ordered.append(flush)
    ordered += others
    return ordered
