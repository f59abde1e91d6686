"""The settings of a mesh: flags of `tana mesh serve`, else environment variables `MESH_…`, else the defaults here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tana.crypto.keys import format_public_key, parse_public_key
from tana.types.errors import InvalidInput, SettingsError

DEFAULT_DB_PATH = Path("~/.local/share/tana/mesh.db")
_FLAGS = {
    "sovereign": "--sovereign",
    "port": "--port",
    "db_path": "--db",
    "host": "--host",
    "tailscale_socket": "--tailscale-socket",
}


class MeshSettings(BaseSettings):
    """Make it with `load_settings`, whose errors are for people.

    `sovereign` is the printed public key of the first sovereign. `port` 0 takes a free one. Times are milliseconds.
    """

    model_config = SettingsConfigDict(env_prefix="MESH_", env_ignore_empty=True, extra="forbid", frozen=True)

    sovereign: str
    port: int = Field(default=8190, ge=0, le=65535)
    db_path: Path = DEFAULT_DB_PATH
    host: str = "0.0.0.0"
    tailscale_socket: str = ""
    offline_after_ms: int = Field(default=300_000, ge=100)
    clock_window_ms: int = Field(default=60_000, ge=100)
    liveness_interval_ms: int = Field(default=500, ge=10)
    max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    max_pending_nodes: int = Field(default=10_000, ge=1)

    @field_validator("sovereign")
    @classmethod
    def _check_sovereign(cls, text: str) -> str:
        try:
            return format_public_key(parse_public_key(text.strip(), "sovereign"))
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    @field_validator("db_path")
    @classmethod
    def _expand_path(cls, path: Path) -> Path:
        return path.expanduser()


def load_settings(**flags: Any) -> MeshSettings:
    """Settings from flags (None means not given), environment and defaults.

    Raises `SettingsError` that names the flag and the environment variable.
    """
    try:
        return MeshSettings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    variable = f"MESH_{name.upper()}"
    place = f"{_FLAGS[name]} or {variable}" if name in _FLAGS else variable
    if first["type"] == "missing":
        return SettingsError(
            f"the mesh's {name} is missing",
            remedy=f"give the sovereign's public key with {place}; `tana keys new` makes one",
            field=name,
        )
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"the mesh's {name} is invalid: {reason}", remedy=f"correct {place}", field=name)
