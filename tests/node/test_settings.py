"""Settings: flags before environment before defaults, and errors that name the setting and how to set it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tana.node.settings import ENVIRONMENT, ValidatorSettings, load_settings
from tana.types.errors import SettingsError
from tests.node.cluster import SOVEREIGN

NEEDED = {"node_id": "validator-1", "sovereign": SOVEREIGN.public_text}


def test_flags_come_before_the_environment_before_defaults() -> None:
    environment = {"MESH_URL": "http://mesh:1", "TANA_PORT_OFFSET": "1000", "TANA_NODE_ID": "from-environment"}
    settings = load_settings({**NEEDED, "port_offset": 2000, "mesh_url": None}, environment)
    assert settings.node_id == "validator-1"
    assert settings.mesh_url == "http://mesh:1"
    assert settings.get_ports() == {"ledger": 10080, "t4": 10180, "peer": 11000, "status": 11001}
    assert settings.heartbeat_interval_ms == 120_000


def test_every_setting_has_an_environment_variable() -> None:
    assert set(ENVIRONMENT) == set(ValidatorSettings.__struct_fields__)


def test_data_folder() -> None:
    assert load_settings(NEEDED, {}).data_path == Path.home() / ".local" / "share" / "tana" / "validator-1"
    assert load_settings({**NEEDED, "data_dir": Path("/data")}, {}).data_path == Path("/data")


@pytest.mark.parametrize(
    ("changes", "field", "remedy"),
    [
        ({"node_id": None}, "node_id", "TANA_NODE_ID"),
        ({"sovereign": None}, "sovereign", "TANA_SOVEREIGN"),
        ({"sovereign": "ed25519_12"}, "sovereign", "--sovereign"),
        ({"node_id": "Upper"}, "node_id", "--node-id"),
        ({"node_id": "../escape"}, "node_id", "--node-id"),
        ({"ledger_port": "eighty"}, "ledger_port", "LEDGER_PORT"),
        ({"t4_port": 70000}, "t4_port", "T4_PORT"),
        ({"port_offset": -1}, "port_offset", "--port-offset"),
        ({"port_offset": 56000, "peer_port": 10000}, "port_offset", "--port-offset"),
        ({"ledger_port": 9000}, "peer_port", "--peer-port"),
        ({"mesh_url": "mesh:8190"}, "mesh_url", "MESH_URL"),
        ({"heartbeat_interval_ms": 0}, "heartbeat_interval_ms", "TANA_HEARTBEAT_INTERVAL_MS"),
        ({"log_format": "xml"}, "log_format", "TANA_LOG_FORMAT"),
        ({"colour": "red"}, "colour", ""),
    ],
)
def test_invalid_setting(changes: dict[str, Any], field: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({**NEEDED, **changes}, {})
    assert caught.value.field == field
    assert field in caught.value.message
    assert remedy in caught.value.remedy


def test_invalid_environment_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(NEEDED, {"TANA_STATUS_PORT": "many"})
    assert "status_port" in caught.value.message
    assert "TANA_STATUS_PORT" in caught.value.remedy
