"""Whole nodes (machine, ledger, mempool) in virtual time; their logs lose what was not flushed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from tana.crypto.keys import KeyPair
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Admission, Mempool
from tana.node.effects import (
    Admitted,
    Append,
    Broadcast,
    Commit,
    Effect,
    Flush,
    Halt,
    LogRecord,
    Report,
    Send,
    ServeBlocks,
    SetTimer,
    Signed,
)
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, Timer, TimerFired
from tana.node.machine import Machine, MachineConfig
from tana.types.block import Block, Certificate
from tana.types.genesis import Genesis, GenesisAccount, GenesisCurrency, GenesisParameters, GenesisValidator
from tana.types.messages import Blocks, FinalBlock, PeerMessage, Vote
from tana.types.transaction import SignedTransaction, Transaction

SOVEREIGN = KeyPair.from_seed(b"S" * 32)
START_MS = 1_763_424_000_000


def make_keys(count: int) -> list[KeyPair]:
    return [KeyPair.from_seed(bytes([index + 1]) * 32) for index in range(count)]


def make_genesis(keys: list[KeyPair]) -> Genesis:
    validators = tuple(GenesisValidator(f"validator-{i}", key.public_text, 1) for i, key in enumerate(keys))
    sovereign = GenesisAccount(SOVEREIGN.public_text, "@sovereign", "sovereign", {"USD": "1000.00"})
    return Genesis(
        version=1,
        createdAt=START_MS,
        sovereign=SOVEREIGN.public_text,
        currencies=(GenesisCurrency("USD", 2),),
        validators=validators,
        accounts=(sovereign,),
        parameters=GenesisParameters(),
    )


def make_deposit(nonce: int, amount: str = "1.00") -> SignedTransaction:
    transaction = Transaction("deposit", SOVEREIGN.public_text, SOVEREIGN.public_text, START_MS, nonce, amount, "USD")
    text = transaction.to_text().encode()
    return SignedTransaction(text, SOVEREIGN.sign(text), transaction)


@dataclass
class NetNode:
    """A machine with what its runtime would keep: log, chain, timers."""

    index: int
    key: KeyPair
    machine: Machine
    log: list[LogRecord] = field(default_factory=list)
    unflushed: list[LogRecord] = field(default_factory=list)
    chain: list[tuple[Block, Certificate]] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    admissions: dict[int, tuple[Admission, ...]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    halted: str = ""
    is_up: bool = False


class MachineNet:
    """n machines; the first `validators` of them are in the genesis, the rest follow."""

    def __init__(self, count: int = 3, validators: int | None = None, config: MachineConfig | None = None) -> None:
        self.config = config or MachineConfig(empty_block_interval_ms=200)
        self.keys = make_keys(count)
        self.genesis = make_genesis(self.keys[:validators])
        self.now_ms = START_MS
        self.is_lost: Callable[[int, int, PeerMessage], bool] = lambda sender, receiver, message: False
        self.change_effects: Callable[[int, list[Effect]], list[Effect]] = lambda index, effects: effects
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.nodes = [NetNode(index, key, self._create_machine(key, [], [])) for index, key in enumerate(self.keys)]
        for node in self.nodes:
            self._boot(node)

    def _create_machine(self, key: KeyPair, chain: list[tuple[Block, Certificate]], log: list[LogRecord]) -> Machine:
        ledger = Ledger.from_genesis(self.genesis)
        for block, _ in chain:
            ledger.execute_certified(block)
            ledger.commit(block)
        slots = [
            (
                record.message.height,
                record.message.round,
                record.message.kind if isinstance(record.message, Vote) else 0,
            )
            for record in log
            if isinstance(record, Signed)
        ]
        return Machine(
            self.config,
            ledger,
            Mempool(ledger),
            key,
            own_key=key.public_key,
            records=log,
            sign_floor=max(slots, default=(0, 0, 0)),
        )

    def _boot(self, node: NetNode) -> None:
        node.is_up = True
        self.give(node, Started())
        for other in self.nodes:
            if other is not node and other.is_up:
                self.give(node, PeerConnected(other.key.public_key))
                self.give(other, PeerConnected(node.key.public_key))

    # ---------------------------------------------------------------- effects

    def give(self, node: NetNode, input: Input) -> None:
        if not node.is_up:
            return
        for effect in self.change_effects(node.index, node.machine.step(input, self.now_ms)):
            self._perform(node, effect)

    def _perform(self, node: NetNode, effect: Effect) -> None:
        match effect:
            case Append(record):
                node.unflushed.append(record)
            case Flush():
                node.log += node.unflushed
                node.unflushed = []
            case Broadcast(message):
                for other in self.nodes:
                    if other is not node:
                        self._send(node, other, message)
            case Send(peer, message):
                self._send(node, self._find(peer), message)
            case SetTimer(timer, delay_ms):
                self._set_timer(node, timer, delay_ms)
            case Commit(block, certificate, _):
                assert block.height == len(node.chain) + 1
                node.chain.append((block, certificate))
            case ServeBlocks(peer, first, last):
                blocks = tuple(FinalBlock(block.data, proof) for block, proof in node.chain[first - 1 : last])
                self._send(node, self._find(peer), Blocks(blocks))
            case Admitted(request_id, admissions):
                node.admissions[request_id] = admissions
            case Report():
                node.reports.append(effect)
            case Halt(reason):
                node.halted = reason

    def _find(self, key: bytes) -> NetNode:
        return next(node for node in self.nodes if node.key.public_key == key)

    def _send(self, sender: NetNode, receiver: NetNode, message: PeerMessage) -> None:
        if not self.is_lost(sender.index, receiver.index, message):
            received = Received(sender.key.public_key, message)
            self._at(self.now_ms + 1, lambda: self.give(receiver, received))

    def _set_timer(self, node: NetNode, timer: Timer, delay_ms: int) -> None:
        number = next(self._order)
        node.timers[timer.kind] = number
        machine = node.machine

        def fire() -> None:
            if node.machine is machine and node.timers.get(timer.kind) == number:
                self.give(node, TimerFired(timer))

        self._at(self.now_ms + delay_ms, fire)

    def _at(self, at_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_ms, next(self._order), action))

    # ---------------------------------------------------------------- what a test does

    def run_until(self, condition: Callable[[], bool], limit_ms: int = 60_000) -> None:
        """Advance virtual time until the condition holds; fails after `limit_ms` of it."""
        end_ms = self.now_ms + limit_ms
        while not condition():
            assert self._events, "nothing will ever happen again"
            at_ms, _, action = heapq.heappop(self._events)
            assert at_ms <= end_ms, f"not within {limit_ms} ms: {[node.machine.status() for node in self.nodes]}"
            self.now_ms = max(self.now_ms, at_ms)
            action()

    def submit(self, index: int, *transactions: SignedTransaction) -> tuple[Admission, ...]:
        node = self.nodes[index]
        request_id = next(self._order)
        self.give(node, Submitted(request_id, transactions))
        return node.admissions[request_id]

    def stop(self, index: int) -> None:
        """kill -9: what was not flushed is gone."""
        node = self.nodes[index]
        node.is_up = False
        node.unflushed = []
        for other in self.nodes:
            self.give(other, PeerDisconnected(node.key.public_key))

    def start(self, index: int) -> None:
        node = self.nodes[index]
        node.machine = self._create_machine(node.key, node.chain, node.log)
        self._boot(node)

    def heights(self) -> list[int]:
        return [len(node.chain) for node in self.nodes]

    def all_at(self, height: int) -> Callable[[], bool]:
        return lambda: all(len(node.chain) >= height for node in self.nodes if node.is_up)

    def hashes_at(self, height: int) -> set[bytes]:
        return {node.chain[height - 1][0].hash for node in self.nodes if len(node.chain) >= height}
