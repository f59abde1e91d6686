"""Consensus cores played against each other: a toy application, a stand-in signature, and a network under control."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec

from tana.consensus.announcements import create_announcement, find_lacking
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
    SetTimer,
    Timer,
)
from tana.consensus.tendermint import Tendermint, Timeouts
from tana.crypto.merkle import EMPTY_ROOT
from tana.types.block import NO_EVIDENCE_ROOT, Block, Certificate, Header
from tana.types.evidence import Evidence
from tana.types.messages import (
    BlockPart,
    Proposal,
    Vote,
    VoteQuorum,
)
from tana.types.validator_set import Validator, ValidatorSet

CHAIN_ID = b"c" * 32
ZERO = b"\0" * 32
Message = Vote | Proposal | BlockPart | VoteQuorum


@dataclass(frozen=True)
class StandInSigner:
    """A signature that anyone can forge and nobody here does: fast, and wrong for any other message."""

    public_key: bytes

    def sign(self, message: bytes) -> bytes:
        return hashlib.blake2b(message, key=self.public_key).digest()


def verify_stand_in(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return StandInSigner(public_key).sign(message) == signature


def make_block(height: int, label: int, producer: bytes = ZERO) -> Block:
    """A block that differs from others in its time only."""
    header = Header(1, CHAIN_ID, height, ZERO, label, producer, 0, EMPTY_ROOT, ZERO, ZERO, ZERO, NO_EVIDENCE_ROOT)
    return Block.create(header, ())


class ToyApplication:
    """Builds numbered blocks; refuses those whose label is in `refused`, objects to the time of those in `early`."""

    def __init__(self, node: int, public_key: bytes) -> None:
        self.public_key = public_key
        self.node = node
        self.built = 0
        self.height = 1
        self.refused: set[int] = set()
        self.early: set[int] = set()

    def build_block(self, now_ms: int) -> Block:
        self.built += 1
        return make_block(self.height, self.node * 100 + self.built, self.public_key)

    def check_block(self, block: Block) -> str | None:
        return "refused by the application" if block.header.time_ms in self.refused else None

    def check_time(self, block: Block, now_ms: int) -> str | None:
        return "too early" if block.header.time_ms in self.early else None


def make_validators(powers: list[int]) -> ValidatorSet:
    keys = sorted(hashlib.sha256(b"%d" % index).digest() for index in range(len(powers)))
    return ValidatorSet.create(
        Validator(key, power, f"validator-{index}") for index, (key, power) in enumerate(zip(keys, powers, strict=True))
    )


@dataclass
class Node:
    """One core, its log (what survives a crash is what was flushed), its timers and what it did."""

    index: int
    core: Tendermint
    application: ToyApplication
    log: list[LogRecord] = field(default_factory=list)
    unflushed: list[LogRecord] = field(default_factory=list)
    timers: dict[str, Timer] = field(default_factory=dict)
    decided: dict[int, tuple[Block, Certificate]] = field(default_factory=dict)
    is_down: bool = False


@dataclass
class Envelope:
    sender: int
    receiver: int
    message: Message


class Cluster:
    """n cores with every message under the test's control. Validator i of the set (its order) is node i."""

    def __init__(self, powers: list[int], timeouts: Timeouts | None = None, collect_lines: bool = True) -> None:
        self.validators = make_validators(powers)
        self.timeouts = timeouts or Timeouts(empty_block_interval_ms=None)
        self.lines: set[int] | None = set() if collect_lines else None
        self.queue: list[Envelope] = []
        self.say: Callable[[str], None] = lambda line: None
        self.accused: dict[int, list[Evidence]] = {}
        self.signed: dict[tuple[int, int, int, int], Vote | Proposal] = {}
        self.nodes = [self._create_node(index) for index in range(len(powers))]
        for node in self.nodes:
            self._start(node)

    def _create_node(self, index: int) -> Node:
        key = self.validators.validators[index].public_key
        application = ToyApplication(index, key)
        return Node(index, self._create_core(key, application, (0, 0, 0)), application)

    def _create_core(self, key: bytes, application: ToyApplication, floor: tuple[int, int, int]) -> Tendermint:
        signer = StandInSigner(key)
        core = Tendermint(CHAIN_ID, application, self.timeouts, signer, verify_stand_in, sign_floor=floor)
        core.lines = self.lines
        return core

    def _start(self, node: Node) -> None:
        height = max(node.decided, default=0) + 1
        node.application.height = height
        records = [record for record in node.log if record.message.height == height]
        self.perform(node, node.core.start_height(height, self.set_of(height), 0, records))

    def set_of(self, height: int) -> ValidatorSet:
        return self.validators.advanced(height - 1)

    # ---------------------------------------------------------------- performing effects

    def perform(self, node: Node, effects: list[ConsensusEffect], stop_after: int | None = None) -> None:
        """Perform effects in order; crash after `stop_after` of them where given."""
        for number, effect in enumerate(effects):
            if stop_after is not None and number >= stop_after:
                self.crash(node.index)
                return
            self._perform_one(node, effect)

    def _perform_one(self, node: Node, effect: ConsensusEffect) -> None:
        match effect:
            case Append(record):
                node.unflushed.append(record)
            case Flush():
                node.log += node.unflushed
                node.unflushed = []
            case Broadcast(message):
                self._broadcast(node, message)
            case SetTimer(timer, _):
                node.timers[timer.kind] = timer
            case Decide(block, certificate):
                node.decided[block.height] = (block, certificate)
                count = len(certificate.signatures)
                self.say(f"{node.index} decides {self.name(block.hash)} in round {certificate.round} by {count}")
                self._start(node)
            case Report(name, fields):
                self.say(f"{node.index} reports {name}: {fields.get('reason', fields.get('kind', ''))}")
            case Accuse(evidence):
                self.accused.setdefault(node.index, []).append(evidence)
            case Halt(reason):
                self.say(f"{node.index} halts: {reason}")

    def _broadcast(self, node: Node, message: object) -> None:
        assert isinstance(message, Vote | Proposal | BlockPart)
        self._note_signed(node, message)
        if not isinstance(message, BlockPart):
            self.say(f"{node.index} {self.describe(message)}")
        for receiver in self.nodes:
            if receiver is not node:
                self.queue.append(Envelope(node.index, receiver.index, message))

    def _note_signed(self, node: Node, message: Message) -> None:
        """Invariant 7: nothing is signed twice with another content, across restarts too."""
        if not isinstance(message, Vote | Proposal):
            return
        kind = message.kind if isinstance(message, Vote) else 0
        slot = (node.index, message.height, message.round, kind)
        assert self.signed.setdefault(slot, message) == message, f"node {node.index} signed twice: {slot}"

    # ---------------------------------------------------------------- what a test does

    def work(self, index: int) -> None:
        self.perform(self.nodes[index], self.nodes[index].core.on_work(0))

    def fire(self, index: int, kind: str) -> None:
        """Let a node's timer of a kind run out."""
        node = self.nodes[index]
        timer = node.timers.pop(kind)
        self.perform(node, node.core.on_timeout(timer, 0))

    def give(self, index: int, message: Message, stop_after: int | None = None) -> None:
        node = self.nodes[index]
        if node.is_down:
            return
        core = node.core
        match message:
            case Vote():
                effects = core.on_vote(message, 0)
            case Proposal():
                effects = core.on_proposal(message, 0)
            case BlockPart():
                effects = core.on_block(message, 0)
            case VoteQuorum():
                effects = core.on_quorum(message, 0)
        self.perform(node, effects, stop_after)

    def lie(self, index: int, message: Vote | Proposal) -> Vote | Proposal:
        """The message with the signature of node `index`, a traitor: whatever it contradicts."""
        signer = StandInSigner(self.validators.validators[index].public_key)
        return msgspec.structs.replace(
            message, validator=signer.public_key, signature=signer.sign(message.sign_bytes(CHAIN_ID))
        )

    def deliver(self, accepts: Callable[[Envelope], bool] = lambda envelope: True) -> None:
        """Deliver what is under way and what comes of it, in order; what `accepts` refuses is lost."""
        while self.queue:
            envelope = self.queue.pop(0)
            if accepts(envelope):
                self.give(envelope.receiver, envelope.message)

    def announce(self, index: int, to: int) -> None:
        """Node `index` announces to node `to`, which sends what is lacking."""
        mine, other = self.nodes[index].core, self.nodes[to].core
        if mine.height == other.height:
            for message in find_lacking(other, create_announcement(mine)):
                self.queue.append(Envelope(to, index, message))

    def announce_all(self) -> None:
        for receiver in self.nodes:
            for sender in self.nodes:
                if sender is not receiver and not sender.is_down and not receiver.is_down:
                    self.announce(receiver.index, sender.index)

    def crash(self, index: int) -> None:
        """Lose everything that was not flushed."""
        node = self.nodes[index]
        node.is_down = True
        node.unflushed = []
        node.timers = {}

    def restart(self, index: int) -> None:
        node = self.nodes[index]
        own = [record.message for record in node.log if type(record).__name__ == "Signed"]
        slots = [(m.height, m.round, m.kind if isinstance(m, Vote) else 0) for m in own if not isinstance(m, BlockPart)]
        node.is_down = False
        node.core = self._create_core(node.application.public_key, node.application, max(slots, default=(0, 0, 0)))
        self._start(node)

    def sync(self) -> None:
        """Give every node the decisions it lacks, as the machine's block sync does."""
        for node in self.nodes:
            for other in self.nodes:
                while not node.is_down and node.core.height in other.decided:
                    node.decided[node.core.height] = other.decided[node.core.height]
                    self._start(node)

    # ---------------------------------------------------------------- words

    def name(self, block_hash: bytes | None) -> str:
        if block_hash is None:
            return "nil"
        for block in self._known_blocks():
            if block.hash == block_hash:
                return f"h{block.height}/B{block.header.time_ms}"
        return block_hash.hex()[:8]

    def _known_blocks(self) -> Iterator[Block]:
        for node in self.nodes:
            yield from node.core.blocks.values()
            yield from (block for block, _ in node.decided.values())
        for envelope in self.queue:
            if isinstance(envelope.message, BlockPart):
                yield Block.decode(envelope.message.data)

    def describe(self, message: Vote | Proposal) -> str:
        value = self.name(message.block_hash)
        if isinstance(message, Proposal):
            valid = f" valid since round {message.valid_round}" if message.valid_round >= 0 else ""
            return f"proposes {value} in round {message.round}{valid}"
        return f"{'prevotes' if message.kind == 1 else 'precommits'} {value} in round {message.round}"

    def decisions(self, height: int) -> set[bytes]:
        return {node.decided[height][0].hash for node in self.nodes if height in node.decided}
