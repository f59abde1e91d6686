"""simulation: the whole cluster in one thread and in virtual time; the same seed gives the same history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tana.crypto.keys import Signer
from tana.mesh.memory import MemoryStore
from tana.mesh.registry import MeshRules
from tana.mesh.service import MeshService
from tana.node.hooks import Hooks
from tana.node.recovery import Answer as RecoveryAnswer
from tana.node.recovery import Slot, read_seen
from testbed.backends.base import MESH, Answer, Containers, Cuts, Links, Losses, Request
from testbed.backends.simulated_links import SimulatedLinks
from testbed.backends.simulated_log import SimulatedLog
from testbed.backends.simulated_validator import SimulatedValidator, format_time
from testbed.clock import read_clock
from testbed.damage import WIPE_CHAIN, Harm
from testbed.hooks import ControlledHooks
from testbed.journal import MemoryJournals
from testbed.plan import Plan
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.network import Network
from testbed.simulation.scheduler import Scheduler

BEGIN_MS = 1_750_000_000_000
"""When virtual time begins (June 2025)."""

ADVANCE_MS = 50
LIVENESS_INTERVAL_MS = 500


class SimulationBackend:
    """See `testbed.backends.base.Backend`."""

    name = "simulation"
    is_virtual = True
    containers: Containers | None = None

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scheduler = Scheduler(BEGIN_MS)
        self._network = Network(self._scheduler, str(plan.seed))
        self._mesh_store = MemoryStore()
        self._mesh: MeshService | None = None
        self._mesh_log: list[dict[str, Any]] = []
        self._disks = {node: Disk() for node in plan.node_ids}
        self._clocks = {node: Clock(self._scheduler) for node in plan.node_ids}
        self._nodes: dict[str, SimulatedValidator] = {}
        self._read_lines: dict[str, int] = {}
        self._files: TemporaryDirectory[str] | None = None
        keys = {node.node_id: node.key.public_key for node in plan.nodes}
        links = SimulatedLinks(self._network, keys)
        self.cuts: Cuts | None = links
        self._links = links
        self.losses: Losses | None = links
        self.links: Links | None = links
        self._journals = MemoryJournals(lambda: self._scheduler.now_ms)

    def start_mesh(self) -> None:
        rules = MeshRules(offline_after_ms=self._plan.scenario.timing.offline_after_ms)
        sovereign = self._plan.sovereign.public_text
        mesh = MeshService(self._mesh_store, sovereign, rules, now_ms=self._scheduler.now_ms)
        mesh.subscribe(lambda event: self._log_mesh(event.type, event.data))
        self._mesh = mesh
        self._check_liveness(mesh)

    def start_validator(self, node: str) -> None:
        assert node not in self._nodes, f"{node} is running"
        made = SimulatedValidator(
            self._plan.get_node(node),
            self._disks[node],
            sovereign=self._plan.sovereign.public_text,
            timing=self._plan.scenario.timing,
            scheduler=self._scheduler,
            clock=self._clocks[node],
            network=self._network,
            ask_mesh=partial(self._ask_mesh, node),
            on_crash=lambda: self.kill(node),
            hooks=self._journals.wrap(node, make_hooks(node, self._disks[node])),
        )
        self._nodes[node] = made
        made.start()

    def is_running(self, node: str) -> bool:
        return self._mesh is not None if node == MESH else node in self._nodes

    def kill(self, node: str) -> None:
        if node == MESH:
            self._mesh = None
        else:
            self._nodes.pop(node).node.die()

    def stop(self, node: str) -> None:
        # Whatever a node answers for is durable at any time: to be stopped and to be killed is the same for it.
        self.kill(node)

    def pause(self, node: str) -> None:
        self._nodes[node].node.pause()

    def resume(self, node: str) -> None:
        self._nodes[node].node.resume()

    def control(self, node: str, key: str, value: str) -> None:
        self._disks[node].control[key] = value
        if key == "clock":
            ahead_ms, drift_ppm = read_clock(value)
            clock = self._clocks[node]
            clock.set_drift(drift_ppm)
            clock.shift(ahead_ms - clock.offset_ms)

    def damage(self, node: str, how: str, seed: str) -> Harm:
        assert node not in self._nodes, f"{node} is running"
        disk = self._disks[node]
        if how == WIPE_CHAIN:
            heights = range(1, disk.blocks.height + 1)
            size_bytes = sum(len(stored.data) for height in heights if (stored := disk.blocks.get_block(height)))
            disk.wipe_data()
            return Harm("chain", 0, size_bytes)
        harm, torn_bytes = self._get_log(node).damage(how, seed)
        if torn_bytes:
            self._log(node, "sign_state_torn_tail_cut", bytes=torn_bytes)
        return harm

    def recover(self, node: str, height: int, round: int) -> str:
        answers = [RecoveryAnswer(other, "", self._ask_seen(other)) for other in self._plan.node_ids if other != node]
        recovery = self._get_log(node).recover((height, round), answers, self._scheduler.now_ms)
        return f"{node} signs nothing up to height {recovery.height} round {recovery.round}"

    def request_all(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._request(request) for request in requests]

    def knock(self, node: str, signer: Signer, chain_id: bytes) -> str | None:
        return None  # Its links are between machines that know each other: nobody listens.

    def now_ms(self) -> int:
        return self._scheduler.now_ms

    def advance(self) -> None:
        self._scheduler.run_until(self._scheduler.now_ms + ADVANCE_MS)

    def read_log(self, node: str) -> list[dict[str, Any]]:
        lines = self._disks[node].log
        first = self._read_lines.get(node, 0)
        self._read_lines[node] = len(lines)
        return lines[first:]

    def describe_exit(self, node: str) -> str:
        log = self._disks[node].log if node in self._disks else []
        if log and log[-1]["event"] == "crashed":
            return f"it crashed: {log[-1]['reason']}"
        return "it was killed" if log else ""

    def collect_logs(self, folder: Path) -> None:
        for node, disk in self._disks.items():
            write_log(folder / f"{node}.log", disk.log)
        write_log(folder / f"{MESH}.log", self._mesh_log)

    def collect_journals(self, folder: Path) -> None:
        self._journals.write(folder)

    def cleanup(self) -> None:
        self._nodes.clear()
        self._mesh = None
        if self._files is not None:
            self._files.cleanup()

    def _get_log(self, node: str) -> SimulatedLog:
        """A validator's log as files, where it stays for as long as the run lasts."""
        if self._files is None:
            self._files = TemporaryDirectory(prefix="testbed-logs-")
        return SimulatedLog(self._disks[node], self._plan.get_node(node).key, Path(self._files.name) / node)

    def _ask_seen(self, node: str) -> Slot | None:
        answer = self._request(Request(node, "status", "GET", "/health"))
        return read_seen(answer.body) if answer.is_ok else None

    def _log(self, node: str, event: str, **fields: Any) -> None:
        self._disks[node].log.append({"timestamp": format_time(self._scheduler.now_ms), "event": event, **fields})

    def _request(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        if request.target == MESH:
            if self._mesh is None:
                return Answer(0, "connection refused")
            found = self._mesh.handle(request.method, parts.path, query, request.body, self._scheduler.now_ms)
            return Answer(*found)
        node = self._nodes.get(request.target)
        if node is None:
            return Answer(0, "connection refused")
        if node.node.is_paused:
            return Answer(0, "no answer in time")
        return Answer(*node.api.handle(request.method, parts.path, query, request.body))

    def _ask_mesh(self, node: str, method: str, path: str, body: Any) -> tuple[int, Any]:
        if not self._links.may_ask_mesh(node):
            return 0, {"error": "no answer in time"}
        answer = self._request(Request(MESH, MESH, method, path, body))
        return answer.status, answer.body if isinstance(answer.body, dict) else {}

    def _check_liveness(self, mesh: MeshService) -> None:
        if self._mesh is mesh:
            mesh.check_liveness(self._scheduler.now_ms)
            self._scheduler.call_after(LIVENESS_INTERVAL_MS, lambda: self._check_liveness(mesh))

    def _log_mesh(self, kind: str, data: Mapping[str, Any]) -> None:
        self._mesh_log.append({"timestamp": format_time(self._scheduler.now_ms), "event": f"mesh_{kind}", **data})


def make_hooks(node: str, disk: Disk) -> Hooks:
    """The hooks of a node of the simulation. Tests replace this to plant what must be found."""
    return ControlledHooks(lambda: disk.control)


def write_log(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    lines = (json.dumps(entry, default=_describe, separators=(",", ":")) + "\n" for entry in entries)
    path.write_text("".join(lines), "utf-8")


def _describe(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
