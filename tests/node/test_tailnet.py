"""A validator's place on its tailnet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tana.node.settings import ValidatorSettings, load_settings
from tana.node.tailnet import is_address, join_tailnet, make_doorkeeper, read_gateway
from tana.types.errors import SettingsError
from tests.node.test_tailscale import STATUS, FakeDaemon, Json, running


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


def test_doorkeeper_knows_the_tailnet_this_machine_and_the_gateway() -> None:
    is_welcome = make_doorkeeper("172.18.0.1")
    assert all(map(is_welcome, ("100.64.0.7", "100.127.255.254", "127.0.0.1", "172.18.0.1")))
    assert not any(map(is_welcome, ("172.18.0.2", "100.128.0.1", "192.168.1.1", "::ffff:172.18.0.2")))


def test_gateway_is_that_of_the_default_route(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
    routes.write_text(header + "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\n")
    assert read_gateway(routes) == ""
    routes.write_text(header + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n")
    assert read_gateway(routes) == "172.18.0.1"


def test_address_or_name() -> None:
    assert [is_address(host) for host in ("100.64.0.1", "::1", "mesh", "mesh.tana.internal")] == [
        True,
        True,
        False,
        False,
    ]
