"""A mesh on a tailnet: who is answered at all, and who may speak of which node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx
import pytest

from tana.client.registration import Body, build_approval, build_denial, build_heartbeat, build_registration
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


class MeshOnTailnet:
    """A mesh with a guard; each request comes from an address of the test's choosing."""

    def __init__(self, guard: Guard | None = None) -> None:
        service = MeshService(MemoryStore(), SOVEREIGN.public_text)
        self._tailnet = dict(TAILNET)
        guard = guard or Guard(lambda ip: ip in {*TAILNET, GATEWAY}, self._who_is)
        self._app = create_app(service, clock=lambda: START_MS, guard=guard)

    def rename(self, ip: str, dns_name: str) -> None:
        self._tailnet[ip] = FakeVisitor(dns_name, (ip,))

    async def _who_is(self, ip: str, port: int) -> FakeVisitor | None:
        assert port == 4711
        return self._tailnet.get(ip)

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


def test_invalid_place_of_a_registered_node() -> None:
    mesh = MeshOnTailnet()
    assert mesh.ask(NODE_IP, "POST", "/register", make_registration()).status_code == 201
    second = build_registration(make_key("second"), "second", "validator-0", NODE_IP, [])
    answer = mesh.ask(NODE_IP, "POST", "/register", second)
    assert (answer.status_code, answer.json()["code"]) == (409, "place_taken")
    assert answer.json()["field"] == "tailscaleHostname"
    assert "validator-0" in answer.json()["error"]
    assert mesh.ask(GATEWAY, "GET", "/nodes/second").status_code == 404


def test_invalid_address_of_a_renamed_node() -> None:
    mesh = MeshOnTailnet()
    assert mesh.ask(NODE_IP, "POST", "/register", make_registration()).status_code == 201
    mesh.rename(NODE_IP, "second.local.ts.net")
    second = build_registration(make_key("second"), "second", "second", NODE_IP, [])
    answer = mesh.ask(NODE_IP, "POST", "/register", second)
    assert (answer.status_code, answer.json()["field"]) == (409, "tailscaleIP")


def test_place_of_a_denied_node_is_free() -> None:
    mesh = MeshOnTailnet()
    assert mesh.ask(NODE_IP, "POST", "/register", make_registration()).status_code == 201
    assert mesh.ask(GATEWAY, "POST", "/deny/validator-0", build_denial(SOVEREIGN, "validator-0")).status_code == 200
    second = build_registration(make_key("second"), "second", "validator-0", NODE_IP, [])
    assert mesh.ask(NODE_IP, "POST", "/register", second).status_code == 201


def test_invalid_id_that_is_taken_is_still_named_first() -> None:
    mesh = MeshOnTailnet()
    assert mesh.ask(NODE_IP, "POST", "/register", make_registration()).status_code == 201
    answer = mesh.ask(NODE_IP, "POST", "/register", make_registration())
    assert (answer.status_code, answer.json()["code"]) == (409, "already_registered")


@pytest.mark.parametrize("body", [None, [], {"nodeId": ["x"]}, {"nodeId": "x", "tailscaleHostname": 7}])
def test_invalid_body_is_refused_for_what_it_is(body: Body) -> None:
    assert MeshOnTailnet().ask(NODE_IP, "POST", "/register", body).status_code == 400


def test_silent_daemon_makes_the_mesh_unavailable() -> None:
    async def who_is(ip: str, port: int) -> FakeVisitor | None:
        raise Unavailable("Tailscale does not answer")

    answer = MeshOnTailnet(Guard(lambda ip: True, who_is)).ask(NODE_IP, "POST", "/register", make_registration())
    assert answer.status_code == 503
