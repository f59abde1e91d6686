"""Removing what runs made in the engine, and nothing else: found by label, whoever started it and however it ended.

`python -m testbed.backends.docker_leftovers PROJECT` is the watchdog of a run. It waits for the end of its standard
input, which comes when the harness is gone, and with it every command of Compose that the harness had going; then it
removes the run's containers, network and volumes. The word `done` on its input means that the harness did so itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from testbed.backends.docker_model import LABEL, PROJECT_LABEL, ROOT, RUN_LABEL
from testbed.backends.docker_sdk import APIError, connect, explained

_DONE = b"done"
_PARALLEL = 8


def remove_run(client: Any, project: str) -> list[str]:
    """Remove everything of one run; what it was."""
    return _remove(client, f"{PROJECT_LABEL}={project}") + _remove(client, f"{RUN_LABEL}={project}")


def remove_all(client: Any) -> list[str]:
    """Remove everything of every run that this checkout has started; what it was."""
    return _remove(client, f"{LABEL}={ROOT}")


def _remove(client: Any, label: str) -> list[str]:
    filters = {"label": label}
    removed = []
    with ThreadPoolExecutor(_PARALLEL) as pool, explained("what runs left cannot be removed"):
        containers = client.api.containers(all=True, filters=filters)
        removed += _each(pool, containers, lambda item: client.api.remove_container(item["Id"], v=True, force=True))
        networks = client.api.networks(filters=filters)
        removed += _each(pool, networks, lambda item: client.api.remove_network(item["Id"]))
        volumes = client.api.volumes(filters=filters)["Volumes"] or []
        removed += _each(pool, volumes, lambda item: client.api.remove_volume(item["Name"], force=True))
    return removed


def _each(pool: ThreadPoolExecutor, items: Iterable[Any], remove: Callable[[Any], None]) -> list[str]:
    def attempt(item: Any) -> str:
        try:
            remove(item)
        except APIError as error:
            # Gone, or on its way: somebody else removes it too.
            if error.status_code not in (404, 409):
                raise
        return str(item.get("Name") or item["Names"][0].removeprefix("/"))

    return list(pool.map(attempt, items))


# ---------------------------------------------------------------------- the watchdog


class Watchdog:
    """Removes a run if the harness dies without having done it. `descriptor` is what keeps it waiting: whatever holds
    it open besides the harness is waited for too."""

    def __init__(self, project: str, host: str) -> None:
        read_end, self.descriptor = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testbed.backends.docker_leftovers", project],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "DOCKER_HOST": host} if host else None,
            cwd=ROOT,
            start_new_session=True,
        )
        os.close(read_end)

    def dismiss(self) -> None:
        """The run is removed: the watchdog has nothing left to do."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.descriptor, _DONE)
        os.close(self.descriptor)
        self._process.wait()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() == _DONE:
        return
    client = connect("")
    # What the harness asked of the engine last may take effect only now: until nothing more appears.
    while remove_run(client, sys.argv[1]):
        pass


if __name__ == "__main__":
    main()
