"""processes: mesh and validators as plain processes on this machine's loopback, in real time.

Each is a child in a session of its own that dies with the harness. Its folder is `nodes/<name>` in the run's folder,
its output goes to `logs/<name>.log`. Where the scenario has faults of links, validators reach each other and the mesh
through the link proxy; else there is none, and nothing is spent on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tana.client.keyfiles import get_node_key_path, get_service_key_path, write_key
from tana.crypto.keys import Signer
from tana.node.links import Address
from tana.node.log import SignLog
from tana.types.errors import Unavailable
from testbed.backends.asking import Asker
from testbed.backends.base import MESH, Answer, Containers, Cuts, Links, Losses, Pair, Request
from testbed.backends.logs import LogFolder
from testbed.backends.recovering import COMMAND, TIMEOUT_S, make_recovery, read_recovery
from testbed.child import CONTROL_VARIABLE, PARENT_VARIABLE, ROUTES_VARIABLE
from testbed.damage import Harm, damage
from testbed.faults import FAULTS
from testbed.hooks import write_control_file
from testbed.journal import collect_journals
from testbed.needs import CONNECTIONS, CUTS, LINKS, LOSSES
from testbed.plan import NodePlan, Plan
from testbed.ports import HOST, HeldPorts
from testbed.proxy.proxy import LinkProxy
from testbed.scenario import Scenario
from testbed.steps import Perturb

POLL_INTERVAL_S = 0.05
STOP_TIMEOUT_S = 5


class ProcessesBackend:
    """See `testbed.backends.base.Backend`. `held` are the plan's ports; they are released by `cleanup`."""

    name = "processes"
    is_virtual = False
    containers: Containers | None = None

    def __init__(self, plan: Plan, folder: Path, held: HeldPorts) -> None:
        self._plan = plan
        self._held = held
        self._nodes_folder = folder / "nodes"
        self._logs_folder = folder / "logs"
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._exits: dict[str, str] = {}
        self._logs = LogFolder(self._logs_folder)
        self._asker = Asker(self.get_url)
        self._proxy = LinkProxy(list_targets(plan), str(plan.seed)) if has_link_faults(plan.scenario) else None
        self.cuts: Cuts | None = self._proxy
        self.losses: Losses | None = self._proxy
        self.links: Links | None = self._proxy

    # ------------------------------------------------------------------ starting and ending

    def start_mesh(self) -> None:
        folder = self._make_folder(MESH)
        arguments = ["testbed.child", "mesh", "serve", "--db", str(folder / "mesh.db"), "--host", HOST]
        arguments += ["--sovereign", self._plan.sovereign.public_text, "--port", str(self._plan.mesh_port)]
        arguments += ["--offline-after-ms", str(self._plan.scenario.timing.offline_after_ms), "--log-format", "json"]
        self._spawn(MESH, arguments, {})

    def start_validator(self, node: str) -> None:
        plan = self._plan.get_node(node)
        folder = self._make_folder(node)
        prepare_keys(plan, folder)
        self._spawn(node, ["testbed.validator"], self._make_settings(plan, folder))

    def is_running(self, node: str) -> bool:
        child = self._children.get(node)
        return child is not None and child.poll() is None

    def get_url(self, request: Request) -> str:
        """Where the listener that a request goes to is."""
        return f"http://{HOST}:{self._get_port(request)}"

    def get_pid(self, node: str) -> int:
        """The process id of a running node."""
        return self._children[node].pid

    def kill(self, node: str) -> None:
        self._end(node, signal.SIGKILL)
        self._exits[node] = "it was killed"

    def stop(self, node: str) -> None:
        self._end(node, signal.SIGTERM)
        self._exits[node] = "it was stopped"

    def pause(self, node: str) -> None:
        self._children[node].send_signal(signal.SIGSTOP)

    def resume(self, node: str) -> None:
        self._children[node].send_signal(signal.SIGCONT)

    def control(self, node: str, key: str, value: str) -> None:
        write_control_file(self._nodes_folder / node / "control.json", key, value)

    def damage(self, node: str, how: str, seed: str) -> Harm:
        assert not self.is_running(node), f"{node} is running"
        return damage(self._nodes_folder / node / "data", how, seed)

    def recover(self, node: str, height: int, round: int) -> str:
        folder = self._nodes_folder / node
        flags = make_recovery(node, self._plan.sovereign.public_text, height, round)
        try:
            done = subprocess.run(
                [sys.executable, *COMMAND[1:], *flags],
                env=self._inherit() | self._make_settings(self._plan.get_node(node), folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"tana validator recover did not end within {TIMEOUT_S} s") from None
        return read_recovery(done.returncode, done.stdout)

    def cleanup(self) -> None:
        running = [name for name in self._children if self.is_running(name)]
        for name in running:
            child = self._children[name]
            child.send_signal(signal.SIGCONT)
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for name in running:
            _wait(self._children[name], max(deadline - time.monotonic(), 0.0))
        self._asker.close()
        if self._proxy is not None:
            self._proxy.stop()
        self._held.release()

    # ------------------------------------------------------------------ asking and watching

    def request_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._asker.ask_all(requests)

    def knock(self, node: str, signer: Signer, chain_id: bytes) -> str | None:
        # Imported here: only a scenario that knocks pays for it.
        from testbed.backends.knocking import knock_at

        return knock_at(HOST, self._plan.get_node(node).ports.peer, signer, chain_id)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def advance(self) -> None:
        time.sleep(POLL_INTERVAL_S)

    def read_log(self, node: str) -> list[dict[str, Any]]:
        return self._logs.read_new(node)

    def describe_exit(self, node: str) -> str:
        child = self._children.get(node)
        if child is None or child.poll() is None:
            return ""
        words = self._logs.find_last_words(node)
        return self._exits.get(node) or f"it ended with {_describe_code(child.returncode)}: {words}"

    def collect_logs(self, folder: Path) -> None:
        """The logs are there already: the children wrote them."""

    def collect_journals(self, folder: Path) -> None:
        collect_journals(self._nodes_folder, self._plan.node_ids, folder)

    # ------------------------------------------------------------------ inside

    def _list_routes(self, node: str) -> dict[int, int]:
        """Where a validator dials instead of its peers' ports."""
        ports = {other.node_id: other.ports.peer for other in self._plan.nodes if other.node_id != node}
        return {port: self._get_route(node, other, port) for other, port in ports.items()} if self._proxy else {}

    def _get_route(self, node: str, other: str, port: int) -> int:
        return port if self._proxy is None else self._proxy.get_address((node, other))[1]

    def _make_folder(self, node: str) -> Path:
        folder = self._nodes_folder / node
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _make_settings(self, plan: NodePlan, folder: Path) -> dict[str, str]:
        """The environment of a validator."""
        node, timing, ports = plan.node_id, self._plan.scenario.timing, plan.ports
        return {
            "TANA_NODE_ID": node,
            "TANA_SOVEREIGN": self._plan.sovereign.public_text,
            "MESH_URL": f"http://{HOST}:{self._get_route(node, MESH, self._plan.mesh_port)}",
            "TANA_DATA_DIR": str(folder / "data"),
            "TANA_CONFIG_DIR": str(folder / "config"),
            "TANA_LISTEN_HOST": HOST,
            "TANA_HOSTNAME": "localhost",
            "TANA_IP": HOST,
            "LEDGER_PORT": str(ports.ledger),
            "T4_PORT": str(ports.t4),
            "TANA_PEER_PORT": str(ports.peer),
            "TANA_STATUS_PORT": str(ports.status),
            "TANA_HEARTBEAT_INTERVAL_MS": str(timing.heartbeat_interval_ms),
            "TANA_EMPTY_BLOCK_INTERVAL_MS": str(timing.empty_block_interval_ms),
            "TANA_LOG_FORMAT": "json",
            CONTROL_VARIABLE: str(folder / "control.json"),
            ROUTES_VARIABLE: json.dumps(self._list_routes(node)),
        }

    def _spawn(self, node: str, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
        assert not self.is_running(node), f"{node} is running"
        environment = self._inherit() | dict(settings) | {PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        self._exits.pop(node, None)
        with (self._logs_folder / f"{node}.log").open("ab") as log:
            try:
                self._children[node] = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    # Ctrl-C in a terminal goes to its foreground processes: the children are the harness's to end.
                    start_new_session=True,
                )
            except OSError as error:
                raise Unavailable(f"{node} cannot be started: {error.strerror}") from None

    @staticmethod
    def _inherit() -> dict[str, str]:
        """What this shell has set for its own nodes must not leak into the cluster."""
        return {key: value for key, value in os.environ.items() if not key.startswith(("TANA_", "MESH_"))}

    def _end(self, node: str, number: signal.Signals) -> None:
        child = self._children[node]
        if child.poll() is None:
            child.send_signal(number)
            _wait(child, STOP_TIMEOUT_S)

    def _get_port(self, request: Request) -> int:
        if request.target == MESH:
            return self._plan.mesh_port
        ports = self._plan.get_node(request.target).ports
        return {"ledger": ports.ledger, "t4": ports.t4, "status": ports.status}[request.port]


def list_targets(plan: Plan) -> dict[Pair, Address]:
    """Where each validator reaches every other one and the mesh."""
    ports = {MESH: plan.mesh_port} | {node.node_id: node.ports.peer for node in plan.nodes}
    return {(node, other): (HOST, ports[other]) for node in plan.node_ids for other in ports if other != node}


def has_link_faults(scenario: Scenario) -> bool:
    """Whether something in it needs the link proxy."""
    faults = [FAULTS[step.fault] for step in scenario.steps if isinstance(step, Perturb)]
    return any(fault.needs & {CUTS, LOSSES, LINKS, CONNECTIONS} for fault in faults)


def prepare_keys(plan: NodePlan, folder: Path) -> None:
    """The key files of a node, with the plan's keys, and the sign-state that belongs to a new node key."""
    config = folder / "config"
    path = get_node_key_path(plan.node_id, config)
    if path.exists():
        return
    SignLog.create(folder / "data" / "sign-state", plan.key.public_key)
    write_key(path, plan.key, node_id=plan.node_id)
    for service, key in plan.service_keys.items():
        write_key(get_service_key_path(plan.node_id, service, config), key)


def _wait(child: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until a child has ended; kill it where it takes too long."""
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _describe_code(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
