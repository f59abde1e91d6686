"""Heartbeats to the mesh: on a schedule, signed, with growing pauses between tries, never in the way of consensus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from tana.client.registration import build_heartbeat
from tana.crypto.keys import Signer
from tana.node.mesh import MeshConnection
from tana.types.errors import NotFound, TanaError

_FIRST_RETRY_S = 0.25
_MAX_RETRY_S = 30.0

_log = structlog.get_logger()

Health = tuple[dict[str, bool], dict[str, Any]]
"""Which services are healthy by type, and where consensus stands: `{height, blockHash, stateRoot, state}`."""


class Heartbeats:
    """Sends one heartbeat per interval. `may_send` False stops them (the testbed does); `failures` counts refusals."""

    def __init__(
        self,
        mesh: MeshConnection,
        *,
        signer: Signer,
        node_id: str,
        ip: str | None,
        interval_ms: int,
        now_ms: Callable[[], int],
        read_health: Callable[[], Health],
        may_send: Callable[[], bool],
        on_unknown: Callable[[], Awaitable[None]],
        on_failure: Callable[[], None],
    ) -> None:
        self._mesh = mesh
        self._signer = signer
        self._node_id = node_id
        self._ip = ip
        self._interval_ms = interval_ms
        self._now_ms = now_ms
        self._read_health = read_health
        self._may_send = may_send
        self._on_unknown = on_unknown
        self._on_failure = on_failure
        self._last_timestamp_ms = 0

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            if self._may_send():
                await self._send_until_taken()
            await asyncio.sleep(max(0.0, self._interval_ms / 1000 - (loop.time() - started)))

    async def _send_until_taken(self) -> None:
        retrying = AsyncRetrying(
            wait=wait_exponential(_FIRST_RETRY_S, max=min(_MAX_RETRY_S, self._interval_ms / 1000))
            + wait_random(0, _FIRST_RETRY_S),
            retry=retry_if_exception_type(TanaError),
            before_sleep=self._note_failure,
        )
        await retrying(self._send)

    async def _send(self) -> None:
        if not self._may_send():
            return
        try:
            await self._mesh.heartbeat(self._build())
        except NotFound:
            # The mesh lost its memory, or is a new one: it has to know us before it takes our heartbeat.
            await self._on_unknown()
            raise

    def _build(self) -> dict[str, Any]:
        # The mesh wants rising timestamps, also when our clock was set back a little.
        timestamp_ms = max(self._now_ms(), self._last_timestamp_ms + 1)
        self._last_timestamp_ms = timestamp_ms
        healthy, consensus = self._read_health()
        services = [
            {"type": kind, "healthy": is_healthy, "lastCheck": timestamp_ms} for kind, is_healthy in healthy.items()
        ]
        return build_heartbeat(self._signer, self._node_id, timestamp_ms, self._ip, services, consensus=consensus)

    def _note_failure(self, state: RetryCallState) -> None:
        assert state.outcome is not None, "an attempt was made"
        self._on_failure()
        if state.attempt_number == 1:
            _log.warning("heartbeat_failed", reason=str(state.outcome.exception()))
