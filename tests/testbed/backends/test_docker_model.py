"""What a run changes in the Compose files, and what it leaves as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tana.types.errors import SettingsError
from testbed import compose
from testbed.backends.docker_model import (
    LABEL,
    ROOT,
    adapt,
    get_service_name,
    make_environment,
    write_files,
)
from testbed.plan import make_plan
from testbed.ports import Ports
from testbed.scenario import load_scenario
from tests.testbed.forging import CONVERGE

COMMAND = ["tana", "validator", "run", "--sovereign", "/trust/sovereign.json"]


def make_model() -> dict[str, Any]:
    """A model as `docker compose config` gives it, shortened."""
    return {
        "name": "p",
        "services": {
            "sovereign": {"image": "t", "command": ["tana", "found-chain"]},
            "sovereign-key": {"image": "t", "build": {"context": "."}, "command": ["make-sovereign"], "restart": "no"},
            "mesh": {"image": "t", "restart": "unless-stopped", "environment": {}},
            "mesh-anchor": {"image": "t", "restart": "unless-stopped"},
            "validator-1": {
                "image": "t",
                "command": COMMAND,
                "restart": "unless-stopped",
                "environment": {"TANA_NODE_ID": "validator-1"},
            },
            "validator-1-tailscale": {"image": "s", "restart": "unless-stopped", "healthcheck": {"test": ["CMD", "x"]}},
        },
        "networks": {"underlay": {"name": "p_underlay"}},
        "volumes": {"validator-1-data": {"name": "p_validator-1-data"}},
        "secrets": {"ca": {"file": "/dev/null"}},
        "x-image": {},
    }


def test_everything_that_is_made_has_the_label() -> None:
    adapted = adapt(make_model(), ["validator-1"], "here")
    for kind in ("services", "networks", "volumes"):
        assert {name: item["labels"] for name, item in adapted[kind].items()} == {
            name: {LABEL: "here"} for name in adapted[kind]
        }
    assert set(adapted) == {"name", "services", "networks", "volumes"}


def test_validators_keep_their_command_and_get_the_hooks() -> None:
    validator = adapt(make_model(), ["validator-1"])["services"]["validator-1"]
    assert validator["command"] == COMMAND
    assert validator["entrypoint"] == ["dumb-init", "--", "python", "-m", "testbed.validator"]
    assert validator["environment"] == {"TANA_NODE_ID": "validator-1", "TESTBED_CONTROL": "/data/control.json"}
    assert validator["restart"] == "no"


def test_nothing_acts_on_its_own() -> None:
    services = adapt(make_model(), ["validator-1"])["services"]
    assert "sovereign" not in services, "the testbed is the sovereign"
    assert all(service["healthcheck"] == {"disable": True} for service in services.values())
    assert not any("build" in service for service in services.values())
    restarts = {name: service["restart"] for name, service in services.items()}
    assert restarts == {
        "sovereign-key": "no",
        "mesh": "no",
        "mesh-anchor": "unless-stopped",
        "validator-1": "no",
        "validator-1-tailscale": "unless-stopped",
    }


def test_three_validators_are_the_committed_files(tmp_path: Path) -> None:
    assert write_files(tmp_path, 3, "tailnet") == [ROOT / "docker-compose.yml"]
    assert write_files(tmp_path, 3, "bridge") == [ROOT / "docker-compose.yml", ROOT / "docker-compose.bridge.yml"]
    assert list(tmp_path.iterdir()) == []


def test_other_numbers_are_the_same_template(tmp_path: Path) -> None:
    files = write_files(tmp_path, 5, "bridge")
    assert [path.name for path in files] == ["docker-compose.yml", "docker-compose.bridge.yml"]
    assert {path.name: path.read_text("utf-8") for path in files}.items() <= compose.render_all(5).items()


def test_invalid_network(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no network 'wifi'.*use one of tailnet, bridge"):
        write_files(tmp_path, 3, "wifi")


def test_environment_is_the_run_s_and_not_the_shell_s() -> None:
    scenario = load_scenario(CONVERGE)
    plan = make_plan(scenario, 1, 8190, [Ports(8080, 8180, 9000, 9001)] * 3)
    shell = {
        "PATH": "/bin",
        "BASE_IMAGE": "base",
        "MESH_PORT": "80",
        "COMPOSE_FILE": "other.yml",
        "TANA_SOVEREIGN": "somebody",
        "VALIDATOR_1_LEDGER_PORT": "81",
    }
    environment = make_environment(plan, {"TANA_IMAGE": "tana:x"}, shell)
    assert environment["TANA_SOVEREIGN"] == plan.sovereign.public_text
    assert environment["PATH"] == "/bin"
    assert environment["BASE_IMAGE"] == "base"
    assert environment["TANA_IMAGE"] == "tana:x"
    assert environment["MESH_OFFLINE_AFTER_MS"] == str(scenario.timing.offline_after_ms)
    assert "COMPOSE_FILE" not in environment


def test_every_published_port_of_the_files_is_left_to_the_engine() -> None:
    plan = make_plan(load_scenario(CONVERGE), 1, 8190, [Ports(8080, 8180, 9000, 9001)] * 3)
    environment = make_environment(plan, {}, {})
    published = re.findall(r"127\.0\.0\.1:\$\{(\w+)-\d+}", compose.render(3))
    assert published
    assert {name: environment[name] for name in published} == dict.fromkeys(published, "")


def test_names_of_containers() -> None:
    assert get_service_name("mesh", "service") == "mesh"
    assert get_service_name("validator-1", "sidecar") == "validator-1-tailscale"
    assert get_service_name("validator-1", "anchor") == "validator-1-anchor"
    assert get_service_name("headscale", "service") == "headscale"
    with pytest.raises(SettingsError, match="headscale has no sidecar"):
        get_service_name("headscale", "sidecar")
