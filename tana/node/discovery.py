"""Keeps the peer book, the service keys and the links in step with what the mesh says of its nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Container

import msgspec
import structlog

from tana.auth.keys import TRUSTED_STATUSES, KeyRegistry
from tana.client.mesh import MeshNode
from tana.crypto.keys import format_public_key
from tana.node.api import NodeInfo
from tana.node.links import Links
from tana.node.mesh import MeshConnection
from tana.node.peers import PeerBook
from tana.types.errors import StorageError, TanaError

_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_ALONE_S = 2.0
_PAUSE_S = 10.0
_FIRST_WATCH_PAUSE_S = 0.5
_MAX_WATCH_PAUSE_S = 60.0
_NO_NEWS = frozenset(("heartbeat",))
"""Events that change nothing about who a node is or where."""

_log = structlog.get_logger()


class Discovery:
    """Asks the mesh often while peers are missing, seldom once all are connected, and at once when it has news.

    An outage changes nothing. A mesh without a stream of events is only asked.
    """

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
        self._own_text = format_public_key(info.public_key)
        self._approved: list[MeshNode] | None = None
        self._news = asyncio.Event()

    def apply(self) -> None:
        """Dial whoever the book names, and let go whoever it does not."""
        self._info.node_ids.update((entry.key, entry.node_id) for entry in self._book.entries)
        self._links.set_addresses({entry.key: (entry.host, entry.port) for entry in self._book.entries})
        self._links.drop_unadmitted()

    def on_validators_changed(self) -> None:
        """The chain has another set from now on: who left it keeps no link that only the set had given."""
        if self._approved is not None:
            self._update_book(self._approved)
        self.apply()
        self._news.set()

    async def run(self) -> None:
        """Refresh until cancelled."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._refresh()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _refresh(self) -> None:
        pause_s = _FIRST_PAUSE_S
        is_answering = True
        while True:
            self._news.clear()
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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _PAUSE_S if is_complete and not has_changed else pause_s)

    async def _watch(self) -> None:
        """Let every piece of news of the mesh cut the pause short."""
        pause_s = _FIRST_WATCH_PAUSE_S
        while True:
            try:
                async for kind in self._mesh.watch_events():
                    pause_s = _FIRST_WATCH_PAUSE_S
                    if kind not in _NO_NEWS:
                        self._news.set()
            except TanaError as error:
                _log.debug("mesh_events_unavailable", reason=str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _MAX_WATCH_PAUSE_S)

    def _take_over(self, nodes: list[MeshNode]) -> bool:
        try:
            self._service_keys.update([msgspec.to_builtins(node) for node in nodes])
        except StorageError as error:
            _log.warning("service_keys_not_saved", reason=str(error))
        self._info.is_denied = any(node.status == "denied" and node.public_key == self._own_text for node in nodes)
        self._approved = [node for node in nodes if node.status in TRUSTED_STATUSES]
        return self._update_book(self._approved)

    def _update_book(self, approved: list[MeshNode]) -> bool:
        """Whether the book changed. What cannot be saved counts all the same: a full disk lets nobody in."""
        try:
            return self._book.update(approved, self._get_validators())
        except StorageError as error:
            _log.warning("peers_not_saved", reason=str(error))
            return True
