"""Keeps the peer book, the service keys and the links in step with what the mesh says of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container

import msgspec
import structlog

from tana.auth.keys import TRUSTED_STATUSES, KeyRegistry
from tana.client.mesh import MeshNode
from tana.node.api import NodeInfo
from tana.node.links import Links
from tana.node.mesh import MeshConnection
from tana.node.peers import PeerBook
from tana.types.errors import TanaError

_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_ALONE_S = 2.0
_PAUSE_S = 10.0

_log = structlog.get_logger()


class Discovery:
    """Asks the mesh often while peers are missing, seldom once all are connected. An outage changes nothing."""

    def __init__(
        self,
        mesh: MeshConnection,
        *,
        info: NodeInfo,
        book: PeerBook,
        service_keys: KeyRegistry,
        links: Links,
        get_validators: Callable[[], Container[bytes]],
    ) -> None:
        self._mesh = mesh
        self._info = info
        self._book = book
        self._service_keys = service_keys
        self._links = links
        self._get_validators = get_validators

    def apply(self) -> None:
        """Dial whoever the book names, and let go whoever it does not."""
        self._info.node_ids.update((entry.key, entry.node_id) for entry in self._book.entries)
        self._links.set_addresses({entry.key: (entry.host, entry.port) for entry in self._book.entries})
        self._links.drop_unadmitted()

    async def run(self) -> None:
        """Refresh until cancelled."""
        pause_s = _FIRST_PAUSE_S
        is_answering = True
        while True:
            try:
                has_changed = self._take_over(await self._mesh.list_nodes())
                is_answering = True
            except TanaError as error:
                if is_answering:
                    _log.warning("discovery_failed", reason=str(error))
                is_answering = has_changed = False
            if has_changed:
                self.apply()
            is_complete = len(self._links.peers) >= len(self._book.entries) - 1
            pause_s = _FIRST_PAUSE_S if has_changed else min(pause_s * 1.5, _MAX_PAUSE_ALONE_S)
            await asyncio.sleep(_PAUSE_S if is_complete and not has_changed else pause_s)

    def _take_over(self, nodes: list[MeshNode]) -> bool:
        self._service_keys.update([msgspec.to_builtins(node) for node in nodes])
        approved = [node for node in nodes if node.status in TRUSTED_STATUSES]
        return self._book.update(approved, self._get_validators())
