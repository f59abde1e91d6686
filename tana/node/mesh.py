"""The running node's connection to the mesh: asynchronous, so that a mesh that hangs delays nothing here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from tana.client.http import rebuild_error
from tana.client.mesh import MeshNode
from tana.client.registration import Body
from tana.types import canonical
from tana.types.errors import InvalidInput, NotFound, Unavailable
from tana.types.genesis import SignedGenesis, parse_signed_genesis

TIMEOUT_MS = 5_000
EVENT_SILENCE_MS = 60_000
"""A stream of events that says nothing for so long, not even that it is still there, is broken."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class MeshConnection:
    """Calls of one mesh. Every method raises the `TanaError` of the answer, `Unavailable` where none comes.

    `source` is the address of this node that calls come from; without it the system chooses.
    """

    def __init__(self, url: str, timeout_ms: int = TIMEOUT_MS, source: str = "") -> None:
        self.url = url.rstrip("/")
        # Loading the system's certificates costs 20 ms and 3 MiB: only where there is something to check with them.
        is_secure = self.url.startswith("https://")
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=is_secure, trust_env=False, local_address=source or None),
            base_url=self.url,
            timeout=timeout_ms / 1000,
            trust_env=False,
            follow_redirects=False,
        )

    async def register(self, body: Body) -> None:
        await self._request("POST", "/register", body)

    async def heartbeat(self, body: Body) -> None:
        await self._request("POST", "/heartbeat", body)

    async def find_node(self, node_id: str) -> MeshNode | None:
        """A node, None where the mesh does not know the id."""
        try:
            answer = await self._request("GET", f"/nodes/{quote(node_id, safe='')}")
        except NotFound:
            return None
        return self._read_nodes([answer.get("node")])[0]

    async def list_nodes(self) -> list[MeshNode]:
        """Every node that is active or offline, perhaps also others."""
        try:
            nodes = await self._list("all")
        except InvalidInput:
            nodes = []
        if nodes:
            return nodes
        # Another mesh lists one status at a time. Whoever changes sides meanwhile is in the first or the last answer.
        found = {node.id: node for status in ("active", "offline", "active") for node in await self._list(status)}
        return list(found.values())

    async def watch_events(self) -> AsyncIterator[str]:
        """The type of each event of the mesh as it happens; "listening" first, from when on none is missed.

        Ends when the mesh ends the stream. Raises `NotFound` where this mesh has none.
        """
        timeout = httpx.Timeout(self._http.timeout.connect, read=EVENT_SILENCE_MS / 1000)
        try:
            async with self._http.stream("GET", "/events", timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise rebuild_error(response.status_code, None)
                yield "listening"
                async for line in response.aiter_lines():
                    name, _, value = line.partition(":")
                    if name == "event":
                        yield value.strip()
        except httpx.HTTPError as error:
            raise Unavailable(f"the event stream of the mesh at {self.url} broke: {error}") from None

    async def get_genesis(self) -> SignedGenesis | None:
        """The published genesis, NOT verified, None before there is one."""
        try:
            return parse_signed_genesis(await self._request("GET", "/genesis"))
        except NotFound:
            return None

    async def close(self) -> None:
        await self._http.aclose()

    async def _list(self, status: str) -> list[MeshNode]:
        answer = await self._request("GET", f"/nodes?status={status}")
        return self._read_nodes(answer.get("nodes"))

    async def _request(self, method: str, path: str, body: Body | None = None) -> dict[str, Any]:
        content = None if body is None else canonical.dumps(body).encode("utf-8")
        headers = {} if content is None else {"content-type": "application/json"}
        try:
            response = await self._http.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            reason = "it did not answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
            raise Unavailable(f"the mesh at {self.url} does not answer: {reason}") from None
        try:
            answer = canonical.loads(response.content)
        except InvalidInput:
            answer = None
        if not response.is_success:
            raise rebuild_error(response.status_code, answer)
        if not isinstance(answer, dict):
            raise self._not_a_mesh("it answers without JSON")
        return answer

    def _read_nodes(self, rows: Any) -> list[MeshNode]:
        try:
            return msgspec.convert(rows, list[MeshNode])
        except msgspec.ValidationError as error:
            raise self._not_a_mesh(str(error)) from None

    def _not_a_mesh(self, fault: str) -> Unavailable:
        return Unavailable(f"{self.url} answers, but not as a Tana mesh: {fault}", remedy="check MESH_URL")
