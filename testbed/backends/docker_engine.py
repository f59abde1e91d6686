"""The Docker engine of this machine and its Compose: is it there, is it new enough, and what its complaints mean."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tana.types.errors import Unavailable

MIN_API = (1, 41)
"""Of Docker 20.10."""
MIN_COMPOSE = (2, 24, 4)
"""The first that knows `!override`, which the file for the bridge uses."""
PROBE_TIMEOUT_S = 10
OTHERWISE = "or run plain processes with BACKEND=processes"


@dataclass(frozen=True)
class Engine:
    """An engine that answered. `host` is where, as in DOCKER_HOST."""

    version: str
    compose: str
    host: str

    def __str__(self) -> str:
        return f"Docker {self.version}, Compose {self.compose}"


def find_engine() -> Engine:
    """The engine that `docker` talks to. Raises `Unavailable` where there is none, or one that is too old."""
    with ThreadPoolExecutor(3) as pool:
        server = pool.submit(_probe, "version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}")
        compose = pool.submit(_probe, "compose", "version", "--short")
        host = pool.submit(_probe, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    version, api = _read_server(server.result())
    if _parse_version(api) < MIN_API:
        raise _unavailable(f"the Docker engine {version} is too old (API {api})", "install Docker 20.10 or later")
    found = compose.result()
    number = found.out.strip().removeprefix("v")
    if found.code != 0 or not number[:1].isdigit():
        raise _unavailable("Docker Compose v2 is missing", "install the plugin docker-compose")
    if _parse_version(number) < MIN_COMPOSE:
        wanted = ".".join(map(str, MIN_COMPOSE))
        raise _unavailable(f"Docker Compose {number} is too old", f"install {wanted} or later")
    return Engine(version, number, host.result().out.strip())


@dataclass(frozen=True)
class _Found:
    code: int
    out: str
    err: str


def _probe(*arguments: str) -> _Found:
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise _unavailable("Docker is not installed", "install it: docs.docker.com/engine/install") from None
    except OSError as error:
        raise _unavailable(f"docker cannot be run: {error.strerror}", "see `command -v docker`") from None
    except subprocess.TimeoutExpired:
        raise _unavailable(f"Docker gives no answer within {PROBE_TIMEOUT_S} s", "restart its engine") from None
    return _Found(done.returncode, done.stdout, done.stderr)


def _read_server(found: _Found) -> tuple[str, str]:
    words = found.out.split()
    if found.code == 0 and len(words) == 2:
        return words[0], words[1]
    if "permission denied" in found.err.lower():
        raise _unavailable("the Docker engine refuses this user", "join the group docker and log in again")
    raise _unavailable("no Docker engine answers", "start it (`docker version` says more)")


def _unavailable(message: str, remedy: str) -> Unavailable:
    return Unavailable(message, remedy=f"{remedy}, {OTHERWISE}", code="no_docker")


def _parse_version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("-")[0])[:3])


# ---------------------------------------------------------------------- Compose


@dataclass(frozen=True)
class Compose:
    """`docker compose` on one project and its files."""

    project: str
    files: Sequence[Path]
    environment: Mapping[str, str]
    project_folder: Path
    pass_fds: Sequence[int] = ()
    """Descriptors that each command holds open while it runs."""

    def run(self, *arguments: str, timeout_s: int) -> str:
        """Run a command; its output. Raises `Unavailable` with what its complaint means."""
        code, output = self.call(*arguments, timeout_s=timeout_s)
        if code != 0:
            raise explain(f"docker compose {arguments[0]} failed", output)
        return output

    def call(self, *arguments: str, timeout_s: int) -> tuple[int, str]:
        """Run a command: its exit code, and its output (where it failed, what it complained of). Raises `Unavailable`
        where it does not end in time."""
        command = ["docker", "compose", "--ansi", "never", "-p", self.project]
        command += ["--project-directory", str(self.project_folder)]
        command += [word for file in self.files for word in ("-f", str(file))]
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=dict(self.environment),
            pass_fds=tuple(self.pass_fds),
            # Ctrl-C is the harness's: it ends the command itself, and then removes what it made.
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"docker compose {arguments[0]} did not end within {timeout_s} s",
                remedy="see what the engine does: docker events, docker info",
                code="docker_failed",
            ) from None
        finally:
            if process.poll() is None:
                # The plugin is a child of the client: both end.
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode, out if process.returncode == 0 else err or out


_OUT_OF_REACH = (
    r"pull access denied|manifest (unknown|for)|failed to (resolve|do request)|no such host|registry|i/o timeout"
    r"|TLS handshake|https?://\S+/v2/"
)
_REMEDIES = (
    (
        r"no space left on device|disk quota",
        "the engine's disk is full",
        "free some: docker system df, docker system prune",
    ),
    (
        r"/dev/net/tun",
        "the engine's machine has no /dev/net/tun",
        "load it with `sudo modprobe tun`, or use NETWORK=bridge",
    ),
    (r"port is already allocated|address already in use", "", "stop what listens on that port"),
    (
        r"non-overlapping|predefined address pools",
        "the engine has no subnet left for another network",
        "remove what is not needed: make down, docker network prune",
    ),
    (r"operation not permitted|capabilit", "", "the engine must allow NET_ADMIN and NET_RAW, or use NETWORK=bridge"),
    (
        r"cannot connect to the docker daemon|is the docker daemon running|connection aborted|remote end closed",
        "the Docker engine stopped answering",
        "start it again",
    ),
    (
        _OUT_OF_REACH,
        "",
        "check the network, or name images that are here: TAILSCALE_IMAGE, HEADSCALE_IMAGE, BASE_IMAGE",
    ),
)


def explain(what: str, output: str) -> Unavailable:
    """The error for a command of Docker that failed with this output: one line that says why, and the remedy."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if re.search("error|failed|denied", line, re.I)), "")
    last = last or (lines[-1] if lines else "it said nothing")
    for pattern, meaning, remedy in _REMEDIES:
        if re.search(pattern, output, re.I):
            line = next((line for line in lines if re.search(pattern, line, re.I)), last)
            return Unavailable(meaning or f"{what}: {line[:300]}", remedy=remedy, code="docker_failed")
    return Unavailable(
        f"{what}: {last[:300]}", remedy="see `docker compose ls -a` and the engine's log", code="docker_failed"
    )


def is_out_of_reach(output: str) -> bool:
    """Whether a command failed because an image is neither here nor to be had from where it comes from, and not in a
    step of a build that wanted something else."""
    return re.search(_OUT_OF_REACH, output, re.I) is not None and "did not complete successfully" not in output
