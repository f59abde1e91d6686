"""The containers of one run, acted on through the engine's API."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path
from typing import Any

from tana.types.errors import Unavailable
from testbed.backends.base import CONTROL, Place, Verb
from testbed.backends.docker_model import LABEL, PROJECT_LABEL, ROOT, RUN_LABEL, SERVICE_LABEL, get_service_name
from testbed.backends.docker_sdk import explained

STATE_AGE_S = 0.1
"""For this long an answer about what runs is taken as true."""
STOP_TIMEOUT_S = 5
MAX_PARALLEL = 16
TOOLS_CAPABILITIES = ("NET_ADMIN", "NET_RAW")


class DockerContainers:
    """See `testbed.backends.base.Containers`. A container's name is that of its service in the Compose files.

    `on_start` is told of every container that is started. `tools_image` has iptables and ip.
    """

    def __init__(
        self, client: Any, *, project: str, network: str, tools_image: str, on_start: Callable[[str], None]
    ) -> None:
        self.network = network
        self.project = project
        self._excused: set[str] = set()
        """Containers that somebody has ended, or whose end a fault may cause."""
        self._client = client
        self._tools_image = tools_image
        self._on_start = on_start
        self._states: dict[str, tuple[str, str]] = {}
        """Id and state by name, as of `_states_s`."""
        self._states_s = 0.0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="docker")

    # ------------------------------------------------------------------ Containers

    def act(self, member: str, place: Place, verb: Verb) -> None:
        name = get_service_name(member, place)
        self._excused.add(name)
        self.do(name, verb)
        if verb in ("start", "restart", "unpause"):
            self._excused.discard(name)

    def excuse(self, member: str, place: Place) -> None:
        self._excused.add(get_service_name(member, place))

    def watch(self, member: str, place: Place) -> None:
        self._excused.discard(get_service_name(member, place))

    def is_up(self, member: str, place: Place) -> bool:
        return self.get_state(get_service_name(member, place)) == "running"

    def run(self, member: str, place: Place, arguments: Sequence[str], timeout_s: int = 20) -> tuple[int, str]:
        return self.execute(get_service_name(member, place), arguments, timeout_s=timeout_s)

    def run_beside(
        self, member: str, arguments: Sequence[str], timeout_s: int = 20, tools: Place = "sidecar"
    ) -> tuple[int, str]:
        image = self._tools_image if tools == "sidecar" else self.inspect(get_service_name(member, tools))["Image"]
        settings = {"cap_add": list(TOOLS_CAPABILITIES)}
        return self._run_once(member, image, arguments, timeout_s, settings, user="root")

    def run_instead(self, member: str, arguments: Sequence[str], timeout_s: int = 20) -> tuple[int, str]:
        """Run a command in place of the member's service, which is down: with its image, settings, data and network."""
        service = self.inspect(get_service_name(member, "service"))
        settings = {"volumes_from": [service["Id"]]}
        environment = service["Config"]["Env"]
        return self._run_once(member, service["Image"], arguments, timeout_s, settings, environment=environment)

    def disconnect(self, member: str) -> None:
        anchor = get_anchor(member)
        with explained(f"{member} cannot be taken off the network"):
            self._client.api.disconnect_container_from_network(self.get_id(anchor), self._underlay)

    def connect(self, member: str) -> None:
        anchor = get_anchor(member)
        with explained(f"{member} cannot be put on the network"):
            # The engine gives out the lowest address that is free: the one it had.
            self._client.api.connect_container_to_network(self.get_id(anchor), self._underlay, aliases=[member, anchor])
        self._on_start(anchor)

    def get_underlay_ip(self, member: str) -> str:
        networks = self.inspect(get_anchor(member))["NetworkSettings"]["Networks"]
        return str((networks.get(self._underlay) or {}).get("IPAddress") or "")

    # ------------------------------------------------------------------ by name

    def is_excused(self, name: str) -> bool:
        """Whether somebody wished, or a fault may cause, that the container ends."""
        return name in self._excused

    def list_names(self) -> list[str]:
        """The containers that Compose has made."""
        return sorted(self._get_states())

    def get_id(self, name: str) -> str:
        states = self._get_states()
        if name not in states:
            raise Unavailable(f"there is no container {name} in {self.project}", code="docker_failed")
        return states[name][0]

    def get_state(self, name: str) -> str:
        """created, running, paused, restarting, exited or dead; empty where there is no such container."""
        return self._get_states().get(name, ("", ""))[1]

    def do(self, name: str, verb: Verb) -> None:
        """Returns once the engine has done it."""
        container = self.get_id(name)
        with explained(f"{name} cannot be told to {verb}"):
            if verb == "stop":
                self._client.api.stop(container, timeout=STOP_TIMEOUT_S)
            elif verb == "restart":
                self._client.api.restart(container, timeout=STOP_TIMEOUT_S)
            else:
                getattr(self._client.api, verb)(container)
        self.forget_states()
        if verb in ("start", "restart"):
            self._on_start(name)

    def do_all(self, names: Sequence[str], verb: Verb) -> None:
        """Side by side."""
        list(self._pool.map(lambda name: self.do(name, verb), names))

    def inspect(self, name: str) -> Any:
        with explained(f"{name} cannot be looked at"):
            return self._client.api.inspect_container(self.get_id(name))

    def execute(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        timeout_s: int = 20,
    ) -> tuple[int, str]:
        """Run a command inside; exit code and output."""
        with explained(f"{arguments[0]} in {name} failed"):
            made = self._client.api.exec_create(self.get_id(name), list(arguments), environment=dict(environment or {}))
            output = self._in_time(lambda: self._client.api.exec_start(made["Id"]), arguments, timeout_s)
            code = self._client.api.exec_inspect(made["Id"])["ExitCode"]
        return code, output.decode("utf-8", errors="replace")

    def put(self, name: str, folder: str, archive: bytes) -> None:
        """Unpack a tar archive in a folder of a container, which need not run."""
        with explained(f"files cannot be put into {name}"):
            self._client.api.put_archive(self.get_id(name), folder, archive)

    def copy_out(self, name: str, folder: str, target: Path) -> None:
        """Copy what is in a folder of a container, which need not run, into a folder here."""
        with explained(f"{folder} of {name} cannot be read"):
            chunks, _ = self._client.api.get_archive(self.get_id(name), f"{folder}/.")
            data = b"".join(chunks)
        unpack(data, target)

    def forget_states(self) -> None:
        """Ask the engine anew the next time."""
        with self._lock:
            self._states_s = 0.0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------ inside

    @property
    def _underlay(self) -> str:
        return f"{self.project}_underlay"

    def _get_states(self) -> dict[str, tuple[str, str]]:
        with self._lock:
            if time.monotonic() - self._states_s >= STATE_AGE_S:
                with explained("the engine does not say what runs"):
                    rows = self._client.api.containers(all=True, filters={"label": f"{PROJECT_LABEL}={self.project}"})
                self._states = {row["Labels"][SERVICE_LABEL]: (row["Id"], row["State"]) for row in rows}
                self._states_s = time.monotonic()
            return self._states

    def _run_once(
        self,
        member: str,
        image: str,
        arguments: Sequence[str],
        timeout_s: int,
        settings: Mapping[str, Any],
        **options: Any,
    ) -> tuple[int, str]:
        """Run a command in the member's network namespace, in a container that is removed afterwards."""
        anchor = self.get_id(get_anchor(member))
        with explained(f"{arguments[0]} beside {member} failed"):
            config = self._client.api.create_host_config(network_mode=f"container:{anchor}", **settings)
            made = self._client.api.create_container(
                image,
                entrypoint=[arguments[0]],
                command=list(arguments[1:]),
                labels={LABEL: str(ROOT), RUN_LABEL: self.project},
                host_config=config,
                **options,
            )["Id"]
            try:
                self._client.api.start(made)
                code = self._in_time(lambda: self._client.api.wait(made)["StatusCode"], arguments, timeout_s)
                return code, self._client.api.logs(made).decode("utf-8", errors="replace")
            finally:
                self._client.api.remove_container(made, force=True)

    def _in_time(self, call: Callable[[], Any], arguments: Sequence[str], timeout_s: int) -> Any:
        try:
            return self._pool.submit(call).result(timeout_s)
        except NotInTime:
            raise Unavailable(f"{arguments[0]} did not end within {timeout_s} s", code="docker_failed") from None


def get_anchor(member: str) -> str:
    """The container that owns a member's network."""
    return CONTROL if member == CONTROL else get_service_name(member, "anchor")


def unpack(data: bytes, target: Path) -> None:
    """Write the folders and files of a tar archive into a folder, for its owner only: keys may be among them.

    Links, devices and whatever leads out of the folder are left out. (`tarfile` filters since Python 3.11.4 only.)
    """
    root = target.resolve()
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            place = (root / member.name).resolve()
            if not place.is_relative_to(root):
                continue
            content = archive.extractfile(member) if member.isfile() else None
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif content is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch(mode=0o600)
                place.write_bytes(content.read())
