"""A validator's place on its tailnet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import structlog

from tana.node.settings import ValidatorSettings, load_settings
from tana.node.tailnet import (
    check_place,
    check_underlay,
    get_own_node,
    is_address,
    join_tailnet,
    make_doorkeeper,
    read_gateway,
    report_place,
)
from tana.node.tailscale import TailnetNode, TailnetStatus, Visitor
from tana.types.errors import Forbidden, SettingsError
from tests.node.cluster import run_cluster, wait_until
from tests.node.test_tailscale import STATUS, Answer, FakeDaemon, Json, running

ROUTES_HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


@pytest.fixture(autouse=True)
def no_networks_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever networks the machine has that runs the tests, a node in them meets none of the tailnet's range."""
    monkeypatch.setattr("tana.node.tailnet.check_underlay", lambda: None)


def _join(folder: Path, status: Json, mesh_url: str) -> ValidatorSettings:
    flags = {
        "node_id": "validator-1",
        "sovereign": "ed25519_" + "00" * 32,
        "mesh_url": mesh_url,
        "tailscale_socket": str(folder / "s"),
    }

    async def run() -> ValidatorSettings:
        async with running(FakeDaemon((200, status)), folder):
            return await join_tailnet(load_settings(flags, {}))

    return asyncio.run(run())


def test_names_and_addresses_are_those_of_the_tailnet(tmp_path: Path) -> None:
    settings = _join(tmp_path, STATUS, "http://mesh:8190")
    assert (settings.hostname, settings.ip) == ("validator-1.tana.internal", "100.64.0.1")
    assert settings.mesh_url == "http://100.64.0.9:8190"
    everywhere, tailnet = "0.0.0.0", "100.64.0.1"
    assert settings.get_hosts() == {"ledger": everywhere, "status": everywhere, "t4": tailnet, "peer": tailnet}


@pytest.mark.parametrize("url", ["http://mesh.tana.internal:8190", "http://100.64.0.9:8190"])
def test_mesh_may_be_named_in_full_or_by_address(tmp_path: Path, url: str) -> None:
    assert _join(tmp_path, STATUS, url).mesh_url == "http://100.64.0.9:8190"


def test_invalid_userspace_mode(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="userspace") as caught:
        _join(tmp_path, {**STATUS, "TUN": False}, "http://mesh:8190")
    assert "TS_USERSPACE=false" in caught.value.remedy


@pytest.mark.parametrize(
    ("host_name", "is_taken"), [("mesh", True), ("box", False), ("mesh-1", False), ("mesh-1-1", False)]
)
def test_invalid_name_that_another_node_has(host_name: str, is_taken: bool) -> None:
    node = TailnetNode(dns_name="mesh-1.tana.internal.", host_name=host_name, ips=("100.64.0.3",))
    status = TailnetStatus("Running", is_tun=True, self_node=node)
    if not is_taken:
        assert get_own_node(status) is node
        return
    with pytest.raises(SettingsError, match="the name mesh is taken on the tailnet: this node was named mesh-1"):
        get_own_node(status)


def test_invalid_subnet_of_the_tailnet(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES_HEADER + "eth0\t004D4064\t00000000\t0001\t0\t0\t0\t00FFFFFF\n")
    with pytest.raises(SettingsError, match=r"100\.64\.77\.0/24 of eth0 lies in 100\.64\.0\.0/10"):
        check_underlay(routes)
    routes.write_text(
        ROUTES_HEADER
        + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n"
        + "tailscale0\t00004064\t00000000\t0001\t0\t0\t0\t0000C0FF\n"
    )
    check_underlay(routes)


def test_mesh_reports_its_place_or_why_it_has_none(tmp_path: Path) -> None:
    async def report(status: Json) -> None:
        async with running(FakeDaemon((200, status)), tmp_path):
            await report_place(str(tmp_path / "s"))

    with structlog.testing.capture_logs() as logs:
        asyncio.run(report(STATUS))
        asyncio.run(report({**STATUS, "TUN": False}))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("on_tailnet", "info"),
        ("not_on_tailnet", "error"),
    ]


def test_doorkeeper_knows_the_tailnet_this_machine_and_the_gateway() -> None:
    is_welcome = make_doorkeeper("172.18.0.1")
    assert all(map(is_welcome, ("100.64.0.7", "100.127.255.254", "127.0.0.1", "172.18.0.1")))
    assert not any(map(is_welcome, ("172.18.0.2", "100.128.0.1", "192.168.1.1", "::ffff:172.18.0.2")))


VISITOR = Visitor("validator-2.tana.internal", ("100.64.0.2", "fd7a::2"), ())


@pytest.mark.parametrize(
    "claims",
    [(), ("validator-2",), ("Validator-2.tana.internal.", "100.64.0.2"), ("validator-2.tana.internal", "fd7a::2")],
)
def test_peer_in_its_own_place(claims: tuple[str, ...]) -> None:
    check_place(VISITOR, claims)


@pytest.mark.parametrize("claims", [("validator-3",), ("validator-2", "100.64.0.3"), ("validator-2.other.net",)])
def test_invalid_place_of_another(claims: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden, match=r"validator-2\.tana\.internal") as caught:
        check_place(VISITOR, claims)
    assert caught.value.code == "wrong_identity"


def test_invalid_place_outside_the_tailnet() -> None:
    with pytest.raises(Forbidden) as caught:
        check_place(None, ("validator-2",))
    assert caught.value.code == "not_on_tailnet"


class OneDaemon(FakeDaemon):
    """A daemon that says one status, and one name of whoever it is asked about."""

    def __init__(self, name: str, visitor: str) -> None:
        super().__init__()
        self.name, self.visitor = name, visitor

    def answer(self, head: str) -> Answer:
        own = {"DNSName": f"{self.name}.tana.internal.", "TailscaleIPs": ["127.0.0.1"]}
        visitor = {"Name": f"{self.visitor}.tana.internal.", "Addresses": ["127.0.0.1/32"]}
        return 200, {"Node": visitor} if "whois" in head else {"BackendState": "Running", "TUN": True, "Self": own}


def test_peer_link_from_another_place_is_refused_until_the_tailnet_agrees(tmp_path: Path) -> None:
    async def play() -> None:
        daemons = {"validator-1": OneDaemon("validator-1", "thief"), "validator-2": OneDaemon("validator-2", "thief")}
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(run_cluster(tmp_path / "cluster"))
            for name, daemon in daemons.items():
                folder = tmp_path / name
                folder.mkdir()
                await stack.enter_async_context(running(daemon, folder))
                await cluster.start_node(name, tailscale_socket=str(folder / "s"))
                await cluster.wait_registered(name)
                cluster.mesh.approve(name)
            cluster.mesh.publish_genesis()

            async def is_refused() -> bool:
                return any("whois" in head for daemon in daemons.values() for head in daemon.requests)

            await wait_until(is_refused)
            for node in cluster.nodes:
                health = await cluster.wait_state(node, "validating")
                assert (health["peers"], health["currentHeight"]) == (0, 0)
            daemons["validator-1"].visitor, daemons["validator-2"].visitor = "validator-2", "validator-1"
            for node in cluster.nodes:
                await cluster.wait_height(node, 1)
                (peer,) = (await cluster.get(node, "status", "/peers"))["peers"]
                assert peer["address"].startswith("127.0.0.1:")

    asyncio.run(play())


def test_gateway_is_that_of_the_default_route(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text(ROUTES_HEADER + "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n")
    assert read_gateway(routes) == ""
    routes.write_text(ROUTES_HEADER + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n")
    assert read_gateway(routes) == "172.18.0.1"


def test_address_or_name() -> None:
    assert [is_address(host) for host in ("100.64.0.1", "::1", "mesh", "mesh.tana.internal")] == [
        True,
        True,
        False,
        False,
    ]
