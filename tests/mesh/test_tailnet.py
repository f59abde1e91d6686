"""A mesh on a tailnet: who is answered at all, and who may speak of which node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import pytest

from tana.client.registration import Body, build_approval, build_heartbeat
from tana.mesh.app import create_app
from tana.mesh.memory import MemoryStore
from tana.mesh.service import MeshService
from tana.mesh.tailnet import Guard
from tana.types.errors import Unavailable
from tests.mesh.helpers import SOVEREIGN, START_MS, make_key, make_registration

GATEWAY = "172.18.0.1"
NODE_IP = "100.64.0.7"


@dataclass(frozen=True)
class FakeVisitor:
    dns_name: str
    ips: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.dns_name.partition(".")[0]


TAILNET = {
    NODE_IP: FakeVisitor("validator-0.local.ts.net", (NODE_IP,)),
    "100.64.0.8": FakeVisitor("thief.local.ts.net", ("100.64.0.8",)),
}


async def _who_is(ip: str, port: int) -> FakeVisitor | None:
    assert port == 4711
    return TAILNET.get(ip)


class MeshOnTailnet:
    """A mesh with a guard; each request comes from an address of the test's choosing."""

    def __init__(self, guard: Guard | None = None) -> None:
        service = MeshService(MemoryStore(), SOVEREIGN.public_text)
        guard = guard or Guard(lambda ip: ip in {*TAILNET, GATEWAY}, _who_is)
        self._app = create_app(service, clock=lambda: START_MS, guard=guard)

    def ask(self, ip: str, method: str, path: str, body: Body | None = None) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(ip, 4711))
            async with httpx.AsyncClient(transport=transport, base_url="http://mesh") as client:
                return await client.request(method, path, json=body)

        return asyncio.run(run())


def test_node_registers_and_beats_from_its_own_place() -> None:
    mesh = MeshOnTailnet()
    assert mesh.ask(NODE_IP, "POST", "/register", make_registration()).status_code == 201
    approval = build_approval(SOVEREIGN, "validator-0")
    assert mesh.ask(GATEWAY, "POST", "/approve/validator-0", approval).status_code == 200
    beat = build_heartbeat(make_key("validator-0"), "validator-0", START_MS, NODE_IP)
    assert mesh.ask(NODE_IP, "POST", "/heartbeat", beat).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/nodes", "/events", "/docs", "/nowhere"])
def test_stranger_is_answered_nothing(path: str) -> None:
    answer = MeshOnTailnet().ask("172.18.0.9", "GET", path)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_on_tailnet")


def test_host_may_read() -> None:
    assert MeshOnTailnet().ask(GATEWAY, "GET", "/nodes").json() == {"nodes": []}


def test_invalid_registration_from_outside_the_tailnet() -> None:
    mesh = MeshOnTailnet()
    answer = mesh.ask(GATEWAY, "POST", "/register", make_registration())
    assert (answer.status_code, answer.json()["code"]) == (403, "not_on_tailnet")
    assert mesh.ask(GATEWAY, "GET", "/nodes/validator-0").status_code == 404


def test_invalid_name_of_another() -> None:
    mesh = MeshOnTailnet()
    answer = mesh.ask("100.64.0.8", "POST", "/register", make_registration())
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_identity")
    assert "thief" in answer.json()["error"]
    assert mesh.ask(GATEWAY, "GET", "/nodes/validator-0").status_code == 404


def test_invalid_address_of_another() -> None:
    answer = MeshOnTailnet().ask(
        "100.64.0.8",
        "POST",
        "/register",
        make_registration("thief"),
    )
    assert (answer.status_code, answer.json()["field"]) == (403, "tailscaleIP")


def test_invalid_heartbeat_from_another_place() -> None:
    mesh = MeshOnTailnet()
    mesh.ask(NODE_IP, "POST", "/register", make_registration())
    mesh.ask(GATEWAY, "POST", "/approve/validator-0", build_approval(SOVEREIGN, "validator-0"))
    beat = build_heartbeat(make_key("validator-0"), "validator-0", START_MS)
    answer = mesh.ask("100.64.0.8", "POST", "/heartbeat", beat)
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_identity")


@pytest.mark.parametrize("body", [None, [], {"nodeId": ["x"]}, {"nodeId": "x", "tailscaleHostname": 7}])
def test_invalid_body_is_refused_for_what_it_is(body: Body) -> None:
    assert MeshOnTailnet().ask(NODE_IP, "POST", "/register", body).status_code == 400


def test_silent_daemon_makes_the_mesh_unavailable() -> None:
    async def who_is(ip: str, port: int) -> FakeVisitor | None:
        raise Unavailable("Tailscale does not answer")

    answer = MeshOnTailnet(Guard(lambda ip: True, who_is)).ask(NODE_IP, "POST", "/register", make_registration())
    assert answer.status_code == 503
