"""Joining a mesh from this machine: where the node is reached, its keys and sign-state, its registration."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from tana.client.keyfiles import check_name, get_node_key_path
from tana.client.mesh import MeshClient, MeshNode
from tana.node.folder import DataFolder
from tana.node.identity import build_node_registration, prepare_node
from tana.node.settings import ENVIRONMENT, ValidatorSettings, load_settings
from tana.node.tailscale import DEFAULT_SOCKET, Tailscale
from tana.types.errors import Conflict, SettingsError

LOOPBACK = "127.0.0.1"
SOCKET_VARIABLE = ENVIRONMENT["tailscale_socket"]
_NO_SOVEREIGN = "ed25519_" + "00" * 32
"""The settings want one; registering trusts nobody."""


@dataclass(frozen=True)
class Location:
    """Where others reach a node: a name, and an address where there is one."""

    hostname: str
    ip: str | None


def locate(dev: bool, hostname: str | None, ip: str | None) -> Location:
    """The location that the flags name; what they leave out is asked of the Tailscale daemon of this machine.

    Raises `SettingsError` where there is none, `Unavailable` where it does not get onto its tailnet.
    """
    if dev:
        return Location(hostname or "localhost", ip or LOOPBACK)
    if hostname is not None and ip is not None:
        return Location(hostname, ip)
    socket_path = os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET
    if SOCKET_VARIABLE not in os.environ and not Path(socket_path).exists():
        missing = " and ".join(flag for flag, value in (("--hostname", hostname), ("--ip", ip)) if value is None)
        raise SettingsError(
            f"nothing says where this node is reached: {missing} missing, and Tailscale has no socket {socket_path}",
            remedy="start Tailscale, or give the tailnet's --hostname and --ip of this node, or --dev where every node "
            "is on this machine",
            field="hostname",
        )
    own = asyncio.run(_ask_tailscale(socket_path))
    return Location(hostname or own.hostname, ip or own.ip)


async def _ask_tailscale(socket_path: str) -> Location:
    def say(words: str) -> None:
        print(f"waiting: {words}", file=sys.stderr, flush=True)

    async with Tailscale(socket_path) as tailscale:
        status = await tailscale.wait_running(on_waiting=say)
    assert status.self_node is not None, "a running daemon knows its node"
    return Location(status.self_node.dns_name.rstrip("."), status.self_node.ip)


def make_settings(
    node_id: str,
    *,
    mesh_url: str,
    location: Location,
    port_offset: int = 0,
    data: Path | None = None,
    sovereign: str | None = None,
) -> ValidatorSettings:
    """The settings of the validator that is to join; environment variables fill in the rest. Raises `SettingsError`.

    `data` None is the node's usual data folder. `sovereign` is not needed to register.
    """
    check_name(node_id, "node id")
    flags = {
        "node_id": node_id,
        "sovereign": sovereign or _NO_SOVEREIGN,
        "mesh_url": mesh_url,
        "data_dir": data,
        "hostname": location.hostname,
        "ip": location.ip,
        "port_offset": port_offset,
    }
    return load_settings(flags, os.environ)


def join(settings: ValidatorSettings) -> MeshNode:
    """Make the node's keys and sign-state where they are missing, and register it where it is not registered.

    Raises `Conflict` where the mesh knows the id with another key, or with other ports; `SettingsError` where key and
    data do not belong together.
    """
    with MeshClient(settings.mesh_url) as mesh:
        # Keys are made once the mesh answers: a typing error in its URL leaves nothing behind.
        mesh.get_health()
        identity = prepare_node(settings.data_path, settings.node_id, settings.config_path)
        body = build_node_registration(settings, identity, settings.get_ports())
        try:
            return mesh.ensure_registered(body)
        except Conflict:
            known = mesh.find_node(settings.node_id)
            if known is None or known.public_key != body["publicKey"]:
                raise
            raise Conflict(
                f"{known.id} is registered with other ports, address or service keys: {_describe(known)}",
                remedy="use those again, or register another node id: a registration never changes",
                code="registration_differs",
            ) from None


def check_sign_state(settings: ValidatorSettings) -> None:
    """Raises `SettingsError` where a node's data folder holds no sign-state: it would never sign."""
    folder = DataFolder(settings.data_path).sign_state_path
    if not folder.exists():
        key_path = get_node_key_path(settings.node_id, settings.config_path)
        raise SettingsError(
            f"the key of {settings.node_id} is in {key_path}, but its sign-state is not in {folder}",
            remedy="give the data folder that belongs to the key, or another --node-id; a node that forgot what it "
            "signed must not sign again",
            code="no_sign_state",
        )


def _describe(node: MeshNode) -> str:
    services = ", ".join(f"{service.service_type} {service.port}" for service in node.services)
    return f"{node.tailscale_hostname} {node.tailscale_ip or ''} {services}"


def check_port_free(host: str, port: int, what: str, flag: str) -> None:
    """Raises `SettingsError` naming the port and the flag where somebody listens on it already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            words = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise SettingsError(
                f"the {what} port {port} {words}",
                remedy=f"stop what listens there (tana stop?), or choose others with {flag}",
                code="port_taken",
                field="port",
            ) from None
