"""Every setting of a validator, read in this one place: from flags first, then from the environment, then defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from tana.crypto import keys
from tana.types.errors import InvalidInput, SettingsError
from tana.types.genesis import NodeId

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Interval = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]

ENVIRONMENT = {
    "node_id": "TANA_NODE_ID",
    "sovereign": "TANA_SOVEREIGN",
    "mesh_url": "MESH_URL",
    "data_dir": "TANA_DATA_DIR",
    "config_dir": "TANA_CONFIG_DIR",
    "content_dir": "CONTENT_DIR",
    "listen_host": "TANA_LISTEN_HOST",
    "peer_host": "TANA_PEER_HOST",
    "tailscale_socket": "TANA_TAILSCALE_SOCKET",
    "hostname": "TANA_HOSTNAME",
    "ip": "TANA_IP",
    "port_offset": "TANA_PORT_OFFSET",
    "ledger_port": "LEDGER_PORT",
    "t4_port": "T4_PORT",
    "peer_port": "TANA_PEER_PORT",
    "status_port": "TANA_STATUS_PORT",
    "public_peer_port": "TANA_PUBLIC_PEER_PORT",
    "heartbeat_interval_ms": "TANA_HEARTBEAT_INTERVAL_MS",
    "empty_block_interval_ms": "TANA_EMPTY_BLOCK_INTERVAL_MS",
    "min_block_interval_ms": "TANA_MIN_BLOCK_INTERVAL_MS",
    "propose_timeout_ms": "TANA_PROPOSE_TIMEOUT_MS",
    "prevote_timeout_ms": "TANA_PREVOTE_TIMEOUT_MS",
    "precommit_timeout_ms": "TANA_PRECOMMIT_TIMEOUT_MS",
    "timeout_delta_ms": "TANA_TIMEOUT_DELTA_MS",
    "announce_interval_ms": "TANA_ANNOUNCE_INTERVAL_MS",
    "log_format": "TANA_LOG_FORMAT",
    "log_level": "TANA_LOG_LEVEL",
}
"""The environment variable of each setting."""


class ValidatorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one validator runs. Make it with `load_settings`; fields are checked there.

    A port of 0 lets the system choose (tests do). `empty_block_interval_ms` 0 means no empty blocks. `peer_host`, where
    peers and t4 listen, is `listen_host` unless given. With `tailscale_socket` the daemon there says every host and
    address, and `mesh_url` names a node of its tailnet.
    """

    node_id: NodeId
    sovereign: str
    mesh_url: str = "http://localhost:8190"
    data_dir: str = ""
    config_dir: str = ""
    content_dir: str = ""
    listen_host: str = "127.0.0.1"
    peer_host: str = ""
    tailscale_socket: str = ""
    hostname: str = "localhost"
    ip: str = "127.0.0.1"
    port_offset: Annotated[int, msgspec.Meta(ge=0, le=56_000)] = 0
    ledger_port: Port = 8080
    t4_port: Port = 8180
    peer_port: Port = 9000
    status_port: Port = 9001
    public_peer_port: Port = 0
    heartbeat_interval_ms: Interval = 120_000
    empty_block_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 1000
    min_block_interval_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 15
    propose_timeout_ms: Interval = 1000
    prevote_timeout_ms: Interval = 500
    precommit_timeout_ms: Interval = 500
    timeout_delta_ms: Interval = 250
    announce_interval_ms: Interval = 100
    log_format: Annotated[str, msgspec.Meta(pattern=r"^(auto|json|text)\Z")] = "auto"
    log_level: Annotated[str, msgspec.Meta(pattern=r"^(debug|info|warning|error)\Z")] = "info"

    @property
    def sovereign_key(self) -> bytes:
        """The 32 bytes of the sovereign's public key."""
        return keys.parse_public_key(self.sovereign, "sovereign")

    @property
    def data_path(self) -> Path:
        """The data folder: `data_dir`, else ~/.local/share/tana/{node_id}."""
        return Path(self.data_dir).expanduser() if self.data_dir else get_default_data_path(self.node_id)

    @property
    def config_path(self) -> Path | None:
        """The folder of key files; None for the usual one."""
        return Path(self.config_dir).expanduser() if self.config_dir else None

    def get_hosts(self) -> dict[str, str]:
        """The address each listener binds to: `ledger`, `t4`, `peer`, `status`."""
        peer_host = self.peer_host or self.listen_host
        return {"ledger": self.listen_host, "t4": peer_host, "peer": peer_host, "status": self.listen_host}

    def get_ports(self) -> dict[str, int]:
        """The port of each listener, offset included: `ledger`, `t4`, `peer`, `status`."""
        ports = {
            "ledger": self.ledger_port,
            "t4": self.t4_port,
            "peer": self.peer_port,
            "status": self.status_port,
        }
        return {name: port + self.port_offset if port else 0 for name, port in ports.items()}


_WORDS = {
    "node_id": "it has 1 to 63 lower-case letters, digits and hyphens, and begins and ends with no hyphen",
    "log_format": "use auto, json or text",
    "log_level": "use debug, info, warning or error",
}
"""What to say instead of a regular expression."""


def get_default_data_path(node_id: str) -> Path:
    """Where a node's data lies when nobody says otherwise."""
    return Path.home() / ".local" / "share" / "tana" / node_id


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> ValidatorSettings:
    """Settings from flags (None: not given), the environment, and defaults.

    Raises `SettingsError` naming the setting, where it comes from, and what it may be.
    """
    unknown = sorted(set(flags) - set(ENVIRONMENT))
    if unknown:
        raise SettingsError(f"{unknown[0]!r} is not a setting of a validator", field=unknown[0])
    values: dict[str, Any] = {}
    for name, variable in ENVIRONMENT.items():
        if flags.get(name) is not None:
            values[name] = str(flags[name]) if isinstance(flags[name], Path) else flags[name]
        elif environment.get(variable):
            values[name] = environment[variable]
    for name in ("node_id", "sovereign"):
        if not values.get(name):
            raise _unusable(name, "is missing")
    try:
        settings = msgspec.convert(values, ValidatorSettings, strict=False)
    except msgspec.ValidationError as error:
        fault, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise _unusable(name, f"is unusable: {_WORDS.get(name, fault)}") from None
    _check(settings)
    return settings


def _check(settings: ValidatorSettings) -> None:
    try:
        keys.parse_public_key(settings.sovereign, "sovereign")
    except InvalidInput as error:
        raise _unusable("sovereign", f"is unusable: {error}") from None
    if not settings.mesh_url.startswith(("http://", "https://")):
        raise _unusable("mesh_url", f"is {settings.mesh_url!r}: it must begin with http:// or https://")
    owner_of: dict[int, str] = {}
    for name, port in settings.get_ports().items():
        if port > 65535:
            raise _unusable("port_offset", f"moves the {name} port to {port}, above 65535")
        if port and port in owner_of:
            raise _unusable(f"{name}_port", f"is {port}, the port of {owner_of[port]} too")
        owner_of[port] = name


def _unusable(name: str, fault: str) -> SettingsError:
    flag = "--" + {"data_dir": "data"}.get(name, name).replace("_", "-")
    variable = ENVIRONMENT.get(name, "")
    return SettingsError(
        f"the setting {name} {fault}",
        remedy=f"set it with {flag}" + (f" or {variable}" if variable else ""),
        field=name,
    )
