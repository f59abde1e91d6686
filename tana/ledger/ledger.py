"""The ledger: the chain's tip, and the blocks that may follow it.

A block is executed once, on a `State` over the tip's tree; its result is kept by block hash until one of the
candidates is committed. Whether a block is valid depends on the block and its parent's state only, never on round,
sender or clock, because a locked block is proposed again by others in later rounds.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tana.crypto import keys, merkle
from tana.crypto.evidence import is_evidence_signed
from tana.crypto.keys import Verifier
from tana.ledger.accounts import Account, Profile
from tana.ledger.genesis_rows import build_genesis_rows
from tana.ledger.offences import EvidenceRefused, check_offence, punish
from tana.ledger.refusal import TransactionRefused
from tana.ledger.rows import (
    PROFILE_PREFIX,
    SINCE_KEY,
    VALIDATORS_KEY,
    decode_validators,
    get_public_key,
)
from tana.ledger.rules import Context, apply_transaction
from tana.ledger.state import Changes, State
from tana.ledger.tree import StateTree
from tana.ledger.verified import VerifiedMemory
from tana.types.block import Block, Header, RawTransaction
from tana.types.errors import InvalidInput, StorageError
from tana.types.evidence import EVIDENCE_BYTES_MAX, MAX_EVIDENCE_PER_BLOCK, Evidence
from tana.types.genesis import Genesis
from tana.types.transaction import SignedTransaction, parse_signed_text
from tana.types.validator_set import Members, ValidatorSet

__all__ = ["Account", "Execution", "InvalidBlock", "Ledger", "Profile", "User"]

MAX_PROVEN = 256
"""Evidence whose signatures are remembered as good."""

MAX_CANDIDATES = 16
"""Executed blocks kept on top of one tip. A correct round has one; the rest is room for many failed rounds."""

HEADER_BYTES_MAX = 512
"""More than a block's encoding without its transactions and evidence ever takes."""

TRANSACTION_OVERHEAD_BYTES_MAX = 8
"""More than a block's encoding adds to the text and signature of one transaction."""


class InvalidBlock(InvalidInput):
    """A block that no correct validator votes for; `code` is the stable reason such as `wrong_state_root`."""

    default_code = "invalid_block"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code, field="block")


class Execution:
    """What a block does to the state, and what undoes it. A None value means that the row is absent. Immutable."""

    __slots__ = ("block", "changes", "state_root", "transaction_ids", "undo")

    def __init__(
        self, block: Block, changes: Changes, undo: Changes, transaction_ids: tuple[str, ...], state_root: bytes
    ) -> None:
        self.block = block
        self.changes = changes
        self.undo = undo
        self.transaction_ids = transaction_ids
        self.state_root = state_root


@dataclass(frozen=True, slots=True)
class User:
    """An account that has a profile, for listings."""

    account_id: str
    username: str
    role: str
    display_name: str
    bio: str


class _Candidate:
    """An executed block with what the tip becomes if it is committed. Immutable."""

    __slots__ = ("execution", "leaves", "tree", "validators")

    def __init__(
        self, execution: Execution, tree: StateTree, validators: ValidatorSet, leaves: tuple[bytes, ...]
    ) -> None:
        self.execution = execution
        self.tree = tree
        self.validators = validators
        self.leaves = leaves


class Ledger:
    """The chain's tip: state, height, time and validators, and the executed candidates on top of it.

    `block_hash` is the parent of the next block (the chain id before block 1), `validators` the set that decides the
    next height with its priorities, `time_ms` the time of the last block (of the genesis before block 1).
    """

    def __init__(
        self, genesis: Genesis, verifier: Verifier, *, tree: StateTree, height: int, block_hash: bytes, time_ms: int
    ) -> None:
        self.genesis = genesis
        self.chain_id = genesis.compute_chain_id()
        self.verified = VerifiedMemory()
        self._verifier = verifier
        self._candidates: dict[bytes, _Candidate] = {}
        self._proven: dict[bytes, None] = {}
        self._since = State(tree).get_since()[-1]
        self.context = Context.create(genesis, self.chain_id, height)
        self._set_tip(tree, height, block_hash, time_ms, decode_validators(tree.get(VALIDATORS_KEY)))

    @classmethod
    def from_genesis(cls, genesis: Genesis, verifier: Verifier = keys.verify) -> Ledger:
        """The ledger before block 1. Raises `InvalidInput` where the genesis contradicts itself."""
        tree = StateTree(build_genesis_rows(genesis))
        chain_id = genesis.compute_chain_id()
        return cls(genesis, verifier, tree=tree, height=0, block_hash=chain_id, time_ms=genesis.createdAt)

    @classmethod
    def restore(
        cls, genesis: Genesis, entries: Iterable[tuple[bytes, bytes]], tip: Header, verifier: Verifier = keys.verify
    ) -> Ledger:
        """The ledger after the block of `tip`, from the rows of its state. Raises `StorageError` where they differ."""
        remedy = "restore the data folder from a copy, or remove chain.db and synchronize again"
        if tip.chain_id != genesis.compute_chain_id():
            raise StorageError(
                f"the stored blocks are of chain {tip.chain_id.hex()}, not of {genesis.compute_chain_id().hex()}",
                remedy="give this chain its own data folder",
            )
        tree = StateTree(entries)
        if tree.root != tip.state_root:
            raise StorageError(
                f"the stored state has root {tree.root.hex()} and block {tip.height} says {tip.state_root.hex()}",
                remedy=remedy,
            )
        return cls(genesis, verifier, tree=tree, height=tip.height, block_hash=tip.compute_hash(), time_ms=tip.time_ms)

    @property
    def state_root(self) -> bytes:
        """The root of the tip's state, 32 bytes."""
        return self.tree.root

    def build_block(
        self,
        producer: bytes,
        now_ms: int,
        candidates: Iterable[SignedTransaction],
        max_bytes: int | None = None,
        *,
        evidence: Iterable[Evidence] = (),
    ) -> Block:
        """A valid next block of the transactions, in their order, that execute and fit. Its execution is kept.

        `candidates` is read until the block is full; what does not execute is left out. Evidence comes first: as much
        as one block may hold.
        """
        assert self.validators.get_power(producer) > 0, "only a validator builds blocks"
        parameters = self.genesis.parameters
        bound_bytes = parameters.maxBlockBytes if max_bytes is None else min(max_bytes, parameters.maxBlockBytes)
        room_bytes = bound_bytes - HEADER_BYTES_MAX
        state = State(self.tree)
        proven = self._punish_proven(state, evidence, room_bytes // EVIDENCE_BYTES_MAX)
        room_bytes -= len(proven) * EVIDENCE_BYTES_MAX
        chosen: list[SignedTransaction] = []
        for candidate in candidates:
            size_bytes = candidate.size_bytes + TRANSACTION_OVERHEAD_BYTES_MAX
            if size_bytes > room_bytes or len(chosen) == parameters.maxBlockTransactions:
                break
            if self.is_verified(candidate) and self._is_applied(state, candidate):
                chosen.append(candidate)
                room_bytes -= size_bytes
        return self._seal(producer, max(now_ms, self.time_ms + 1), state, chosen, proven)

    def execute(self, block: Block) -> Execution:
        """What a proposed block does. Raises `InvalidBlock`; executes and verifies each signature at most once."""
        return self._execute(block, is_certified=False)

    def execute_certified(self, block: Block) -> Execution:
        """What a block with a valid certificate does: the certificate stands for its transactions' signatures."""
        return self._execute(block, is_certified=True)

    def commit(self, block: Block) -> Execution:
        """Make an executed block the tip, and forget the other candidates."""
        candidate = self._candidates.get(block.hash)
        assert candidate is not None, "a block is executed before it is committed"
        assert candidate.execution.block.data == block.data, "the executed block is the committed one"
        self.verified.forget(candidate.leaves)
        self._candidates.clear()
        changes = candidate.execution.changes
        # Rows are sorted by key, and a one-tuple sorts before every pair that begins with it.
        index = bisect_left(changes, (SINCE_KEY,))
        if index < len(changes) and changes[index][0] == SINCE_KEY:
            self._since = State(candidate.tree).get_since()[-1]
        self._set_tip(candidate.tree, block.height, block.hash, block.header.time_ms, candidate.validators)
        return candidate.execution

    def is_clock_lead_acceptable(self, block: Block, now_ms: int) -> bool:
        """Whether a fresh proposal's time is no further ahead of our clock than the genesis allows."""
        return block.header.time_ms <= now_ms + self.genesis.parameters.maxClockLeadMs

    def is_verified(self, transaction: SignedTransaction) -> bool:
        """Whether a transaction's signature is by its sender. Verified once, then remembered by its leaf."""
        if self.verified.get(transaction.leaf) is not None:
            return True
        public_key = get_public_key(transaction.transaction.sender)
        if not self._verifier(public_key, transaction.text, transaction.signature):
            return False
        self.verified.remember(transaction)
        return True

    def check_evidence(self, evidence: Evidence) -> None:
        """Raises `InvalidInput` where the next block may not hold this evidence. Signatures are looked at last."""
        self._check_offence(State(self.tree), evidence)
        if not self._is_evidence_signed(evidence):
            raise EvidenceRefused("bad_evidence_signature", "its messages are not signed by the validator it names")

    def check_offence(self, evidence: Evidence) -> None:
        """`check_evidence` without the signatures: whether evidence that was checked before still counts."""
        self._check_offence(State(self.tree), evidence)

    def find_members(self, height: int) -> Members | None:
        """Who decides a height, None where that lies before the evidence window."""
        return State(self.tree).find_members(height)

    @property
    def upcoming_members(self) -> Members:
        """Who decides the height after the next."""
        return self._next_validators.members

    @property
    def has_pending_change(self) -> bool:
        """Whether the members of the height after the next are others: a change that is not yet in force."""
        return self._since == self.height + 2

    def get_account(self, account_id: str) -> Account | None:
        """An account by its printed public key. Raises `InvalidInput` where that is malformed."""
        return State(self.tree).get_account(keys.format_public_key(keys.parse_public_key(account_id, "account")))

    def get_profile(self, account_id: str) -> Profile | None:
        """An account's profile by its printed public key. Raises `InvalidInput` where that is malformed."""
        return State(self.tree).get_profile(keys.format_public_key(keys.parse_public_key(account_id, "account")))

    def get_decimals(self, code: str) -> int | None:
        """Decimal places of a currency, None for one that this chain does not have."""
        return self.context.decimals.get(code)

    def get_supply(self) -> dict[str, int]:
        """The sum of all balances in smallest units, by currency code."""
        state = State(self.tree)
        return {currency.code: state.get_supply(currency.code) for currency in self.genesis.currencies}

    def list_users(self) -> list[User]:
        """Every account, sorted by username. Cost: looks at every row of the state."""
        state = State(self.tree)
        users = []
        for key, _ in self.tree.items():
            if not key.startswith(PROFILE_PREFIX):
                continue
            account_id = keys.format_public_key(key[len(PROFILE_PREFIX) :])
            account, profile = state.get_account(account_id), state.get_profile(account_id)
            assert account is not None, "a profile belongs to an account"
            assert profile is not None, "its row was just seen"
            users.append(User(account_id, profile.username, account.role, profile.display_name, profile.bio))
        return sorted(users, key=lambda user: (user.username, user.account_id))

    def _set_tip(self, tree: StateTree, height: int, block_hash: bytes, time_ms: int, validators: ValidatorSet) -> None:
        self.tree = tree
        self.height = height
        self.block_hash = block_hash
        self.time_ms = time_ms
        self.validators = validators
        self.context = self.context.at(height)
        self._next_validators = validators.advanced()
        if self.has_pending_change:
            self._next_validators = self._next_validators.changed(State(tree).get_parent_members())

    def _is_applied(self, state: State, candidate: SignedTransaction) -> bool:
        try:
            apply_transaction(state, candidate.transaction, self.context)
        except TransactionRefused:
            return False
        return True

    def _punish_proven(self, state: State, candidates: Iterable[Evidence], room: int) -> list[Evidence]:
        """Apply what of the evidence counts, in a block's order and no more than it may hold."""
        proven: list[Evidence] = []
        for evidence in sorted(candidates, key=lambda item: item.validator):
            if len(proven) == min(room, MAX_EVIDENCE_PER_BLOCK):
                break
            try:
                self._check_offence(state, evidence)
            except InvalidInput:
                continue
            if self._is_evidence_signed(evidence):
                punish(state, evidence, self.height + 1)
                proven.append(evidence)
        return proven

    def _check_offence(self, state: State, evidence: Evidence) -> None:
        check_offence(state, evidence, self.height + 1, self.genesis.parameters.evidenceMaxAgeHeights)

    def _is_evidence_signed(self, evidence: Evidence) -> bool:
        """Whether both messages are signed by the validator. Checked once, then remembered by the hash of it all."""
        if evidence.hash in self._proven:
            return True
        if not is_evidence_signed(evidence, self.chain_id, self._verifier):
            return False
        if len(self._proven) == MAX_PROVEN:
            del self._proven[next(iter(self._proven))]
        self._proven[evidence.hash] = None
        return True

    def _seal(
        self,
        producer: bytes,
        time_ms: int,
        state: State,
        chosen: Sequence[SignedTransaction],
        proven: Sequence[Evidence],
    ) -> Block:
        """The block over an executed state, remembered as a candidate."""
        changes, undo, tree = self._finish(state)
        leaves = tuple(transaction.leaf for transaction in chosen)
        header = Header(
            version=1,
            chain_id=self.chain_id,
            height=self.height + 1,
            parent=self.block_hash,
            time_ms=time_ms,
            producer=producer,
            transaction_count=len(chosen),
            transactions_root=merkle.compute_root(leaves),
            state_root=tree.root,
            validators_hash=self.validators.hash,
            next_validators_hash=self._next_validators.hash,
            evidence_root=merkle.compute_root([item.hash for item in proven]),
        )
        block = Block.create(header, [RawTransaction(item.text, item.signature) for item in chosen], proven)
        execution = Execution(block, changes, undo, tuple(item.id for item in chosen), tree.root)
        self._remember(_Candidate(execution, tree, self._next_validators, leaves))
        return block

    def _execute(self, block: Block, *, is_certified: bool) -> Execution:
        known = self._candidates.get(block.hash)
        # The hash covers the header; another body under the same header is another block.
        if known is not None and known.execution.block.data == block.data:
            return known.execution
        self._check_header(block)
        leaves = block.leaves
        _check_equal("transactions_root", merkle.compute_root(leaves), block.header.transactions_root)
        transactions = [
            self._read(index, leaves[index], raw, is_certified=is_certified)
            for index, raw in enumerate(block.transactions)
        ]
        ids = tuple(transaction.id for transaction in transactions)
        if len(set(ids)) != len(ids):
            raise InvalidBlock("duplicate_transaction", "the block has the same transaction twice")
        state = State(self.tree)
        self._execute_evidence(state, block.evidence, is_certified=is_certified)
        for index, transaction in enumerate(transactions):
            try:
                apply_transaction(state, transaction.transaction, self.context)
            except TransactionRefused as error:
                raise InvalidBlock(
                    "transaction_refused",
                    f"transaction {index} ({ids[index]}) is refused: {error.code}: {error.message}",
                ) from None
        changes, undo, tree = self._finish(state)
        _check_equal("state_root", tree.root, block.header.state_root)
        execution = Execution(block, changes, undo, ids, tree.root)
        self._remember(_Candidate(execution, tree, self._next_validators, leaves))
        return execution

    def _execute_evidence(self, state: State, proven: tuple[Evidence, ...], *, is_certified: bool) -> None:
        """Apply a block's evidence. Raises `InvalidBlock`."""
        for index, evidence in enumerate(proven):
            if index and evidence.validator <= proven[index - 1].validator:
                raise InvalidBlock("wrong_evidence_order", "the block's evidence is not in the order of its validators")
            try:
                self._check_offence(state, evidence)
            except InvalidInput as error:
                raise InvalidBlock(error.code, f"evidence {index} is refused: {error.message}") from None
            if not is_certified and not self._is_evidence_signed(evidence):
                raise InvalidBlock("bad_evidence_signature", f"evidence {index} is not signed by the validator")
            punish(state, evidence, self.height + 1)

    def _finish(self, state: State) -> tuple[Changes, Changes, StateTree]:
        """Changes, undo rows and tree of a state in which a block's transactions have been applied."""
        state.set_validators(self._next_validators)
        # The oldest height that evidence in the next block may be about.
        oldest = self.height + 2 - self.genesis.parameters.evidenceMaxAgeHeights
        state.seal_members(self.height + 3, oldest)
        changes, undo = state.compute_changes()
        return changes, undo, self.tree.updated(dict(changes))

    def _check_header(self, block: Block) -> None:
        header, parameters = block.header, self.genesis.parameters
        _check_equal("chain_id", self.chain_id, header.chain_id)
        if header.height != self.height + 1:
            raise InvalidBlock("wrong_height", f"the block has height {header.height}, ours is {self.height + 1}")
        _check_equal("parent", self.block_hash, header.parent)
        if header.time_ms <= self.time_ms:
            raise InvalidBlock(
                "wrong_time", f"the block's time {header.time_ms} is not after its parent's {self.time_ms}"
            )
        if self.validators.get_power(header.producer) == 0:
            raise InvalidBlock("wrong_producer", f"the producer {header.producer.hex()} is not a validator")
        _check_equal("validators_hash", self.validators.hash, header.validators_hash)
        _check_equal("next_validators_hash", self._next_validators.hash, header.next_validators_hash)
        evidence_root = merkle.compute_root([item.hash for item in block.evidence])
        _check_equal("evidence_root", evidence_root, header.evidence_root)
        count = len(block.transactions)
        if header.transaction_count != count:
            raise InvalidBlock(
                "wrong_count", f"the header counts {header.transaction_count} transactions, it has {count}"
            )
        if count > parameters.maxBlockTransactions:
            raise InvalidBlock(
                "too_large", f"{count} transactions, over the bound of {parameters.maxBlockTransactions}"
            )
        if len(block.data) > parameters.maxBlockBytes:
            raise InvalidBlock("too_large", f"{len(block.data)} bytes, over the bound of {parameters.maxBlockBytes}")

    def _read(self, index: int, leaf: bytes, raw: RawTransaction, *, is_certified: bool) -> SignedTransaction:
        """A block's transaction, parsed and (unless certified) verified. Raises `InvalidBlock`."""
        known = self.verified.get(leaf)
        if known is not None:
            return known
        try:
            transaction = parse_signed_text(raw.text, raw.signature)
        except InvalidInput as error:
            raise InvalidBlock("malformed_transaction", f"transaction {index} is malformed: {error.message}") from None
        # A certified transaction was not verified here, so it is not remembered either.
        if not is_certified and not self.is_verified(transaction):
            raise InvalidBlock("bad_signature", f"transaction {index} ({transaction.id}) is not signed by its sender")
        return transaction

    def _remember(self, candidate: _Candidate) -> None:
        self._candidates.pop(candidate.execution.block.hash, None)
        if len(self._candidates) == MAX_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
        self._candidates[candidate.execution.block.hash] = candidate


def _check_equal(name: str, ours: bytes, theirs: bytes) -> None:
    if ours != theirs:
        words = name.replace("_", " ")
        raise InvalidBlock(f"wrong_{name}", f"{words} ours {ours.hex()}, block's {theirs.hex()}")
