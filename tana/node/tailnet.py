"""A validator's place on its tailnet, taken from the Tailscale daemon beside it before anything listens.

Peers and t4 listen on the address of the tailnet only. The ledger, the status port and the mesh are also for tools on
the host, which come through the bridge: from there only its gateway, which is the host, is let in.
A peer link must come from, or lead to, the place on the tailnet that the peer registered.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import httpx
import msgspec
import structlog

from tana.node.settings import ValidatorSettings
from tana.node.tailscale import TailnetNode, TailnetStatus, Tailscale, Visitor
from tana.types.errors import Forbidden, SettingsError, TanaError

TAILNET = ipaddress.ip_network("100.64.0.0/10")
TAILNET_INTERFACE = "tailscale0"
EVERYWHERE = "0.0.0.0"
_ROUTES = Path("/proc/net/route")

_log = structlog.get_logger()


async def join_tailnet(settings: ValidatorSettings) -> ValidatorSettings:
    """The settings with this node's name and addresses on the tailnet, and the mesh's address there.

    Waits until the daemon is running and knows the mesh. Raises `Unavailable` or `SettingsError` with the remedy.
    """

    def say(words: str) -> None:
        _log.info("waiting_for_tailnet", reason=words)

    check_underlay()
    async with Tailscale(settings.tailscale_socket) as tailscale:
        status = await tailscale.wait_running(on_waiting=say)
        node = get_own_node(status)
        url = httpx.URL(settings.mesh_url)
        if not is_address(url.host):
            mesh = await tailscale.wait_peer(url.host.partition(".")[0], on_waiting=say)
            url = url.copy_with(host=mesh.ip)
    _log.info("on_tailnet", hostname=node.dns_name, ip=node.ip, mesh=str(url))
    return msgspec.structs.replace(
        settings,
        hostname=node.dns_name.rstrip("."),
        ip=node.ip,
        mesh_url=str(url),
        listen_host=EVERYWHERE,
        peer_host=node.ip,
    )


def get_own_node(status: TailnetStatus) -> TailnetNode:
    """This node, which must use the kernel's network and have the name that it asked for. Raises `SettingsError`."""
    assert status.self_node is not None, "a running daemon knows its node"
    if not status.is_tun:
        raise SettingsError(
            "Tailscale runs in userspace mode: nothing of this node would travel the tailnet",
            remedy="give the sidecar /dev/net/tun, NET_ADMIN and TS_USERSPACE=false",
            code="no_tun",
        )
    wanted, got = status.self_node.host_name.lower(), status.self_node.name
    # Control servers number the later of two nodes that want one name.
    if wanted and re.fullmatch(re.escape(wanted) + r"-\d+", got):
        raise SettingsError(
            f"the name {wanted} is taken on the tailnet: this node was named {got}",
            remedy=f"remove the other {wanted} from the tailnet, or give each node a TS_HOSTNAME of its own",
            code="duplicate_hostname",
        )
    return status.self_node


def check_underlay(routes: Path = _ROUTES) -> None:
    """Raises `SettingsError` where a network beside the tailnet has addresses of the tailnet's range: Tailscale drops
    what comes from there."""
    for interface, subnet, _ in _read_routes(routes):
        if interface != TAILNET_INTERFACE and subnet.prefixlen and subnet.overlaps(TAILNET):
            raise SettingsError(
                f"the network {subnet} of {interface} lies in {TAILNET}: those are the tailnet's addresses",
                remedy="give the container network another subnet: default-address-pools in /etc/docker/daemon.json",
                code="subnet_in_tailnet",
            )


async def report_place(socket: str) -> None:
    """Wait until the daemon is on its tailnet and log this node's place there, or why it has none. Never raises."""
    try:
        check_underlay()
        async with Tailscale(socket) as tailscale:
            node = get_own_node(await tailscale.wait_running())
    except TanaError as error:
        _log.error("not_on_tailnet", reason=error.message, remedy=error.remedy)
    else:
        _log.info("on_tailnet", hostname=node.dns_name, ip=node.ip)


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_place(visitor: Visitor | None, claims: Iterable[str]) -> None:
    """Raises `Forbidden` where a peer's names and addresses, `claims`, are not those of who is on the line."""
    if visitor is None:
        raise Forbidden("peer links must come over the tailnet", code="not_on_tailnet")
    for claim in claims:
        owned = visitor.ips if is_address(claim) else (visitor.name, visitor.dns_name)
        if claim.lower().rstrip(".") not in owned:
            raise Forbidden(
                f"a link with {visitor.dns_name} on the tailnet carries the key of {claim[:80]!a}",
                remedy="each node speaks from its own place on the tailnet",
                code="wrong_identity",
            )


def make_doorkeeper(gateway: str) -> Callable[[str], bool]:
    """Whether an address may use what also listens outside the tailnet."""

    def is_welcome(ip: str) -> bool:
        address = ipaddress.ip_address(ip)
        return address in TAILNET or address.is_loopback or ip == gateway

    return is_welcome


def read_gateway(routes: Path = _ROUTES) -> str:
    """The IPv4 address of the default route's gateway, empty where there is none."""
    return next((str(gateway) for _, subnet, gateway in _read_routes(routes) if not subnet.prefixlen), "")


def _read_routes(routes: Path) -> Iterator[tuple[str, ipaddress.IPv4Network, ipaddress.IPv4Address]]:
    """Interface, subnet and gateway of each IPv4 route (proc(5), /proc/net/route: hexadecimal, little-endian)."""
    for line in routes.read_text().splitlines()[1:]:
        interface, destination, gateway, *_, mask = line.split()[:8]
        subnet = ipaddress.IPv4Network((str(_parse(destination)), str(_parse(mask))))
        yield interface, subnet, _parse(gateway)


def _parse(word: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes.fromhex(word)[::-1])
