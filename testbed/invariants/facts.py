"""What the invariants know of a run and share: its nodes, its chain, its validator sets, and what was really signed.

Everything in here is worked out from the trace again, with arithmetic of its own: nothing asks the code that is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tana.crypto.keys import Verifier, verify
from tana.types.block import RawTransaction
from tana.types.errors import InvalidInput
from tana.types.genesis import Genesis
from tana.types.transaction import SignedTransaction, parse_signed_text
from tana.types.validator_set import ValidatorSet
from testbed.invariants.decision import Decision
from testbed.invariants.membership import Membership, mix_priorities
from testbed.invariants.model import LedgerModel
from testbed.invariants.statements import Slot, Statement, Statements
from testbed.invariants.tally import Tally
from testbed.needs import CHAIN, GAUGES, STEPS

Row = tuple[bytes, int, int]
"""Key, power and priority of a validator."""

Phase = Literal["begin", "end"]
Progress = Literal["must", "must_not", "may"]


@dataclass(frozen=True, slots=True)
class Begin:
    """One incarnation of a node begins. `height` is its last final block, `validators` decide the next one.

    `is_correct` False is a traitor: invariants judge correct nodes only. `sign_floor` is the highest slot that it
    says it ever signed. `genesis` may be left out where nobody asks for money or set changes.
    """

    key: bytes
    incarnation: int
    height: int
    validators: ValidatorSet
    sign_floor: Slot
    is_correct: bool
    chain_id: bytes = b""
    state_root: bytes = b""
    block_hash: bytes = b""
    genesis: Genesis | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What quorum arithmetic says of a stretch of the run: `nodes` must, must not or may go on, and why.

    `missing` are the nodes that cannot vote meanwhile. `rounds_growing` are the rounds in which timeouts grow beyond
    what a message may take, where that is more than a handful.
    """

    phase: Phase
    progress: Progress
    nodes: tuple[str, ...]
    missing: tuple[str, ...]
    why: str
    rounds_growing: int = 0


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold: one line with the two facts that disagree, and the facts as data."""

    number: int
    name: str
    line: str
    at_ms: int
    node: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"invariant {self.number} {self.name}: {self.line}" if self.number else f"{self.name}: {self.line}"


class Final:
    """What the chain has at a height, without the block's body; `node` was the first correct one to commit it."""

    __slots__ = ("block_hash", "certificate", "node", "state_root", "time_ms")

    def __init__(self, decision: Decision, node: str) -> None:
        self.block_hash = decision.block_hash
        self.time_ms = decision.header.time_ms
        self.state_root = decision.state_root
        self.certificate = decision.certificate
        self.node = node


@dataclass(frozen=True, slots=True)
class Applied:
    """A committed transaction, and why the model finds it invalid (empty: it does not)."""

    raw: RawTransaction
    transaction: SignedTransaction | None
    reason: str

    @property
    def name(self) -> str:
        """The beginning of its id."""
        return f"{hashlib.sha256(self.raw.text).hexdigest()[:8]}…"


class SetFacts:
    """A validator set with its rotation, computed from scratch: rows `[key, power, priority]` in the order of keys."""

    __slots__ = ("_proposers", "_turned", "names", "powers", "quorum", "rows", "total")

    def __init__(self, rows: Iterable[Row], names: Mapping[bytes, str], powers: dict[bytes, int] | None = None) -> None:
        self.rows = tuple(sorted(rows))
        self.names = names
        self.powers = powers or {key: power for key, power, _ in self.rows}
        """The very same object for as long as the members stay as they are."""
        self.total = sum(self.powers.values())
        self.quorum = self.total - (self.total - 1) // 3
        """Least power that is strictly more than two thirds: all but what is strictly less than one third."""
        self._turned = self.rows
        self._proposers: list[bytes] = []

    @classmethod
    def read(cls, validators: ValidatorSet) -> SetFacts:
        """The facts of a set that a node speaks of."""
        rows = validators.to_rows()
        return cls(
            [(key, power, priority) for key, power, _, priority in rows], {key: name for key, _, name, _ in rows}
        )

    def get_proposer(self, round: int) -> bytes:
        """Whose turn a round is, counted from the first round of the height that this set decides."""
        while len(self._proposers) <= round:
            self._turned, proposer = turn(self._turned, self.total)
            self._proposers.append(proposer)
        return self._proposers[round]

    def turned(self) -> SetFacts:
        """The set of the next height where nothing changes: one turn on."""
        return SetFacts(turn(self.rows, self.total)[0], self.names, self.powers)

    def changed(self, members: Mapping[bytes, tuple[int, str]]) -> SetFacts:
        """This set with other members, by key their power and node id, at the same point of the rotation."""
        powers = {key: power for key, (power, _) in members.items()}
        priorities = mix_priorities({key: priority for key, _, priority in self.rows}, powers)
        rows = zip(powers, powers.values(), priorities, strict=True)
        return SetFacts(rows, {key: name for key, (_, name) in members.items()})

    def describe_rows(self) -> str:
        """Members with power and priority, for lines that people read."""
        return ", ".join(f"{self.describe(key)} {power} ({priority:+})" for key, power, priority in self.rows)

    def describe(self, key: bytes) -> str:
        """The name of a validator, or the beginning of its key."""
        return self.names.get(key, key.hex()[:8])


def turn(rows: tuple[Row, ...], total: int) -> tuple[tuple[Row, ...], bytes]:
    """One turn: everyone gains its power, then the highest (the least key on a tie) proposes and pays the total."""
    raised = [(key, power, priority + power) for key, power, priority in rows]
    best = 0
    for index, row in enumerate(raised):
        if row[2] > raised[best][2]:
            best = index
    key, power, priority = raised[best]
    raised[best] = (key, power, priority - total)
    return tuple(raised), key


class NodeFacts:
    """A node of the run, across its incarnations. What it holds of the height it decides is below the line."""

    __slots__ = (
        "_kept",
        "blocks_logged",
        "height",
        "incarnation",
        "is_correct",
        "is_up",
        "key",
        "lock_before",
        "locked_hash",
        "locked_round",
        "name",
        "pending",
        "polkas",
        "precommit_height",
        "proposals",
        "round",
        "sign_floor",
        "tip",
        "validators",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = b""
        self.incarnation = 0
        self.is_correct = True
        self.is_up = False
        self.height = 0
        """The last block it committed."""
        self.sign_floor: Slot = (0, 0, 0)
        self.tip = b""
        """The hash of that block; empty where it is not known."""
        self.precommit_height = 0
        """The highest height at which it signed a precommit for a block."""
        self.pending: list[Statement] = []
        """What it has signed and not yet flushed."""
        self._kept: tuple[int, dict[str, object]] = (0, {})
        """Where only its chain was wiped: the height it was deciding, and what its log still says of it."""
        self.enter(1, None)

    def enter(self, height: int, validators: SetFacts | None) -> None:
        """It decides `height` now."""
        self.height = height - 1
        self.validators = validators
        self.polkas: dict[tuple[int, bytes | None], Tally] = {}
        """Prevotes it has seen or signed, by round and value."""
        self.proposals: set[tuple[int, bytes]] = set()
        """Proposals it has accepted or made, by round and block."""
        self.blocks_logged: list[bytes] = []
        """The bytes of the blocks in its log."""
        self.round = -1
        """The highest round it has signed anything in."""
        self.locked_round = -1
        self.locked_hash: bytes | None = None
        self.lock_before: tuple[Statement | None, int, bytes | None] = (None, -1, None)
        """The precommit that locked it last, and what it was locked on before."""
        kept_height, kept = self._kept
        if kept_height == height:
            for name, value in kept.items():
                setattr(self, name, value)

    def keep_log(self) -> None:
        """Its chain is wiped and its log is not: once it decides this height again, it knows what it knew of it."""
        names = ("polkas", "proposals", "blocks_logged", "round", "locked_round", "locked_hash")
        self._kept = (self.height + 1, {name: getattr(self, name) for name in names})

    def lose_pending(self) -> None:
        """It died: what it had not flushed was never signed, and locks it on nothing."""
        precommit, round, block_hash = self.lock_before
        if precommit in self.pending:
            self.locked_round, self.locked_hash = round, block_hash
        self.pending.clear()

    def forget_lock(self) -> None:
        """Its log is lost: whatever it was locked on binds it no more."""
        self.locked_round, self.locked_hash = -1, None
        self._kept = (0, {})

    def add_proposal(self, proposal: Statement) -> None:
        """It has made a proposal, or accepted one that its proposer really made."""
        if proposal.block_hash is not None:
            self.proposals.add((proposal.round, proposal.block_hash))

    def add_prevote(self, vote: Statement) -> None:
        """It holds a prevote, which counts where it is by a member of the set that decides the height."""
        power = self.get_power(vote.validator)
        if vote.height == self.height + 1 and power:
            value = (vote.round, vote.block_hash)
            tally = self.polkas.get(value)
            if tally is None:
                tally = self.polkas[value] = Tally()
            tally.add(vote.validator, power)

    def lock(self, precommit: Statement) -> None:
        """It has precommitted a block."""
        self.lock_before = (precommit, self.locked_round, self.locked_hash)
        self.locked_round, self.locked_hash = precommit.round, precommit.block_hash
        self.precommit_height = precommit.height

    def has_polka(self, round: int, block_hash: bytes | None) -> bool:
        """Whether it has seen prevotes of a quorum for a value in a round."""
        tally = self.polkas.get((round, block_hash))
        return tally is not None and self.validators is not None and tally.power >= self.validators.quorum

    def get_power(self, validator: bytes) -> int:
        """The power of a validator in the set that decides the height; 0 for who is not in it."""
        return self.validators.powers.get(validator, 0) if self.validators is not None else 0


class World:
    """Nodes, chain and sets. The first correct node to commit a height says what the chain has there."""

    def __init__(self, verifier: Verifier = verify, *, is_virtual: bool = False) -> None:
        self.verifier = verifier
        self.is_virtual = is_virtual
        """Whether time is virtual, so that bounds in rounds hold whatever the machine does besides."""
        self.now_ms = 0
        self.nodes: dict[str, NodeFacts] = {}
        self.correct: dict[bytes, str] = {}
        """Names of the correct nodes by key; a key that a traitor uses too is no correct node's."""
        self.ended: set[bytes] = set()
        """Keys of correct nodes whose record has ended, whether or not they have."""
        self.sets: dict[int, SetFacts] = {}
        self.commits: dict[int, Final] = {}
        """By height what was committed first."""
        self.statements = Statements()
        """What correct nodes signed."""
        self.genesis: Genesis | None = None
        self.chain_id = b""
        self.missing: dict[str, str] = {}
        """Feeds of which nothing has come yet, and what that means."""
        self.lost: dict[str, str] = {}
        """Feeds of which something is lost for good, and what."""
        self.model: LedgerModel | None = None
        self.membership: Membership | None = None
        self._traitors: set[bytes] = set()
        self._replayed: tuple[int, tuple[Applied, ...]] = (0, ())

    @property
    def height(self) -> int:
        """The highest block that any correct node committed."""
        return max((node.height for node in self.nodes.values() if node.is_correct), default=0)

    def begin(self, name: str, begin: Begin) -> NodeFacts:
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = NodeFacts(name)
        node.key, node.incarnation, node.is_correct = begin.key, begin.incarnation, begin.is_correct
        node.is_up, node.sign_floor = True, begin.sign_floor
        node.pending.clear()
        if self.genesis is None and begin.genesis is not None:
            self.genesis = begin.genesis
            if begin.height == 0:
                self.model = LedgerModel(begin.genesis)
                rows = begin.validators.to_rows()
                self.membership = Membership({key: (power, name) for key, power, name, _ in rows})
                self.missing.pop(CHAIN, None)
        self.chain_id = self.chain_id or begin.chain_id
        if not begin.is_correct:
            self._traitors.add(begin.key)
            self.correct.pop(begin.key, None)
        elif begin.key not in self._traitors:
            self.correct[begin.key] = name
        height = begin.height + 1
        if height not in self.sets:
            self.sets[height] = SetFacts.read(begin.validators)
        if node.validators is None or node.height != begin.height:
            node.enter(height, self.sets[height])
            node.tip = begin.block_hash or self.get_hash(begin.height)
        return node

    def advance(self, decision: Decision, node: str) -> None:
        """A height is committed for the first time: who decides the next two follows from it."""
        height = decision.height
        self.commits[height] = Final(decision, node)
        if height in self.sets and height + 1 not in self.sets:
            self.sets[height + 1] = self.sets[height].turned()
        is_changed = self.membership is not None and self.membership.apply(decision.block)
        if height + 1 in self.sets and height + 2 not in self.sets:
            following = self.sets[height + 1].turned()
            if is_changed and self.membership is not None:
                following = following.changed(self.membership.members)
            self.sets[height + 2] = following

    def replay(self, decision: Decision) -> tuple[Applied, ...]:
        """The transactions of the newest final block, applied to the model: each once, whoever asks first."""
        height, applied = self._replayed
        if height != decision.height and self.model is not None:
            self.model.touched.clear()
            faults = self.membership.faults if self.membership is not None else {}
            applied = tuple(
                self._apply(raw, decision.height, self.model, faults.get(raw.text, ""))
                for raw in decision.block.transactions
            )
            self._replayed = (decision.height, applied)
        return applied

    @staticmethod
    def _apply(raw: RawTransaction, height: int, model: LedgerModel, fault: str) -> Applied:
        try:
            transaction = parse_signed_text(raw.text, raw.signature)
        except InvalidInput as error:
            return Applied(raw, None, f"it is malformed: {error.message}")
        return Applied(raw, transaction, model.apply(transaction.transaction, height - 1) or fault)

    def get_hash(self, height: int) -> bytes:
        """The hash of the chain's block at a height; empty where no correct node committed it yet."""
        found = self.commits.get(height)
        return b"" if found is None else found.block_hash

    def is_genuine(self, statement: Statement) -> bool:
        """Whether a statement may be signed by who it says: a correct node signed it in this very form.

        Where a node's record has ended, a real signature shows that it went on: then its record is not whole.
        """
        if statement.is_noted:
            return True
        height, validator = statement.height, statement.validator
        if validator not in self.correct or not self.statements.remembers(height):
            return True
        known = self.statements.find(height, statement.signature)
        if known is None:
            if validator not in self.ended:
                return False
            return self.is_signed_unseen(validator, statement.message.sign_bytes(self.chain_id), statement.signature)
        return known.message == statement.message

    def is_signed_unseen(self, validator: bytes, signed: bytes, signature: bytes) -> bool:
        """Whether a node signed what its record, which has ended, does not hold."""
        if not self.verifier(validator, signed, signature):
            return False
        name = self.correct.get(validator, "")
        for feed in (STEPS, GAUGES):
            self.lost[feed] = f"the journal of {name} ends before {name} did"
        return True
