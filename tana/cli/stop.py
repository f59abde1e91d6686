"""`tana stop`: end what `tana start` runs, from another terminal."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from tana.cli.options import DEFAULT_DATA, DataFolderOption, make_command, show_example
from tana.cli.runfile import RunFile, RunRecord
from tana.types.errors import SettingsError, Unavailable

POLL_MS = 20

app = make_command()


@app.command(epilog=show_example("tana stop", "tana stop --data ./my-chain"))
def stop(
    data: DataFolderOption = DEFAULT_DATA,
    timeout_ms: Annotated[int, typer.Option("--timeout-ms", min=1, help="How long to wait for the end.")] = 60_000,
) -> None:
    """Stop the mesh and the validator that `tana start` runs on this folder. Stopping twice is no error."""
    folder = data.expanduser()
    record = RunFile(folder).read_alive()
    if record is None:
        print(f"nothing is running on {folder}")
        return
    try:
        os.kill(record.pid, signal.SIGTERM)
    except ProcessLookupError:
        # It ended by itself a moment ago.
        pass
    except PermissionError:
        raise SettingsError(
            f"tana (pid {record.pid}) on {folder} belongs to another user",
            remedy="stop it as that user, or with sudo",
            field="data",
        ) from None
    wait_gone(record, timeout_ms)
    print(f"stopped {', '.join(service.name for service in reversed(record.services)) or 'tana'}")


def wait_gone(record: RunRecord, timeout_ms: int) -> None:
    """Wait until a supervisor has ended. Raises `Unavailable`."""
    deadline = time.monotonic() + timeout_ms / 1000
    while record.is_alive():
        if time.monotonic() > deadline:
            raise Unavailable(
                f"tana (pid {record.pid}) still runs {timeout_ms} ms after it was asked to stop",
                remedy=f"end it the hard way: kill -9 {record.pid} (its services end with it)",
                code="timeout",
            )
        time.sleep(POLL_MS / 1000)
