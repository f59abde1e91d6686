"""What a run changes in the committed Compose files. The rest is as `docker compose up` brings it up.

`docker compose config` reads the files with the run's settings into a model, `adapt` changes it, and the result is the
file `compose.json` of the run's folder, by which everything is started.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tana.types.errors import SettingsError
from testbed import compose
from testbed.backends.base import CONTROL, MESH
from testbed.child import CONTROL_VARIABLE
from testbed.plan import Plan
from testbed.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
LABEL = "com.tana.testbed"
"""On everything that a run makes; its value is the checkout that the run was started from."""
RUN_LABEL = f"{LABEL}.run"
"""On what a run makes without Compose; its value is the project."""
PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NETWORKS = ("tailnet", "bridge")
MESH_PORT, PORTS = 8190, Ports(ledger=8080, t4=8180, peer=9000, status=9001)
"""Inside the containers; the engine chooses those of the host."""
DATA = "/data"
NODE_DATA = f"{DATA}/node"
"""TANA_DATA_DIR of the Compose files."""
CONTROL_FILE = f"{DATA}/control.json"
HARNESS_SERVICES = frozenset(("sovereign",))
"""What the testbed does itself: it is the sovereign."""
_OURS = ("COMPOSE_", "VALIDATOR_", "MESH_")


def check_checkout() -> None:
    """Raises `SettingsError` where testbed runs without the sources that the image is made of."""
    if not (ROOT / "Dockerfile").exists():
        raise SettingsError(
            f"there is no Dockerfile in {ROOT}: this is no checkout of Tana",
            remedy="run from a checkout, or use BACKEND=processes",
            field="backend",
        )


def write_files(folder: Path, validators: int, network: str) -> list[Path]:
    """The Compose files for that many validators: the committed ones, or others of the same template in the folder."""
    check_network(network)
    names = ["docker-compose.yml"] + (["docker-compose.bridge.yml"] if network == "bridge" else [])
    if validators == compose.DEFAULT_VALIDATORS:
        return [ROOT / name for name in names]
    compose.write_all(folder, validators)
    return [folder / name for name in names]


def check_network(network: str) -> None:
    """Raises `SettingsError` for a network that there is not."""
    if network not in NETWORKS:
        raise SettingsError(
            f"there is no network {network!r}", remedy=f"use one of {', '.join(NETWORKS)}", field="network"
        )


def make_environment(
    plan: Plan, images: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What the variables of the Compose files are in a run. The engine chooses the ports of the host."""
    inherited = os.environ if environment is None else environment
    timing = plan.scenario.timing
    ports = {"MESH_PORT": ""}
    for node in plan.node_ids:
        name = node.upper().replace("-", "_")
        ports |= {f"{name}_LEDGER_PORT": "", f"{name}_STATUS_PORT": ""}
    return {
        **{key: value for key, value in inherited.items() if not key.startswith(_OURS)},
        **ports,
        **images,
        "TANA_SOVEREIGN": plan.sovereign.public_text,
        "TANA_HEARTBEAT_INTERVAL_MS": str(timing.heartbeat_interval_ms),
        "TANA_EMPTY_BLOCK_INTERVAL_MS": str(timing.empty_block_interval_ms),
        "MESH_OFFLINE_AFTER_MS": str(timing.offline_after_ms),
        "TANA_LOG_FORMAT": "json",
        "TANA_LOG_LEVEL": "info",
    }


def adapt(model: dict[str, Any], node_ids: Collection[str], label: str = str(ROOT)) -> dict[str, Any]:
    """The model with labels by which everything is found again, validators that the testbed steers, and nothing that
    acts on its own: no health checks, no restarts of a mesh or validator that has crashed."""
    labels = {LABEL: label}
    services = {}
    for name, service in model["services"].items():
        if name in HARNESS_SERVICES:
            continue
        changed = {key: value for key, value in service.items() if key != "build"}
        changed |= {"labels": labels, "healthcheck": {"disable": True}}
        if name == MESH or name in node_ids:
            changed["restart"] = "no"
        if name in node_ids:
            # The command stays as it is: testbed.validator takes it, and adds its hooks.
            changed["entrypoint"] = ["dumb-init", "--", "python", "-m", "testbed.validator"]
            changed["environment"] = {**service["environment"], CONTROL_VARIABLE: CONTROL_FILE}
        services[name] = changed
    return {
        "name": model["name"],
        "services": services,
        "networks": {name: {**network, "labels": labels} for name, network in model["networks"].items()},
        "volumes": {name: {**volume, "labels": labels} for name, volume in model["volumes"].items()},
    }


def get_service_name(member: str, place: str) -> str:
    """The name in the Compose files of a member's container."""
    if place == "service":
        return member
    if member == CONTROL:
        raise SettingsError(f"{CONTROL} has no {place}", field="place")
    return f"{member}-{'tailscale' if place == 'sidecar' else 'anchor'}"
