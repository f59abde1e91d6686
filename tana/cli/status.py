"""`tana status`: what `tana start` runs, and how it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from tana.cli.group import EXIT_UNREACHABLE
from tana.cli.options import DEFAULT_DATA, AsJson, DataFolderOption, make_command, show_example
from tana.cli.output import print_fields, print_json, print_table
from tana.cli.probes import ask_health, describe_progress
from tana.cli.runfile import RunFile, RunRecord, ServiceRecord, to_json

HEALTH_FIELDS = ("state", "reason", "currentHeight", "blockHash", "stateRoot", "chainId", "peers", "round", "step")

app = make_command()


@app.command(epilog=show_example("tana status", "tana status --data ./my-chain --json"))
def status(data: DataFolderOption = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Show the services that `tana start` runs on this folder and the validator's health. Exit code 3 if none runs."""
    folder = data.expanduser()
    record = RunFile(folder).read_alive()
    if record is None:
        if as_json:
            print_json({"running": False, "data": str(folder)})
        else:
            print(f"nothing is running on {folder}; start it with `tana start --data {folder}`")
        raise typer.Exit(EXIT_UNREACHABLE)
    healths = {service.name: ask_health(service.url) for service in record.services}
    if as_json:
        print_json(_to_json(folder, record, healths))
    else:
        _print(record, healths)


def _to_json(folder: Path, record: RunRecord, healths: dict[str, Any]) -> dict[str, Any]:
    body = {"running": True, "data": str(folder), **to_json(record)}
    body["services"] = [{**service, "health": healths[service["name"]]} for service in body["services"]]
    return body


def _print(record: RunRecord, healths: dict[str, Any]) -> None:
    print_table(
        ("SERVICE", "STATE", "PID", "RESTARTS", "URL", "LOG"), (_row(service, healths) for service in record.services)
    )
    for service in record.services:
        health = healths[service.name] or {}
        if "validatorId" in health:
            print()
            print_fields({name: health.get(name) for name in HEALTH_FIELDS} | {"state": describe_progress(health)})


def _row(service: ServiceRecord, healths: dict[str, Any]) -> tuple[Any, ...]:
    # The file tells the supervisor's last look; what the service answers now counts more.
    state = service.state if healths[service.name] is not None or service.state != "ready" else "silent"
    return service.name, state, service.pid, service.restarts, service.url, service.log
