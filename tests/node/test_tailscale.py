"""The client of the Tailscale daemon, against a daemon of our own on a unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tana.node.tailscale import Tailscale, Visitor
from tana.types.errors import Unavailable

Json = dict[str, Any]
Answer = tuple[int, Any]

SELF = {
    "ID": "n1",
    "HostName": "box",
    "DNSName": "validator-1.tana.internal.",
    "TailscaleIPs": ["fd7a::1", "100.64.0.1"],
}
PEER = {"DNSName": "mesh.tana.internal.", "TailscaleIPs": ["100.64.0.9"], "Online": True, "CurAddr": "172.18.0.2:41641"}
STATUS = {"BackendState": "Running", "TUN": True, "Self": SELF, "Peer": {"nodekey:x": PEER}, "Unknown": [1]}


class FakeDaemon:
    """Answers each call with the next of its answers, the last one for ever. Requests are kept as they came, but for
    those of its bus, on which it says `bus` and ends."""

    def __init__(self, *answers: Answer, bus: bytes = b"") -> None:
        self.requests: list[str] = []
        self.bus = bus
        self._answers = list(answers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError:
                break
            if "/watch-ipn-bus?" in head:
                status, body = 200, self.bus
            else:
                self.requests.append(head)
                status, body = self.answer(head)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        writer.close()

    def answer(self, head: str) -> Answer:
        """The answer to one request."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def running(daemon: FakeDaemon, folder: Path) -> AsyncIterator[Tailscale]:
    socket = str(folder / "s")
    server = await asyncio.start_unix_server(daemon.serve, socket)
    try:
        async with Tailscale(socket) as tailscale:
            yield tailscale
    finally:
        server.close()


def ask(
    folder: Path, question: Callable[[Tailscale], Awaitable[Any]], *answers: Answer, bus: bytes = b""
) -> tuple[Any, list[str]]:
    """The answer to one question, and the requests that it took."""

    async def run() -> tuple[Any, list[str]]:
        daemon = FakeDaemon(*answers, bus=bus)
        async with running(daemon, folder) as tailscale:
            return await question(tailscale), daemon.requests

    return asyncio.run(run())


def test_status_names_this_node_and_its_peers(tmp_path: Path) -> None:
    status, (request,) = ask(tmp_path, Tailscale.get_status, (200, STATUS))
    assert request.startswith("GET /localapi/v0/status HTTP/1.1\r\n")
    assert "host: local-tailscaled.sock\r\n" in request.lower()
    assert (status.state, status.is_tun) == ("Running", True)
    assert (status.self_node.name, status.self_node.ip) == ("validator-1", "100.64.0.1")
    peer = status.find_peer("Mesh")
    assert (peer.ip, peer.is_online, peer.direct_address) == ("100.64.0.9", True, "172.18.0.2:41641")
    assert status.find_peer("box") is None


def test_whois_names_the_visitor(tmp_path: Path) -> None:
    node = {"Name": "validator-2.tana.internal.", "Addresses": ["100.64.0.2/32"], "Tags": ["tag:validator"]}
    visitor, (request,) = ask(tmp_path, lambda tailscale: tailscale.who_is("100.64.0.2", 4711), (200, {"Node": node}))
    assert request.startswith("GET /localapi/v0/whois?addr=100.64.0.2%3A4711 ")
    assert visitor == Visitor("validator-2.tana.internal", ("100.64.0.2",), ("tag:validator",))
    assert visitor.name == "validator-2"


def test_whois_of_a_stranger_is_nobody(tmp_path: Path) -> None:
    visitor, _ = ask(tmp_path, lambda tailscale: tailscale.who_is("172.18.0.7"), (404, b"no match for IP:port"))
    assert visitor is None


def test_ping_raises_the_daemons_words(tmp_path: Path) -> None:
    ask(tmp_path, lambda tailscale: tailscale.ping("100.64.0.9"), (200, {"Err": "", "LatencySeconds": 0.001}))
    with pytest.raises(Unavailable, match="no matching peer"):
        ask(tmp_path, lambda tailscale: tailscale.ping("100.64.0.8"), (200, {"Err": "no matching peer"}))


def test_waiting_tells_each_state_once_and_ends_when_running(tmp_path: Path) -> None:
    told: list[str] = []
    starting = {"BackendState": "Starting", "TUN": True, "Self": SELF}
    no_address = {**STATUS, "Self": {**SELF, "TailscaleIPs": None}}
    status, _ = ask(
        tmp_path,
        lambda tailscale: tailscale.wait_running(on_waiting=told.append),
        *((200, {"BackendState": "NoState"}), (200, starting), (200, starting), (200, no_address), (200, STATUS)),
    )
    assert status.self_node.ip == "100.64.0.1"
    assert [words.split()[5] for words in told] == ["NoState", "Starting", "Running"]


def test_waiting_for_a_login_that_never_comes_says_what_to_do(tmp_path: Path) -> None:
    stuck = {"BackendState": "NeedsLogin", "Health": ["invalid key: expired"]}
    with pytest.raises(Unavailable, match=r"NeedsLogin: the auth key has expired \(invalid key: expired\)") as caught:
        ask(tmp_path, lambda tailscale: tailscale.wait_running(timeout_ms=1), (200, stuck))
    assert "auth key" in caught.value.remedy


def test_daemon_that_comes_and_goes_is_explained_by_its_last_state(tmp_path: Path) -> None:
    stuck = (200, {"BackendState": "NeedsLogin"})
    with pytest.raises(Unavailable, match="NeedsLogin"):
        ask(tmp_path, lambda tailscale: tailscale.wait_running(timeout_ms=200), stuck, (503, b"going"))


def test_reason_of_a_failed_login_outlasts_the_daemon(tmp_path: Path) -> None:
    told: list[str] = []
    logged_out = [
        "Tailscale is starting. Please wait.",
        "You are logged out. The last login error was: authkey expired",
    ]
    failed = (200, {"BackendState": "NeedsLogin", "Health": logged_out})
    again = (200, {"BackendState": "NeedsLogin", "Health": ["Tailscale is stopped."]})
    with pytest.raises(Unavailable, match="NeedsLogin: the auth key has expired") as caught:
        ask(
            tmp_path,
            lambda tailscale: tailscale.wait_running(timeout_ms=500, on_waiting=told.append),
            *(again, failed, (200, {**failed[1], "Health": logged_out[::-1]}), again, (503, b"going")),
        )
    assert (caught.value.code, "TS_AUTHKEY" in caught.value.remedy) == ("auth_key_expired", True)
    assert len(told) == 3


NOTHING = json.dumps({"Version": "1.102.3", "ErrMessage": None, "State": 2, "Health": {"Warnings": None}})
PASSING = json.dumps({"Health": {"Warnings": {"warming-up": {"Text": "Tailscale is starting. Please wait."}}}})


@pytest.mark.parametrize(
    "said",
    [
        {"ErrMessage": "authkey expired"},
        {
            "Health": {
                "Warnings": {"login-state": {"Text": "You are logged out. The last login error was: authkey expired"}}
            }
        },
    ],
)
def test_reason_that_is_only_ever_said_on_the_bus(tmp_path: Path, said: Json) -> None:
    told: list[str] = []
    bus = "\n".join([NOTHING, PASSING, json.dumps(said), ""]).encode()
    with pytest.raises(Unavailable, match=r"cannot log in: the auth key has expired \(authkey expired\)") as caught:
        ask(
            tmp_path,
            lambda tailscale: tailscale.wait_running(timeout_ms=300, on_waiting=told.append),
            (200, {"BackendState": "NeedsLogin", "Health": ["Tailscale is stopped."]}),
            bus=bus,
        )
    assert (caught.value.code, "TS_AUTHKEY" in caught.value.remedy) == ("auth_key_expired", True)
    assert len(told) == 2


def test_bus_that_says_nonsense_is_no_harm(tmp_path: Path) -> None:
    starting = (200, {"BackendState": "Starting"})
    status, _ = ask(tmp_path, Tailscale.wait_running, starting, starting, (200, STATUS), bus=b"<html>\n")
    assert status.state == "Running"


def test_waiting_for_a_peer(tmp_path: Path) -> None:
    told: list[str] = []
    alone = {**STATUS, "Peer": None}
    peer, _ = ask(
        tmp_path,
        lambda tailscale: tailscale.wait_peer("mesh", on_waiting=told.append),
        *((200, alone), (200, alone), (200, STATUS)),
    )
    assert (peer.ip, len(told)) == ("100.64.0.9", 1)


def test_peer_that_never_comes_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no node mesh on the tailnet"):
        ask(tmp_path, lambda tailscale: tailscale.wait_peer("mesh", timeout_ms=1), (200, {**STATUS, "Peer": None}))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, b"status access denied\n"), "status gave HTTP status 403: status access denied"),
        ((200, b"<html>"), "not understood"),
        ((200, {"BackendState": 6}), "not understood"),
        ((200, {"Self": {}}), "not understood"),
    ],
)
def test_invalid_answer_is_no_daemon(tmp_path: Path, answer: Answer, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        ask(tmp_path, Tailscale.get_status, answer)


def test_invalid_socket_says_what_to_start(tmp_path: Path) -> None:
    async def run() -> None:
        async with Tailscale(str(tmp_path / "nobody")) as tailscale:
            await tailscale.get_status()

    with pytest.raises(Unavailable, match=r"Tailscale at .*nobody does not answer") as caught:
        asyncio.run(run())
    assert "sidecar" in caught.value.remedy
