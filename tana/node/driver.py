"""Drives the machine: gives it inputs and performs its effects strictly in order, on one event loop.

Rules:
1. A step and all its effects happen without an await in between: nobody sees a state that is not durable yet.
2. The first effect that fails, and any bug in the machine, ends the node: what comes after it is not performed.
3. Final blocks are durable before any later effect that somebody could see, and before the step ends. Clients that
   wait are told of a block only then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from tana.ledger.mempool import Admission
from tana.node.blocks import read_answer
from tana.node.effects import (
    Admitted,
    Append,
    Broadcast,
    Commit,
    Dropped,
    Effect,
    Flush,
    Halt,
    Report,
    Send,
    ServeBlocks,
    SetTimer,
)
from tana.node.hooks import Hooks
from tana.node.identity import check_signature_known
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, Timer, TimerFired
from tana.node.log import SignLog
from tana.node.machine import Machine
from tana.node.metrics import Metrics
from tana.node.store import ChainStore
from tana.node.waiting import CommitWaiters
from tana.types.errors import Unavailable
from tana.types.messages import PeerMessage
from tana.types.transaction import SignedTransaction

if TYPE_CHECKING:
    from tana.node.links import Links

_UNSEEN = (Commit, Append, Report, SetTimer)
"""Effects that show nobody anything: between them, blocks may share one flush of the store."""
REPORTS_PER_SECOND = 20
"""Lines for reports of one name in a second; a peer can cause some at will, and the log must not be its to fill."""

_log = structlog.get_logger()


class Driver:
    """One machine with its log, store, links and timers.

    `on_fatal` is told once of what ended the node, `on_validators_changed` after each block behind which others vote.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        log: SignLog | None,
        store: ChainStore,
        metrics: Metrics,
        hooks: Hooks,
        on_fatal: Callable[[BaseException], None],
        on_validators_changed: Callable[[], None],
    ) -> None:
        self.machine = machine
        self.store = store
        self.waiters = CommitWaiters(store)
        self._log_file = log
        self._metrics = metrics
        self._hooks = hooks
        self._on_fatal = on_fatal
        self._on_validators_changed = on_validators_changed
        self._links: Links | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._admissions: dict[int, tuple[Admission, ...]] = {}
        self._committing: list[Commit] = []
        self._request_id = 0
        self._reports: dict[str, tuple[int, int]] = {}
        self._is_stopped = False
        self._loop = asyncio.get_running_loop()

    def start(self, links: Links) -> None:
        """The node runs: give the machine its first input."""
        self._links = links
        self.feed(Started())

    def stop(self) -> None:
        """Perform nothing more."""
        self._is_stopped = True
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        self.waiters.close()

    def feed(self, input: Input) -> None:
        """One step of the machine and everything that follows from it."""
        if self._is_stopped:
            return
        try:
            now_ms = self._hooks.now_ms()
            for effect in self._hooks.on_step(input, now_ms, self.machine.step(input, now_ms)):
                if not isinstance(effect, _UNSEEN):
                    self._make_blocks_durable()
                self._perform(effect)
            self._make_blocks_durable()
        except Exception as error:
            # Whoever reads the log next must not have to wait for the process to end.
            _log.error("failed", reason=f"{type(error).__name__}: {error}", doing=type(input).__name__)
            self.stop()
            self._on_fatal(error)

    def submit(self, transactions: tuple[SignedTransaction, ...]) -> tuple[Admission, ...]:
        """The mempool's answers to a client's transactions. Raises `Unavailable` where the node has stopped."""
        self._request_id += 1
        self.feed(Submitted(self._request_id, transactions))
        admissions = self._admissions.pop(self._request_id, None)
        if admissions is None:
            raise Unavailable("the node has stopped", remedy="ask /health on the status port why")
        return admissions

    # ------------------------------------------------------------------ LinkEvents

    def on_connected(self, peer: bytes) -> None:
        self.feed(PeerConnected(peer))

    def on_disconnected(self, peer: bytes) -> None:
        self.feed(PeerDisconnected(peer))

    def on_message(self, peer: bytes, message: PeerMessage) -> None:
        self.feed(Received(peer, message))

    # ------------------------------------------------------------------ effects

    def _perform(self, effect: Effect) -> None:
        assert self._links is not None, "the driver was started"
        match effect:
            case Broadcast(message):
                self._links.broadcast(message)
            case Send(peer, message):
                self._links.send(peer, message)
            case Append(record):
                if self._log_file is not None:
                    self._log_file.append(record)
            case Flush():
                self._flush()
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case Commit():
                self._commit(effect)
            case Admitted(request_id, admissions):
                self._admissions[request_id] = admissions
            case Dropped(transactions):
                self.waiters.on_dropped(transactions)
            case ServeBlocks(peer, first_height, last_height):
                self._links.send(peer, read_answer(self.store, first_height, last_height))
            case Report(name, fields):
                self._report(name, fields)
            case Halt(reason):
                _log.error("stopped", reason=reason)

    def _report(self, name: str, fields: Mapping[str, object]) -> None:
        second = int(self._loop.time())
        began, count = self._reports.get(name, (second, 0))
        count = count + 1 if began == second else 1
        self._reports[name] = (second, count)
        if count <= REPORTS_PER_SECOND:
            _log.info(name, **fields)

    def _flush(self) -> None:
        if self._log_file is None:
            return
        started = time.perf_counter()
        self._log_file.flush()
        self._metrics.flush_seconds.observe(time.perf_counter() - started)

    def _commit(self, effect: Commit) -> None:
        """Give a block to the store. It becomes durable before the next effect that anybody could see."""
        started = time.perf_counter()
        self.store.append(effect.block, effect.certificate, effect.execution, is_durable=False)
        self._metrics.commit_seconds.observe(time.perf_counter() - started)
        self._committing.append(effect)

    def _make_blocks_durable(self) -> None:
        if not self._committing:
            return
        started = time.perf_counter()
        self.store.make_durable()
        self._metrics.durable_seconds.observe(time.perf_counter() - started)
        committed, self._committing = self._committing, []
        for effect in committed:
            self._on_durable(effect)
        if self._log_file is not None:
            self._log_file.prune(committed[-1].block.height + 1)

    def _on_durable(self, effect: Commit) -> None:
        block = effect.block
        self._metrics.blocks.inc()
        self._metrics.transactions.inc(len(block.transactions))
        self._metrics.block_bytes.observe(len(block.data))
        if self._log_file is not None:
            check_signature_known(self._log_file, self.machine.own_key, effect.certificate)
        self.waiters.on_commit(block, effect.execution.transaction_ids)
        _log.info(
            "block_committed",
            height=block.height,
            hash=block.hash.hex(),
            state_root=block.header.state_root.hex(),
            transactions=len(block.transactions),
            round=effect.certificate.round,
            bytes=len(block.data),
        )
        if block.header.next_validators_hash != block.header.validators_hash:
            # Not now: it may close links, which is an input of its own.
            self._loop.call_soon(self._on_validators_changed)

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        earlier = self._timers.get(timer.kind)
        if earlier is not None:
            earlier.cancel()
        self._timers[timer.kind] = self._loop.call_later(delay_ms / 1000, self._fire, timer)

    def _fire(self, timer: Timer) -> None:
        self._timers.pop(timer.kind, None)
        self.feed(TimerFired(timer))
