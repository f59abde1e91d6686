"""A validator in virtual time as scenarios see it: a simulated node with its road through the mesh and its API."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tana.client.registration import build_heartbeat, build_registration, build_service
from tana.crypto.keys import verify, verify_text
from tana.node.api import NodeApi, NodeInfo
from tana.node.effects import Commit, Effect
from tana.node.hooks import Hooks
from tana.node.inputs import Input
from tana.node.machine import MachineConfig, MachineStatus
from tana.node.views import show_recovery
from tana.types.genesis import SignedGenesis, parse_signed_genesis
from testbed.plan import NodePlan
from testbed.scenario import Timing
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.network import Network
from testbed.simulation.node import Identity, SimulatedNode
from testbed.simulation.scheduler import Scheduler

HOST = "127.0.0.1"
POLL_INTERVAL_MS = 100
"""How often a node that waits asks the mesh."""

AskMesh = Callable[[str, str, Any], tuple[int, Any]]


class SimulatedValidator:
    """One incarnation of a validator, from its start to its death."""

    def __init__(
        self,
        plan: NodePlan,
        disk: Disk,
        *,
        sovereign: str,
        timing: Timing,
        scheduler: Scheduler,
        clock: Clock,
        network: Network,
        ask_mesh: AskMesh,
        on_crash: Callable[[], None],
        hooks: Hooks,
    ) -> None:
        self.info = NodeInfo(plan.node_id, plan.key.public_key)
        self.api = NodeApi(self.info)
        self.node = SimulatedNode(
            Identity(plan.node_id, plan.key, verify),
            disk,
            MachineConfig(empty_block_interval_ms=timing.empty_block_interval_ms),
            scheduler=scheduler,
            clock=clock,
            network=network,
            watcher=self,
            hooks=hooks,
        )
        self._plan = plan
        self._disk = disk
        self._sovereign = sovereign
        self._timing = timing
        self._scheduler = scheduler
        self._ask_mesh = ask_mesh
        self._on_crash = on_crash
        self._hooks = hooks
        self._last_beat_ms = 0

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

    def log(self, event: str, /, **fields: Any) -> None:
        self._disk.log.append({"timestamp": format_time(self._scheduler.now_ms), "event": event, **fields})

    def _wait_approval(self) -> None:
        _, answer = self._ask_mesh("GET", f"/nodes/{self._plan.node_id}", None)
        if answer.get("node", {}).get("status") in ("active", "offline"):
            self.info.state = "awaiting_genesis"
            self.log("approved")
            self._beat()
            self._wait_genesis()
        else:
            self.node.after(POLL_INTERVAL_MS, self._wait_approval)

    def _wait_genesis(self) -> None:
        status, answer = self._ask_mesh("GET", "/genesis", None)
        if status != 200:
            self.node.after(POLL_INTERVAL_MS, self._wait_genesis)
            return
        signed = parse_signed_genesis(answer)
        assert verify_text(self._sovereign, signed.genesis.to_text(), signed.signature), "a genesis by somebody else"
        self._disk.genesis = signed
        self._begin(signed)

    def _beat(self) -> None:
        """A heartbeat now, and again after each interval."""
        self.node.after(self._timing.heartbeat_interval_ms, self._beat)
        if not self._hooks.may_send_heartbeat():
            return
        # As a real one: the mesh wants rising timestamps, also where our clock was set back.
        now_ms = self._last_beat_ms = max(self.node.clock.now_ms(), self._last_beat_ms + 1)
        services = [{"type": kind, "healthy": True, "lastCheck": now_ms} for kind in ("ledger", "t4", "consensus")]
        status = self._get_status()
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

    def _get_status(self) -> MachineStatus | None:
        return self.node.machine.status() if self.node.chain_id else None

    def _begin(self, signed: SignedGenesis) -> None:
        """Consensus begins, or goes on from what the disk holds."""
        self.info.node_ids = {bytes.fromhex(item.publicKey[8:]): item.nodeId for item in signed.genesis.validators}
        self.info.recovered = next(map(show_recovery, reversed(self._disk.recoveries)), None)
        self.node.begin(signed.genesis)
        if self.node.is_alive:
            self.api.start(self.node.machine, self._disk.blocks, self.node.submit)

    # ------------------------------------------------------------------ Watcher

    def on_begin(self, node: SimulatedNode) -> None:
        height, signed_height = node.machine.ledger.height, self._disk.sign_floor[0]
        if signed_height > height + 1:
            self.log("chain_behind_sign_state", height=height, signed_height=signed_height)
        for recovery in self._disk.recoveries:
            self.log("sign_state_recovered", **show_recovery(recovery))
        self.log("began", height=height, chain_id=node.chain_id.hex())

    def on_step(self, node: SimulatedNode, input: Input, effects: Sequence[Effect]) -> None:
        """Answers are what scenarios judge by."""

    def on_commit(self, node: SimulatedNode, commit: Commit) -> None:
        block = commit.block
        self.log("committed", height=block.height, block=block.hash.hex(), transactions=len(block.transactions))

    def on_report(self, node: SimulatedNode, name: str, fields: Mapping[str, object]) -> None:
        self.log(name, **fields)

    def on_dropped(self, node: SimulatedNode, transactions: Sequence[tuple[str, str]]) -> None:
        """Clients of scenarios ask again by themselves."""

    def on_death(self, node: SimulatedNode, error: Exception | None) -> None:
        if error is not None:
            words = str(error).partition("\n")[0]
            lines = "".join(traceback.format_exception(error))
            self.log("crashed", reason=f"{type(error).__name__}: {words}", traceback=lines)
        self._on_crash()


def format_time(time_ms: int) -> str:
    """A time as logs print it: ISO 8601 in UTC."""
    moment = datetime.datetime.fromtimestamp(time_ms / 1000, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
