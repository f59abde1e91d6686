"""The tailnet of a cluster in containers, as its members' Tailscale daemons and its control server tell it."""

from __future__ import annotations

import json
from typing import Any

from tana.node.tailscale import RUNNING, TailnetNode
from tana.types.errors import Unavailable
from testbed.backends.base import CONTROL, Containers
from testbed.commands import run_checked
from testbed.faults.sidecars import describe_state, read_status

INTERFACE, UNDERLAY = "tailscale0", "eth0"
WIREGUARD_PORT = 41641


def read_own_node(containers: Containers, member: str) -> TailnetNode:
    """Who a member is on the tailnet. Raises `Unavailable` where it is not on it."""
    status = read_status(containers, member)
    if status is None or status.state != RUNNING or status.self_node is None or not status.self_node.ip:
        raise Unavailable(f"{member} is not on the tailnet: {describe_state(containers, member)}")
    return status.self_node


def is_connected(containers: Containers, member: str) -> bool:
    """Whether a member is on the tailnet and its daemon has the control server."""
    status = read_status(containers, member)
    own = status.self_node if status is not None and status.state == RUNNING else None
    return own is not None and bool(own.ip) and own.is_online


def find_device(containers: Containers, member: str, ip: str) -> str:
    """The interface by which a member's kernel would send to an address."""
    words = run_checked(containers, member, "sidecar", ["ip", "route", "get", ip]).split()
    return words[words.index("dev") + 1] if "dev" in words else ""


def find_gateway(containers: Containers, member: str) -> str:
    """The address of the bridge's gateway, which is the host."""
    return run_checked(containers, member, "sidecar", ["ip", "route", "show", "default"]).split()[2]


def find_owner(containers: Containers, member: str, address: str) -> str:
    """Whose address it is, as a member's daemon says: a name, empty where it is nobody's on the tailnet."""
    code, output = containers.run(member, "sidecar", ["tailscale", "whois", "--json", address])
    if code != 0:
        return ""
    name: str = json.loads(output)["Node"]["Name"]
    return name.partition(".")[0]


def list_control_nodes(containers: Containers) -> list[dict[str, Any]]:
    """Every node that the control server knows: `id`, `name` and `ips`."""
    output = run_checked(containers, CONTROL, "service", ["headscale", "nodes", "list", "--output", "json"])
    return [
        {"id": str(row["id"]), "name": row["given_name"], "ips": list(row["ip_addresses"])}
        for row in json.loads(output) or ()
    ]
