"""One incarnation of a node in virtual time: the real machine, ledger and mempool on a disk and links in memory.

It performs the machine's effects strictly in order, as `tana.node.driver` does, and may die between any two of them.
Who watches is told what the machine was told and which of its effects were performed: what came after the death never
happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tana.crypto.keys import Signer, Verifier
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Admission, Mempool
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
from tana.node.hooks import NO_HOOKS, Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, Timer, TimerFired
from tana.node.machine import Machine, MachineConfig
from tana.types.block import Block
from tana.types.genesis import Genesis
from tana.types.messages import PeerMessage
from tana.types.transaction import SignedTransaction
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.network import Network
from testbed.simulation.scheduler import Scheduler


class Watcher(Protocol):
    """Who hears of everything that happens at a node. Times are true times in ms."""

    def on_begin(self, node: SimulatedNode) -> None:
        """Its machine is made and has not taken a step."""

    def on_step(self, node: SimulatedNode, input: Input, effects: Sequence[Effect]) -> None:
        """The machine took an input; these effects are performed now."""

    def on_commit(self, node: SimulatedNode, commit: Commit) -> None:
        """A block is durable at this node."""

    def on_report(self, node: SimulatedNode, name: str, fields: Mapping[str, object]) -> None:
        """The machine reported something, or halted (`halted`, with its reason)."""

    def on_dropped(self, node: SimulatedNode, transactions: Sequence[tuple[str, str]]) -> None:
        """Pending transactions that will not be executed: id and reason."""

    def on_death(self, node: SimulatedNode, error: Exception | None) -> None:
        """It died between two effects as asked, or of a bug."""


@dataclass(frozen=True)
class Identity:
    """Who a node is: its name, its key, and how signatures are made and checked in this simulation."""

    name: str
    signer: Signer
    verifier: Verifier
    number: int = 0

    @property
    def key(self) -> bytes:
        return self.signer.public_key


class SimulatedNode:
    """A machine at work, from `begin` to `die`."""

    def __init__(
        self,
        identity: Identity,
        disk: Disk,
        config: MachineConfig,
        *,
        scheduler: Scheduler,
        clock: Clock,
        network: Network,
        watcher: Watcher,
        hooks: Hooks = NO_HOOKS,
        incarnation: int = 0,
    ) -> None:
        self.identity = identity
        self.name = identity.name
        self.number = identity.number
        self.key = identity.key
        self.chain_id = b""
        self.disk = disk
        self.clock = clock
        self.incarnation = incarnation
        self.is_alive = True
        self.is_paused = False
        self.effects_left: int | None = None
        """How many more effects it performs before it dies; None where nobody has asked for that."""
        self._config = config
        self._scheduler = scheduler
        self._network = network
        self._watcher = watcher
        self._hooks = hooks
        self._has_hooks = hooks is not NO_HOOKS
        self._deferred: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._timers: dict[str, int] = {}
        self._timer_count = 0
        self._request_id = 0
        self._admissions: dict[int, tuple[Admission, ...]] = {}
        self._performers: dict[type[Effect], Callable[[Any], None]] = {
            Append: self._append,
            Flush: self._flush,
            Broadcast: self._broadcast,
            Send: self._send,
            SetTimer: self._set_timer,
            Commit: self._commit,
            Admitted: self._admit,
            Dropped: self._drop,
            ServeBlocks: self._serve,
            Report: self._report,
            Halt: self._halt,
        }

    # ------------------------------------------------------------------ life

    def begin(self, genesis: Genesis) -> None:
        """Consensus begins, or goes on from what the disk holds."""
        disk, verifier = self.disk, self.identity.verifier
        if disk.blocks.height:
            tip = disk.blocks.get_block(disk.blocks.height)
            assert tip is not None
            ledger = Ledger.restore(genesis, disk.entries.items(), Block.decode(tip.data).header, verifier)
        else:
            ledger = Ledger.from_genesis(genesis, verifier)
            disk.entries = dict(ledger.tree.items())
        ledger = self._hooks.wrap_ledger(ledger)
        self.machine = Machine(
            self._config,
            ledger,
            Mempool(ledger),
            None if disk.abstain_reason else self.identity.signer,
            verifier,
            own_key=self.key,
            records=disk.records,
            sign_floor=disk.sign_floor,
            abstain_reason=disk.abstain_reason,
        )
        self._hooks.on_begin(
            Beginning(
                genesis,
                self.machine,
                self.identity.signer,
                verifier,
                tuple(disk.records),
                disk.sign_floor,
                disk.abstain_reason,
            )
        )
        self.chain_id = ledger.chain_id
        self._watcher.on_begin(self)
        self._step(Started())
        if self.is_alive:
            self._network.join(self)

    def die(self) -> None:
        """Nothing that was scheduled happens any more, and what was not flushed is lost."""
        if not self.is_alive:
            return
        self.is_alive = False
        self._network.leave(self)
        self.disk.lose_unflushed()

    def pause(self) -> None:
        """Stand still: what is due or arrives meanwhile waits."""
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        deferred, self._deferred = self._deferred, []
        for function, arguments in deferred:
            self.when_awake(function, *arguments)

    def after(self, delay_ms: int, function: Callable[..., None], *arguments: Any) -> None:
        """Once this node's clock has counted that far, and the node is awake."""
        self._scheduler.call_after(self.clock.to_true_ms(delay_ms), self.when_awake, function, *arguments)

    def when_awake(self, function: Callable[..., None], *arguments: Any) -> None:
        """Now, or when the node goes on; never for one that is dead."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._deferred.append((function, arguments))
        else:
            function(*arguments)

    # ------------------------------------------------------------------ what the network and clients bring

    def on_connected(self, peer: bytes) -> None:
        self.when_awake(self._step, PeerConnected(peer))

    def on_disconnected(self, peer: bytes) -> None:
        self.when_awake(self._step, PeerDisconnected(peer))

    def on_message(self, peer: bytes, message: PeerMessage) -> None:
        if self.is_paused:
            self.when_awake(self._step, Received(peer, message))
        elif self.is_alive:
            self._step(Received(peer, message))

    def submit(self, transactions: tuple[SignedTransaction, ...]) -> Sequence[Admission]:
        """The mempool's answers; none where the node died before it answered."""
        self._request_id += 1
        self._step(Submitted(self._request_id, transactions))
        return self._admissions.pop(self._request_id, ())

    # ------------------------------------------------------------------ the machine's effects, in order

    def _step(self, input: Input) -> None:
        now_ms = self.clock.now_ms()
        try:
            effects = self.machine.step(input, now_ms)
            if self._has_hooks:
                effects = self._hooks.on_step(input, now_ms, effects)
        except Exception as error:
            # A bug ends a real node's process: here it ends this node, and whoever watches is told why.
            self.die()
            self._watcher.on_death(self, error)
            return
        if self.effects_left is not None:
            self._perform_some(input, effects)
            return
        self._watcher.on_step(self, input, effects)
        performers = self._performers
        for effect in effects:
            performers[type(effect)](effect)

    def _perform_some(self, input: Input, effects: list[Effect]) -> None:
        """The effects that are left to it, and then death."""
        assert self.effects_left is not None
        performed = effects[: self.effects_left]
        self.effects_left -= len(performed)
        self._watcher.on_step(self, input, performed)
        for effect in performed:
            self._performers[type(effect)](effect)
        if len(performed) < len(effects):
            self.die()
            self._watcher.on_death(self, None)

    def _append(self, effect: Append) -> None:
        self.disk.unflushed.append(effect.record)

    def _flush(self, effect: Flush) -> None:
        self.disk.flush()

    def _broadcast(self, effect: Broadcast) -> None:
        self._network.broadcast(self, effect.message)

    def _send(self, effect: Send) -> None:
        self._network.send(self, effect.peer, effect.message)

    def _commit(self, effect: Commit) -> None:
        self.disk.commit(effect)
        self._watcher.on_commit(self, effect)

    def _admit(self, effect: Admitted) -> None:
        self._admissions[effect.request_id] = effect.admissions

    def _drop(self, effect: Dropped) -> None:
        self._watcher.on_dropped(self, effect.transactions)

    def _serve(self, effect: ServeBlocks) -> None:
        answer = read_answer(self.disk.blocks, effect.first_height, effect.last_height)
        self._network.send(self, effect.peer, answer)

    def _report(self, effect: Report) -> None:
        self._watcher.on_report(self, effect.name, effect.fields)

    def _halt(self, effect: Halt) -> None:
        self._watcher.on_report(self, "halted", {"reason": effect.reason})

    # ------------------------------------------------------------------ time

    def _set_timer(self, effect: SetTimer) -> None:
        timer = effect.timer
        self._timer_count += 1
        number = self._timers[timer.kind] = self._timer_count
        self._scheduler.call_after(self.clock.to_true_ms(effect.delay_ms), self._fire, timer, number)

    def _fire(self, timer: Timer, number: int) -> None:
        # Set again since then: the later one counts.
        if self.is_alive and self._timers.get(timer.kind) == number:
            if self.is_paused:
                self._deferred.append((self._fire, (timer, number)))
                return
            del self._timers[timer.kind]
            self._step(TimerFired(timer))
