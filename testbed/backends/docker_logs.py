"""Logs of containers, written to files while the containers run."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from testbed.backends.docker_sdk import ENGINE_ERRORS

JOIN_TIMEOUT_S = 5


class LogFollower:
    """Appends what a container writes to a file, across its restarts."""

    def __init__(self, client: Any, container_id: str, path: Path) -> None:
        self._client = client
        self._container_id = container_id
        self._path = path
        self._thread: threading.Thread | None = None

    def follow(self) -> None:
        """Begin, or go on after the container was started again."""
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        self._thread = threading.Thread(target=self._copy, name=f"log {self._path.stem}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until everything is written of a container that has ended."""
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)

    def _copy(self) -> None:
        # The engine tells the log from its beginning, of which an earlier thread has written some.
        known = self._path.stat().st_size if self._path.exists() else 0
        # The container may be removed, or the engine stop, while its log is read: then there is no more.
        with contextlib.suppress(*ENGINE_ERRORS, OSError), self._path.open("ab") as file:
            for chunk in self._client.api.logs(self._container_id, stream=True, follow=True):
                file.write(chunk[known:])
                file.flush()
                known = max(known - len(chunk), 0)


def write_log(client: Any, container_id: str, path: Path) -> None:
    """The whole log of a container as a file."""
    with contextlib.suppress(*ENGINE_ERRORS):
        path.write_bytes(client.api.logs(container_id))
