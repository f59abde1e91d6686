"""A supervisor over fake services, as a program: DATA GRACE_MS NAME:PORT:MANNER…"""

from __future__ import annotations

import sys
from pathlib import Path

from tana.cli import group, supervisor
from tana.cli.probes import probe_mesh
from tana.cli.runfile import RunFile, make_record
from tana.types.errors import TanaError

SERVICE = str(Path(__file__).with_name("fake_service.py"))


def run(data: Path, grace_ms: int, services: list[str]) -> None:
    def say(name: str, words: str) -> None:
        print(f"{name}: {words}", flush=True)

    run_file = RunFile(data)
    with supervisor.Supervisor(run_file, make_record(True, ""), data / "logs", say, grace_ms) as running:
        for text in services:
            name, port, manner = text.split(":")
            url = f"http://127.0.0.1:{port}"
            running.launch(supervisor.ServiceSpec(name, (SERVICE, port, manner), url, probe_mesh(url)))
        say("all", "ready")
        running.run()


if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    except supervisor.Interrupted:
        print("interrupted", flush=True)
    except TanaError as error:
        group.print_error(error)
        sys.exit(group.get_exit_code(error))
