"""What Tailscale sidecars answer, for faults of the tailnet."""

from __future__ import annotations

import msgspec

from tana.node.tailscale import RUNNING, TailnetNode, TailnetStatus
from tana.types.errors import TanaError
from testbed.backends.base import Containers
from testbed.faults.base import NotApplied

HEALTH_URL = "http://127.0.0.1:9002/healthz"
"""TS_LOCAL_ADDR_PORT of the Compose files."""


def read_status(containers: Containers, member: str) -> TailnetStatus | None:
    """What a member's sidecar says of itself and its peers; None where it gives no answer."""
    try:
        code, output = containers.run(member, "sidecar", ["tailscale", "status", "--json"])
        # Warnings may stand in front.
        return None if code else msgspec.json.decode(output[output.find("{") :], type=TailnetStatus)
    except (TanaError, msgspec.DecodeError):
        return None


def get_identity(containers: Containers, member: str) -> TailnetNode:
    """Who a member that is on the tailnet is there. Raises `NotApplied` for one that is not."""
    status = read_status(containers, member)
    if status is None or status.state != RUNNING or status.self_node is None:
        raise NotApplied(f"{member} was not on the tailnet: its sidecar says {status.state if status else 'nothing'}")
    return status.self_node


def is_steady(containers: Containers, member: str) -> bool:
    """Whether the supervisor in a member's sidecar says that it is on the tailnet. It says so only between having seen
    that, which ends the minute that it gives its daemon for it, and seeing that it is no longer so, which ends it."""
    try:
        return containers.run(member, "sidecar", ["wget", "-q", "-O", "/dev/null", HEALTH_URL])[0] == 0
    except TanaError:
        return False


def is_same_again(containers: Containers, member: str, before: TailnetNode) -> bool:
    """Whether a member is on the tailnet to stay, as the node it was. Raises `NotApplied` where it is another."""
    status = read_status(containers, member)
    node = status.self_node if status is not None and status.state == RUNNING else None
    if node is None or not node.ip:
        return False
    if (node.id, node.ip) != (before.id, before.ip):
        raise NotApplied(f"{member} was node {before.id} with {before.ip} and came back as {node.id} with {node.ip}")
    return is_steady(containers, member)


def describe_state(containers: Containers, member: str) -> str:
    """A sidecar's state and its complaints in one line."""
    status = read_status(containers, member)
    if status is None:
        return f"{member}'s sidecar says nothing"
    problems = "; ".join(status.problems or ())
    return f"{member}'s sidecar says {status.state}{': ' if problems else ''}{problems}"
