from __future__ import annotations

from pathlib import Path

import pytest

from tana.mesh.settings import DEFAULT_DB_PATH, load_settings
from tana.types.errors import SettingsError
from tests.mesh.helpers import SOVEREIGN

KEY = SOVEREIGN.public_text


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOVEREIGN", "PORT", "DB_PATH", "HOST"):
        monkeypatch.delenv(f"MESH_{name}", raising=False)


def test_defaults() -> None:
    settings = load_settings(sovereign=KEY)
    assert (settings.port, settings.offline_after_ms, settings.clock_window_ms) == (8190, 300_000, 60_000)
    assert settings.max_body_bytes == 256 * 1024
    assert settings.db_path == DEFAULT_DB_PATH.expanduser()


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_SOVEREIGN", f" {KEY[8:].upper()} ")
    monkeypatch.setenv("MESH_PORT", "9190")
    monkeypatch.setenv("MESH_DB_PATH", "/some/where.db")
    # A client's setting, which is none of ours.
    monkeypatch.setenv("MESH_URL", "http://elsewhere:1")
    settings = load_settings(port=None)
    assert (settings.sovereign, settings.port, settings.db_path) == (KEY, 9190, Path("/some/where.db"))


def test_flags_win_over_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_PORT", "9190")
    assert load_settings(sovereign=KEY, port=7).port == 7


def test_empty_variable_is_as_if_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESH_PORT", "")
    assert load_settings(sovereign=KEY).port == 8190


def test_invalid_sovereign_missing() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "sovereign is missing" in caught.value.message
    assert "--sovereign or MESH_SOVEREIGN" in caught.value.remedy


@pytest.mark.parametrize("text", ["ed25519_12", "sovereign", KEY + "00", "ed25519_sig_" + "0" * 128])
def test_invalid_sovereign_malformed(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(sovereign=text)
    assert caught.value.field == "sovereign"
    assert "--sovereign or MESH_SOVEREIGN" in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("variable", "value"), [("PORT", "65536"), ("PORT", "http"), ("OFFLINE_AFTER_MS", "-1")])
def test_invalid_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(f"MESH_{variable}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(sovereign=KEY)
    assert f"MESH_{variable}" in caught.value.remedy


def test_invalid_setting_unknown() -> None:
    with pytest.raises(SettingsError):
        load_settings(sovereign=KEY, colour="red")
