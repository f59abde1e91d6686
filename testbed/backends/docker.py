"""docker: the cluster of the Compose files in containers, on a tailnet of its own or a plain bridge, in real time.

Compose makes the containers and starts what validators need; validators are started, and everything is broken, through
the engine's API. Each run is a Compose project of its own. Its logs are in `logs/`, and at the end the data of its
nodes in `nodes/`.
"""

from __future__ import annotations

import io
import ipaddress
import json
import os
import secrets
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tana.crypto.keys import KeyPair, Signer
from tana.types.errors import SettingsError, TanaError, Unavailable
from testbed.backends.asking import Asker
from testbed.backends.base import CONTROL, MESH, Answer, Containers, Cuts, Links, Losses, Request
from testbed.backends.docker_containers import DockerContainers
from testbed.backends.docker_cuts import PacketCuts
from testbed.backends.docker_engine import Compose, Engine, find_engine
from testbed.backends.docker_image import Say, name_images, provide_images
from testbed.backends.docker_leftovers import Watchdog, remove_run
from testbed.backends.docker_logs import LogFollower, write_log
from testbed.backends.docker_losses import PacketLosses
from testbed.backends.docker_model import (
    CONTROL_FILE,
    DATA,
    MESH_PORT,
    NODE_DATA,
    PORTS,
    ROOT,
    adapt,
    check_checkout,
    make_environment,
    write_files,
)
from testbed.backends.docker_sdk import connect, explained
from testbed.backends.logs import LogFolder
from testbed.backends.processes import prepare_keys
from testbed.backends.recovering import COMMAND, TIMEOUT_S, make_recovery, read_recovery
from testbed.damage import Harm
from testbed.journal import collect_journals
from testbed.plan import NodePlan, Plan
from testbed.ports import HOST

POLL_INTERVAL_S = 0.05
COMPOSE_TIMEOUT_S = 60
IMAGE_USER = 10001
"""The user of the image: Dockerfile."""
TAILNET = ipaddress.ip_network("100.64.0.0/10")
_WRITE_FILE = 'printf %s "$1" >"$0.new" && mv "$0.new" "$0"'


def make_docker_backend(plan: Plan, folder: Path, network: str, say: Say) -> DockerBackend:
    """The backend of a run, with its images at hand. Raises `TanaError` where the engine or an image is missing."""
    check_checkout()
    project = f"tana-{plan.scenario.name}-{secrets.token_hex(3)}"
    files = write_files(folder, len(plan.nodes), network)
    engine = find_engine()
    compose = Compose(project, files, make_environment(plan, name_images()), ROOT)
    model = json.loads(compose.run("config", "--format", "json", timeout_s=COMPOSE_TIMEOUT_S))
    with explained("the engine does not answer"):
        client = connect(engine.host)
        provide_images(client, compose, model, folder, say)
    file = folder / "compose.json"
    file.write_text(json.dumps(adapt(model, plan.node_ids), indent=1), "utf-8")
    return DockerBackend(
        plan,
        folder=folder,
        network=network,
        engine=engine,
        client=client,
        compose=replace(compose, files=[file]),
        model=model,
    )


class DockerBackend:
    """See `testbed.backends.base.Backend`. Make it with `make_docker_backend`."""

    name = "docker"
    is_virtual = False

    def __init__(
        self,
        plan: Plan,
        *,
        folder: Path,
        network: str,
        engine: Engine,
        client: Any,
        compose: Compose,
        model: dict[str, Any],
    ) -> None:
        self.project = compose.project
        """The name of the run in Compose."""
        self._plan = plan
        self._engine = engine
        self._client = client
        self._compose = compose
        self._nodes_folder = folder / "nodes"
        self._logs = LogFolder(folder / "logs")
        self._own = DockerContainers(
            client,
            project=compose.project,
            network=network,
            tools_image=get_tools_image(model),
            on_start=self._on_start,
        )
        self.containers: Containers | None = self._own
        self.cuts: Cuts | None = PacketCuts(self._own)
        self.losses: Losses | None = PacketLosses(self._own, plan.node_ids)
        self.links: Links | None = None
        self._watchdog: Watchdog | None = None
        self._followers: dict[str, LogFollower] = {}
        self._starting: dict[str, Future[None]] = {}
        self._exits: dict[str, str] = {}
        self._wishes: dict[str, dict[str, str]] = {}
        self._waiting: dict[str, str] = {}
        """What a node says that it waits for before it listens."""
        self._urls: dict[str, dict[int, str]] = {}
        self._pool = ThreadPoolExecutor(max(8, len(plan.nodes)), thread_name_prefix="start")
        self._asker = Asker(self.get_url)

    # ------------------------------------------------------------------ starting and ending

    def start_mesh(self) -> None:
        if self._watchdog is not None:
            self._own.do(MESH, "start")
            return
        # From here on everything that is made is also unmade, however this process ends.
        self._watchdog = Watchdog(self.project, self._engine.host)
        self._compose = replace(self._compose, pass_fds=[self._watchdog.descriptor])
        self._compose.run("create", timeout_s=COMPOSE_TIMEOUT_S)
        self._check_subnet()
        list(self._pool.map(self._put_keys, self._plan.nodes))
        self._start_all_but_validators()

    def start_validator(self, node: str) -> None:
        self._exits.pop(node, None)
        self._starting[node] = self._pool.submit(self._own.do, node, "start")

    def is_running(self, node: str) -> bool:
        starting = self._starting.get(node)
        if starting is not None:
            if not starting.done():
                return True
            del self._starting[node]
            starting.result()
        return self._own.get_state(node) in ("running", "paused", "restarting")

    def kill(self, node: str) -> None:
        self._own.do(node, "kill")
        self._exits[node] = "it was killed"

    def stop(self, node: str) -> None:
        self._own.do(node, "stop")
        self._exits[node] = "it was stopped"

    def pause(self, node: str) -> None:
        self._own.do(node, "pause")

    def resume(self, node: str) -> None:
        self._own.do(node, "unpause")

    def control(self, node: str, key: str, value: str) -> None:
        wishes = self._wishes.setdefault(node, {})
        wishes[key] = value
        if self._own.get_state(node) != "running":
            self._own.put(node, DATA, pack({Path(CONTROL_FILE).name: json.dumps(wishes).encode()}))
            return
        code, output = self._own.execute(node, ["sh", "-c", _WRITE_FILE, CONTROL_FILE, json.dumps(wishes)])
        if code != 0:
            raise Unavailable(f"{node} cannot be told {key}={value}: {output.strip()}", code="docker_failed")

    def damage(self, node: str, how: str, seed: str) -> Harm:
        code, output = self._own.run_instead(node, ["python", "-m", "testbed.damage", NODE_DATA, how, seed])
        if code != 0:
            raise Unavailable(f"the data of {node} cannot be damaged: {output.strip()}", code="docker_failed")
        return msgspec.json.decode(output, type=Harm)

    def recover(self, node: str, height: int, round: int) -> str:
        flags = make_recovery(node, self._plan.sovereign.public_text, height, round)
        return read_recovery(*self._own.run_instead(node, [*COMMAND, *flags], TIMEOUT_S))

    def cleanup(self) -> None:
        if self._watchdog is None:
            self._close()
            return
        try:
            self._rescue()
        finally:
            with explained(f"{self.project} cannot be removed (make down does it later)"):
                remove_run(self._client, self.project)
            self._watchdog.dismiss()
            self._watchdog = None
            self._close()

    # ------------------------------------------------------------------ asking and watching

    def request_all(self, requests: Sequence[Request]) -> list[Answer]:
        return [
            replace(answer, body=self._waiting[request.target])
            if answer.status == 0 and request.target in self._waiting
            else answer
            for request, answer in zip(requests, self._asker.ask_all(requests), strict=True)
        ]

    def knock(self, node: str, signer: Signer, chain_id: bytes) -> str | None:
        # The peer port is not published, and on a tailnet there only: the mesh's container has both.
        assert isinstance(signer, KeyPair), "the outsider's key goes into another process"
        host = node
        if self._own.network == "tailnet":
            host = self._own.run(node, "sidecar", ["tailscale", "ip", "-4"])[1].strip()
        arguments = ["python", "-m", "testbed.backends.knocking", host, str(PORTS.peer), chain_id.hex()]
        code, output = self._own.execute(MESH, arguments, environment={"TESTBED_KEY": signer.private_text})
        return output.strip() if code == 0 else f"no handshake: {output.strip()[-300:]}"

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def advance(self) -> None:
        self._check_helpers()
        time.sleep(POLL_INTERVAL_S)

    def read_log(self, node: str) -> list[dict[str, Any]]:
        entries = self._logs.read_new(node)
        for entry in entries:
            if entry.get("event") == "waiting_for_tailnet":
                self._waiting[node] = str(entry.get("reason"))
            else:
                self._waiting.pop(node, None)
        return entries

    def describe_exit(self, node: str) -> str:
        if self.is_running(node):
            return ""
        return self._exits.get(node) or self._describe_end(node)

    def collect_logs(self, folder: Path) -> None:
        """The logs are there already: they went before the containers."""

    def get_url(self, request: Request) -> str:
        """Where the host reaches the listener that a request goes to; empty where the engine publishes none."""
        anchor = f"{request.target}-anchor"
        port = {"mesh": MESH_PORT, "ledger": PORTS.ledger, "status": PORTS.status}.get(request.port, 0)
        if port not in self._urls.get(anchor, {}):
            try:
                ports = self._own.inspect(anchor)["NetworkSettings"]["Ports"] or {}
            except TanaError:
                return ""
            self._urls[anchor] = {
                int(key.partition("/")[0]): f"http://{HOST}:{bound[0]['HostPort']}"
                for key, bound in ports.items()
                if bound
            }
        return self._urls[anchor].get(port, "")

    def get_pid(self, node: str) -> int:
        """The process of a node that runs, as its engine's machine counts."""
        with explained(f"the processes of {node} cannot be listed"):
            found = self._client.api.top(self._own.get_id(node))
        init = str(self._own.inspect(node)["State"]["Pid"])
        pid, parent = found["Titles"].index("PID"), found["Titles"].index("PPID")
        return next(int(row[pid]) for row in found["Processes"] if row[parent] == init)

    def collect_journals(self, folder: Path) -> None:
        collect_journals(self._nodes_folder, self._plan.node_ids, folder)

    # ------------------------------------------------------------------ inside

    def _put_keys(self, node: NodePlan) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare_keys(node, folder)
            # TANA_CONFIG_DIR and TANA_DATA_DIR of the Compose files.
            self._own.put(node.node_id, DATA, pack({"config": folder / "config", "node": folder / "data"}))

    def _start_all_but_validators(self) -> None:
        names = [name for name in self._own.list_names() if name not in self._plan.node_ids]
        try:
            self._compose.run("start", *names, timeout_s=COMPOSE_TIMEOUT_S)
        except Unavailable as error:
            self._own.forget_states()
            # Everybody waits for the control server: what is wrong with it comes before what they say.
            for name in sorted(names, key=lambda name: name != CONTROL):
                if self._own.get_state(name) in ("exited", "dead", "restarting") and self._get_exit_code(name) != 0:
                    raise Unavailable(f"{name}: {self._describe_end(name)}", code="docker_failed") from None
            raise error
        self._own.forget_states()
        self._on_start(MESH)

    def _check_subnet(self) -> None:
        with explained("the network cannot be looked at"):
            network = self._client.api.inspect_network(f"{self.project}_underlay")
        for config in network["IPAM"]["Config"] or ():
            subnet = ipaddress.ip_network(config["Subnet"])
            if subnet.version == 4 and subnet.overlaps(TAILNET):
                raise SettingsError(
                    f"the engine gave the subnet {subnet}, which lies in {TAILNET}: those are the tailnet's addresses",
                    remedy="set default-address-pools in /etc/docker/daemon.json to others, or use NETWORK=bridge",
                    code="subnet_in_tailnet",
                )

    def _check_helpers(self) -> None:
        """Raises `Unavailable` where an anchor, a sidecar or the control server has ended and nobody wished it."""
        if self._watchdog is None:
            return
        for name in self._own.list_names():
            is_helper = name == CONTROL or name.endswith(("-anchor", "-tailscale"))
            if not is_helper or self._own.is_excused(name):
                continue
            if self._own.get_state(name) in ("exited", "dead", "restarting"):
                raise Unavailable(
                    f"{name}: {self._describe_end(name)}",
                    remedy=f"see logs/{name}.log and docs/docker.md",
                    code="container_ended",
                )

    def _get_exit_code(self, name: str) -> int:
        return int(self._own.inspect(name)["State"]["ExitCode"])

    def _describe_end(self, name: str) -> str:
        state = self._own.inspect(name)["State"]
        if state["OOMKilled"]:
            return "it ran out of memory"
        if name in self._followers:
            self._followers[name].finish()
        else:
            write_log(self._client, self._own.get_id(name), self._logs.get_path(name))
        words = state["Error"] or self._logs.find_last_words(name)
        return f"it ended with exit code {state['ExitCode']}: {words}"

    def _on_start(self, name: str) -> None:
        """A container was started: its ports are new, and its log goes on."""
        self._urls.pop(name, None)
        if name == MESH or name in self._plan.node_ids:
            if name not in self._followers:
                path = self._logs.get_path(name)
                self._followers[name] = LogFollower(self._client, self._own.get_id(name), path)
            self._followers[name].follow()

    def _rescue(self) -> None:
        """What a run leaves behind of its containers: every log, and the data of the nodes."""
        self._own.forget_states()
        nodes = [name for name in (MESH, *self._plan.node_ids) if self._own.get_state(name) == "running"]
        self._own.do_all(nodes, "stop")
        for name in self._own.list_names():
            if name in self._followers:
                self._followers[name].finish()
            elif not name.endswith("-anchor"):
                write_log(self._client, self._own.get_id(name), self._logs.get_path(name))
            if name in self._followers:
                self._own.copy_out(name, DATA, self._nodes_folder / name)

    def _close(self) -> None:
        self._asker.close()
        self._own.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def get_tools_image(model: dict[str, Any]) -> str:
    """The image with iptables and ip: that of the sidecars, also where the cluster has none."""
    for service in model["services"].values():
        if "TS_HOSTNAME" in (service.get("environment") or {}):
            return str(service["image"])
    return os.environ.get("TAILSCALE_IMAGE") or "tailscale/tailscale:v1.102.3"


def pack(files: dict[str, Path | bytes]) -> bytes:
    """A tar archive of files and folders, owned by the image's user."""

    def own(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = IMAGE_USER
        info.uname = info.gname = ""
        return info

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            if isinstance(content, Path):
                archive.add(content, name, filter=own)
            else:
                info = own(tarfile.TarInfo(name))
                info.size, info.mode = len(content), 0o600
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
