"""What the Tailscale daemon beside this node says: who we are on the tailnet, who is there, and who is talking to us.

The daemon answers HTTP over a unix socket (its LocalAPI, as of tailscale 1.102); reading needs no rights. Names are
lower-case host names, the first label of what the tailnet's DNS would call a node: `validator-1`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Self, TypeVar

import httpx
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tana.node.login_errors import explain_login_error
from tana.types.errors import NotFound, Unavailable

DEFAULT_SOCKET = "/var/run/tailscale/tailscaled.sock"
RUNNING = "Running"
WAIT_MS = 20_000
TIMEOUT_MS = 5_000
_POLL_S = 0.1
_WATCH_HEALTH = 1 << 7
"""ipn.NotifyInitialHealthState: the first message of the bus tells all complaints, the others what changes."""
_HOST = "http://local-tailscaled.sock"
_STUCK = "not_on_tailnet"

_REMEDIES = {
    "NeedsLogin": "see the sidecar's log; give it an auth key that is valid, or a control server that it can reach",
    "NeedsMachineAuth": "approve this machine in the admin console of the tailnet",
    "Stopped": "bring it up again: tailscale up",
    "InUseOtherUser": "give each node a Tailscale daemon of its own",
}
_OTHER_REMEDY = "see the sidecar's log; the control server must be reachable"
_PASSING = re.compile("Tailscale is (stopped|starting)")
"""Complaints that say nothing which the state does not say."""
_LOGGED_OUT = "You are logged out. The last login error was: "

_Result = TypeVar("_Result")


class TailnetNode(
    msgspec.Struct,
    frozen=True,
    rename={
        "id": "ID",
        "dns_name": "DNSName",
        "host_name": "HostName",
        "ips": "TailscaleIPs",
        "tags": "Tags",
        "is_online": "Online",
        "direct_address": "CurAddr",
        "relay": "Relay",
        "received_bytes": "RxBytes",
        "sent_bytes": "TxBytes",
        "last_handshake": "LastHandshake",
    },
):
    """A node as the status call shows it. `direct_address` is empty while traffic takes the relay, or there is none.

    `host_name` is the name that the node asked for, `dns_name` has the one that it got.
    """

    id: str = ""
    dns_name: str = ""
    host_name: str = ""
    ips: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    is_online: bool = False
    direct_address: str = ""
    relay: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0
    last_handshake: str = ""

    @property
    def name(self) -> str:
        """The node's name: unique on its tailnet, unlike what its machine calls itself."""
        return get_first_label(self.dns_name)

    @property
    def ip(self) -> str:
        """The IPv4 address on the tailnet, empty where there is none (yet)."""
        return next((ip for ip in self.ips or () if "." in ip), "")


class TailnetStatus(
    msgspec.Struct,
    frozen=True,
    rename={
        "state": "BackendState",
        "is_tun": "TUN",
        "self_node": "Self",
        "peers": "Peer",
        "login_url": "AuthURL",
        "problems": "Health",
    },
):
    """The daemon's status. `is_tun` False means userspace networking: nothing of ours would travel the tailnet."""

    state: str
    is_tun: bool = False
    self_node: TailnetNode | None = None
    peers: dict[str, TailnetNode] | None = None
    login_url: str = ""
    problems: tuple[str, ...] | None = None

    def find_peer(self, name: str) -> TailnetNode | None:
        """The other node of this name, None where nobody has it."""
        return next((peer for peer in (self.peers or {}).values() if peer.name == name.lower()), None)


class Visitor(msgspec.Struct, frozen=True):
    """Who an address of the tailnet belongs to: its full name without the last dot, addresses and tags."""

    dns_name: str
    ips: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def name(self) -> str:
        return get_first_label(self.dns_name)


class Tailscale:
    """Calls of one daemon. Every method raises `Unavailable` where it does not answer."""

    def __init__(self, socket: str = DEFAULT_SOCKET, timeout_ms: int = TIMEOUT_MS) -> None:
        self.socket = socket
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=socket, verify=False), base_url=_HOST, timeout=timeout_ms / 1000
        )

    async def get_status(self) -> TailnetStatus:
        return self._decode(await self._request("GET", "status"), TailnetStatus)

    async def who_is(self, ip: str, port: int = 0) -> Visitor | None:
        """Whose address a connection comes from, None for an address that is nobody's on the tailnet."""
        try:
            content = await self._request("GET", "whois", {"addr": f"{ip}:{port}"})
        except NotFound:
            return None
        node = self._decode(content, _WhoIs).node
        ips = tuple(address.partition("/")[0] for address in node.addresses or ())
        return Visitor(node.name.rstrip(".").lower(), ips, node.tags or ())

    async def ping(self, ip: str) -> None:
        """Ask a peer for a sign of life. Raises `Unavailable` with the daemon's words where none comes."""
        answer = self._decode(await self._request("POST", "ping", {"ip": ip, "type": "disco"}), _Ping)
        if answer.error:
            raise Unavailable(f"{ip} does not answer on the tailnet: {answer.error}")

    async def wait_running(
        self, timeout_ms: int = WAIT_MS, on_waiting: Callable[[str], None] = lambda words: None
    ) -> TailnetStatus:
        """The status once this node is on its tailnet. `on_waiting` is told each thing that is waited for, once.

        Raises `Unavailable`, which names the state it is stuck in and the remedy. A daemon that comes and goes (its
        container restarts when it cannot log in) is explained by the reason for which it could not log in, where it
        ever gave one, else by the state it was last in. It gives that reason some 10 ms before it is ended: asking now
        and then would miss it, so it is listened for.
        """
        waiting = _Waiting(on_waiting)

        async def look() -> TailnetStatus:
            try:
                status = await self.get_status()
            except Unavailable as error:
                waiting.tell(error)
                raise
            if status.state == RUNNING and status.self_node is not None and status.self_node.ip:
                return status
            reason = _explain(status)
            waiting.blame(reason)
            raise reason

        async def listen() -> None:
            while True:
                try:
                    async with aclosing(self.watch_problems()) as problems:
                        async for words in problems:
                            if (known := explain_login_error(words)) is not None:
                                message = f"Tailscale cannot log in: {known.meaning} ({words})"
                                waiting.blame(Unavailable(message, remedy=known.remedy, code=known.code))
                except Unavailable:
                    await asyncio.sleep(_POLL_S)

        listening = asyncio.create_task(listen())
        try:
            return await _retry(look, timeout_ms)
        except Unavailable as last:
            raise (waiting.stuck or last) from None
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def watch_problems(self) -> AsyncGenerator[str]:
        """What the daemon complains of, each thing as it comes. Raises `Unavailable` when it ends, or does not run."""
        query = {"mask": str(_WATCH_HEALTH)}
        try:
            async with self._http.stream("GET", "/localapi/v0/watch-ipn-bus", params=query, timeout=None) as response:
                async for line in response.aiter_lines():
                    if line:
                        for words in self._decode(line.encode(), _Notify).list_problems():
                            yield words
        except httpx.HTTPError as error:
            raise self._unavailable(str(error)) from None
        raise self._unavailable("it ended")

    async def wait_peer(
        self, name: str, timeout_ms: int = WAIT_MS, on_waiting: Callable[[str], None] = lambda words: None
    ) -> TailnetNode:
        """The node of this name, once the tailnet knows it. Raises `Unavailable`."""
        has_told = False

        async def look() -> TailnetNode:
            nonlocal has_told
            peer = (await self.get_status()).find_peer(name)
            if peer is not None and peer.ip:
                return peer
            if not has_told:
                has_told = True
                on_waiting(f"waiting for {name} to be on the tailnet")
            raise Unavailable(
                f"there is no node {name} on the tailnet",
                remedy=f"start {name} and its sidecar, and check that the tailnet's policy lets this node see it",
            )

        return await _retry(look, timeout_ms)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.close()

    async def _request(self, method: str, call: str, query: dict[str, str] | None = None) -> bytes:
        try:
            response = await self._http.request(method, f"/localapi/v0/{call}", params=query)
        except httpx.TimeoutException:
            raise self._unavailable("it did not answer in time") from None
        except httpx.HTTPError as error:
            raise self._unavailable(str(error)) from None
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound(response.text.strip())
        if not response.is_success:
            raise self._unavailable(f"{call} gave HTTP status {response.status_code}: {response.text.strip()[:200]}")
        return response.content

    def _decode(self, content: bytes, kind: type[_Result]) -> _Result:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.MsgspecError as error:
            raise self._unavailable(f"its answer is not understood: {error}") from None

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"Tailscale at {self.socket} does not answer: {reason}",
            remedy="start the Tailscale sidecar or see in its log why it ended (it needs /dev/net/tun and NET_ADMIN),"
            " or give the path of its socket with TANA_TAILSCALE_SOCKET",
        )


class _Waiting:
    """What is known of a daemon that is waited for: everything is told once, and the best explanation is kept."""

    def __init__(self, on_waiting: Callable[[str], None]) -> None:
        self.stuck: Unavailable | None = None
        self._on_waiting = on_waiting
        self._told: set[str] = set()

    def tell(self, error: Unavailable) -> None:
        if error.message not in self._told:
            self._told.add(error.message)
            self._on_waiting(error.message)

    def blame(self, error: Unavailable) -> None:
        """A known reason is kept before a mere state."""
        if self.stuck is None or self.stuck.code == _STUCK or error.code != _STUCK:
            self.stuck = error
        self.tell(error)


class _Warning(msgspec.Struct, frozen=True, rename="pascal"):
    text: str = ""


class _Health(msgspec.Struct, frozen=True, rename="pascal"):
    warnings: dict[str, _Warning] | None = None


class _Notify(msgspec.Struct, frozen=True, rename={"error": "ErrMessage", "health": "Health"}):
    """A message of the daemon's bus; most of them are about other things."""

    error: str | None = None
    health: _Health | None = None

    def list_problems(self) -> list[str]:
        warnings = (self.health.warnings if self.health else None) or {}
        found = ([self.error] if self.error else []) + [warning.text for warning in warnings.values()]
        return [words.removeprefix(_LOGGED_OUT) for words in found]


class _WhoIsNode(msgspec.Struct, frozen=True, rename="pascal"):
    name: str
    addresses: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


class _WhoIs(msgspec.Struct, frozen=True, rename="pascal"):
    node: _WhoIsNode


class _Ping(msgspec.Struct, frozen=True):
    error: str = msgspec.field(default="", name="Err")


def get_first_label(dns_name: str) -> str:
    """validator-1 of validator-1.tana.internal. (a tailnet's names end in a dot)."""
    return dns_name.partition(".")[0].lower()


def _explain(status: TailnetStatus) -> Unavailable:
    problems = "; ".join(sorted(words for words in status.problems or () if not _PASSING.match(words)))
    known = explain_login_error(problems) if problems else None
    if known is not None:
        return Unavailable(
            f"Tailscale is not running but {status.state}: {known.meaning} ({problems})",
            remedy=known.remedy,
            code=known.code,
        )
    return Unavailable(
        f"Tailscale is not running but {status.state}" + (f" ({problems})" if problems else ""),
        remedy=_REMEDIES.get(status.state, _OTHER_REMEDY),
        code=_STUCK,
    )


async def _retry(look: Callable[[], Awaitable[_Result]], timeout_ms: int) -> _Result:
    """What `look` finds, looked for until it is there or the time is up; then its own last words."""
    retrying = AsyncRetrying(
        wait=wait_fixed(_POLL_S),
        stop=stop_after_delay(timeout_ms / 1000),
        retry=retry_if_exception_type(Unavailable),
        reraise=True,
    )

    async def attempt() -> Any:
        return await look()

    result: _Result = await retrying(attempt)
    return result
