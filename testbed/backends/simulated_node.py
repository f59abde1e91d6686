"""A validator in virtual time: the real machine, ledger, mempool and API, on a disk and links that are in memory.

`Disk` is what survives a kill; `SimulatedNode` is one incarnation and dies with everything that was not flushed.
"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tana.client.registration import build_heartbeat, build_registration, build_service
from tana.crypto.keys import verify, verify_text
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Admission, Mempool
from tana.node.api import NodeApi, NodeInfo
from tana.node.blocks import MemoryBlocks, read_answer
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
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, Timer, TimerFired
from tana.node.machine import Machine, MachineConfig
from tana.types.block import Block
from tana.types.genesis import SignedGenesis, parse_signed_genesis
from tana.types.messages import PeerMessage, Vote
from tana.types.transaction import SignedTransaction
from testbed.backends.simulated_network import Network
from testbed.backends.virtual_time import Scheduler
from testbed.plan import NodePlan
from testbed.scenario import Timing

HOST = "127.0.0.1"
POLL_INTERVAL_MS = 100
"""How often a node that waits asks the mesh."""

AskMesh = Callable[[str, str, Any], tuple[int, Any]]


@dataclass
class Disk:
    """What a node has made durable, and its log file (which the harness keeps)."""

    genesis: SignedGenesis | None = None
    blocks: MemoryBlocks = field(default_factory=MemoryBlocks)
    entries: dict[bytes, bytes] = field(default_factory=dict)
    records: list[LogRecord] = field(default_factory=list)
    sign_floor: tuple[int, int, int] = (0, 0, 0)
    log: list[dict[str, Any]] = field(default_factory=list)
    control: dict[str, str] = field(default_factory=dict)
    """What the harness wants of this node (see `testbed.hooks`)."""


class SimulatedNode:
    """One incarnation of a validator, from its start to its death."""

    def __init__(
        self,
        plan: NodePlan,
        disk: Disk,
        *,
        sovereign: str,
        timing: Timing,
        scheduler: Scheduler,
        network: Network,
        ask_mesh: AskMesh,
        on_crash: Callable[[], None],
        hooks: Hooks,
    ) -> None:
        self.key = plan.key.public_key
        self.info = NodeInfo(plan.node_id, self.key)
        self.api = NodeApi(self.info)
        self._plan = plan
        self._disk = disk
        self._sovereign = sovereign
        self._timing = timing
        self._scheduler = scheduler
        self._network = network
        self._ask_mesh = ask_mesh
        self._on_crash = on_crash
        self._hooks = hooks
        self._is_alive = True
        self._machine: Machine | None = None
        self.is_paused = False
        self._deferred: list[Callable[[], None]] = []
        self._has_joined = False
        self._unflushed: list[LogRecord] = []
        self._timers: dict[str, int] = {}
        self._timer_count = 0
        self._admissions: dict[int, Sequence[Admission]] = {}

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Register where needed, then join; a node with a chain on its disk goes on at once."""
        self.log("started")
        if self._disk.genesis is not None:
            self._begin(self._disk.genesis)
            self._beat()
            return
        services = [
            build_service("ledger", self._plan.ports.ledger, self._plan.service_keys["ledger"].public_text),
            build_service("t4", self._plan.ports.t4, self._plan.service_keys["t4"].public_text),
            build_service("consensus", self._plan.ports.peer, self._plan.service_keys["consensus"].public_text),
        ]
        body = build_registration(self._plan.key, self._plan.node_id, self._plan.node_id, HOST, services)
        status, answer = self._ask_mesh("POST", "/register", body)
        self.log("registered", status=status, answer=answer.get("status") or answer.get("error"))
        self._wait_approval()

    def die(self) -> None:
        """Nothing that was scheduled happens any more, and what was not flushed is lost."""
        self._is_alive = False
        if self._has_joined:
            self._network.leave(self.key)

    def pause(self) -> None:
        """Stand still: what is due or arrives meanwhile waits."""
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        deferred, self._deferred = self._deferred, []
        for call in deferred:
            self._when_awake(call)

    def log(self, event: str, **fields: Any) -> None:
        self._disk.log.append({"timestamp": format_time(self._scheduler.now_ms), "event": event, **fields})

    def _wait_approval(self) -> None:
        _, answer = self._ask_mesh("GET", f"/nodes/{self._plan.node_id}", None)
        if answer.get("node", {}).get("status") in ("active", "offline"):
            self.info.state = "awaiting_genesis"
            self.log("approved")
            self._beat()
            self._wait_genesis()
        else:
            self._after(POLL_INTERVAL_MS, self._wait_approval)

    def _wait_genesis(self) -> None:
        status, answer = self._ask_mesh("GET", "/genesis", None)
        if status != 200:
            self._after(POLL_INTERVAL_MS, self._wait_genesis)
            return
        signed = parse_signed_genesis(answer)
        assert verify_text(self._sovereign, signed.genesis.to_text(), signed.signature), "a genesis by somebody else"
        self._disk.genesis = signed
        self._begin(signed)

    def _beat(self) -> None:
        """A heartbeat now, and again after each interval."""
        self._after(self._timing.heartbeat_interval_ms, self._beat)
        if not self._hooks.may_send_heartbeat():
            return
        now_ms = self._scheduler.now_ms
        services = [{"type": kind, "healthy": True, "lastCheck": now_ms} for kind in ("ledger", "t4", "consensus")]
        status = self._machine.status() if self._machine is not None else None
        consensus = {
            "height": status.height if status else 0,
            "blockHash": status.block_hash.hex() if status else None,
            "stateRoot": status.state_root.hex() if status else None,
            "state": status.state if status else self.info.state,
        }
        body = build_heartbeat(self._plan.key, self._plan.node_id, now_ms, HOST, services=services, consensus=consensus)
        code, answer = self._ask_mesh("POST", "/heartbeat", body)
        if code != 200:
            self.log("heartbeat_failed", status=code, reason=answer.get("error"))

    def _begin(self, signed: SignedGenesis) -> None:
        """Consensus begins, or goes on from what the disk holds."""
        disk = self._disk
        if disk.blocks.height:
            tip = disk.blocks.get_block(disk.blocks.height)
            assert tip is not None
            ledger = Ledger.restore(signed.genesis, disk.entries.items(), Block.decode(tip.data).header, verify)
        else:
            ledger = Ledger.from_genesis(signed.genesis, verify)
            disk.entries = dict(ledger.tree.items())
        ledger = self._hooks.wrap_ledger(ledger)
        config = MachineConfig(empty_block_interval_ms=self._timing.empty_block_interval_ms)
        self._machine = Machine(
            config,
            ledger,
            Mempool(ledger),
            self._plan.key,
            verify,
            own_key=self.key,
            records=disk.records,
            sign_floor=disk.sign_floor,
        )
        self._hooks.on_begin(
            Beginning(signed.genesis, self._machine, self._plan.key, tuple(disk.records), disk.sign_floor, "")
        )
        self.info.node_ids = {bytes.fromhex(item.publicKey[8:]): item.nodeId for item in signed.genesis.validators}
        self.chain_id = ledger.chain_id
        self.api.start(self._machine, disk.blocks, self._submit)
        self.log("began", height=ledger.height, chain_id=ledger.chain_id.hex())
        self._step(Started())
        self._network.join(self)
        self._has_joined = True

    # ------------------------------------------------------------------ what the network and clients bring

    def on_connected(self, peer: bytes) -> None:
        self._when_awake(lambda: self._step(PeerConnected(peer)))

    def on_disconnected(self, peer: bytes) -> None:
        self._when_awake(lambda: self._step(PeerDisconnected(peer)))

    def on_message(self, peer: bytes, message: PeerMessage) -> None:
        self._when_awake(lambda: self._step(Received(peer, message)))

    def _submit(self, transactions: tuple[SignedTransaction, ...]) -> Sequence[Admission]:
        self._step(Submitted(1, transactions))
        return self._admissions.pop(1, ())

    # ------------------------------------------------------------------ the machine's effects, in order

    def _step(self, input: Input) -> None:
        assert self._machine is not None
        try:
            now_ms = self._scheduler.now_ms
            for effect in self._hooks.on_step(input, now_ms, self._machine.step(input, now_ms)):
                self._perform(effect)
        except Exception as error:
            # A bug ends a real node's process: here it ends this node, and the run tells why.
            words = str(error).partition("\n")[0]
            self.log("crashed", reason=f"{type(error).__name__}: {words}", traceback=traceback.format_exc())
            self._on_crash()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Append(record):
                self._unflushed.append(record)
            case Flush():
                self._flush()
            case Broadcast(message):
                self._network.broadcast(self, message)
            case Send(peer, message):
                self._network.send(self, peer, message)
            case SetTimer(timer, delay_ms):
                self._set_timer(timer, delay_ms)
            case Commit():
                self._commit(effect)
            case Admitted(request_id, admissions):
                self._admissions[request_id] = admissions
            case ServeBlocks(peer, first, last):
                self._network.send(self, peer, read_answer(self._disk.blocks, first, last))
            case Report(name, fields):
                self.log(name, **fields)
            case Halt(reason):
                self.log("halted", reason=reason)

    def _flush(self) -> None:
        disk = self._disk
        for record in self._unflushed:
            message = record.message
            if isinstance(record, Signed):
                kind = message.kind if isinstance(message, Vote) else 0
                disk.sign_floor = max(disk.sign_floor, (message.height, record.message.round, kind))
        disk.records += self._unflushed
        self._unflushed = []

    def _commit(self, commit: Commit) -> None:
        """One durable transaction: what was appended before it goes with it, and older records are not needed."""
        self._flush()
        disk = self._disk
        disk.blocks.append(commit.block, commit.certificate, commit.execution)
        for key, value in commit.execution.changes:
            if value is None:
                disk.entries.pop(key, None)
            else:
                disk.entries[key] = value
        disk.records = [record for record in disk.records if record.message.height > commit.block.height]
        count = len(commit.block.transactions)
        self.log("committed", height=commit.block.height, block=commit.block.hash.hex(), transactions=count)

    # ------------------------------------------------------------------ time

    def _set_timer(self, timer: Timer, delay_ms: int) -> None:
        self._timer_count += 1
        number = self._timers[timer.kind] = self._timer_count

        def fire() -> None:
            # Set again since then: the later one counts.
            if self._timers.get(timer.kind) == number:
                del self._timers[timer.kind]
                self._step(TimerFired(timer))

        self._after(delay_ms, fire)

    def _after(self, delay_ms: int, call: Callable[[], None]) -> None:
        self._scheduler.call_after(delay_ms, lambda: self._when_awake(call))

    def _when_awake(self, call: Callable[[], None]) -> None:
        """Now, or when the node goes on; never for one that is dead."""
        if not self._is_alive:
            return
        if self.is_paused:
            self._deferred.append(call)
        else:
            call()


def format_time(time_ms: int) -> str:
    """A time as logs print it: ISO 8601 in UTC."""
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
