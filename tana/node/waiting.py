"""Clients that wait until their transactions are final (`wait=commit`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tana.node.blocks import BlockSource
from tana.types.block import Block


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a transaction: in a final block, or (height 0) dropped for `reason`."""

    height: int = 0
    block_hash: str = ""
    reason: str = ""


class CommitWaiters:
    """Everybody who waits, by transaction id. Tell it of commits only once they are durable."""

    def __init__(self, blocks: BlockSource) -> None:
        self._blocks = blocks
        self._waiters: dict[str, list[asyncio.Future[Outcome]]] = {}

    async def wait(self, transaction_ids: Sequence[str], timeout_ms: int) -> dict[str, Outcome]:
        """The outcomes that are known when all are, or when the time is up."""
        outcomes: dict[str, Outcome] = {}
        waiting: dict[str, asyncio.Future[Outcome]] = {}
        for transaction_id in dict.fromkeys(transaction_ids):
            known = self._find(transaction_id)
            if known is not None:
                outcomes[transaction_id] = known
                continue
            future = asyncio.get_running_loop().create_future()
            waiting[transaction_id] = future
            self._waiters.setdefault(transaction_id, []).append(future)
        try:
            if waiting:
                await asyncio.wait(waiting.values(), timeout=timeout_ms / 1000)
            done = {key: future.result() for key, future in waiting.items() if future.done() and not future.cancelled()}
            return outcomes | done
        finally:
            self._forget(waiting)

    def on_commit(self, block: Block, transaction_ids: Iterable[str]) -> None:
        """A block is final and durable."""
        if self._waiters:
            outcome = Outcome(block.height, block.hash.hex())
            for transaction_id in transaction_ids:
                self._resolve(transaction_id, outcome)

    def on_dropped(self, dropped: Iterable[tuple[str, str]]) -> None:
        """Pending transactions that can no longer be executed."""
        if self._waiters:
            for transaction_id, reason in dropped:
                self._resolve(transaction_id, Outcome(reason=reason))

    def close(self) -> None:
        """Let everybody go who still waits: the node stops."""
        for futures in self._waiters.values():
            for future in futures:
                future.cancel()

    def _find(self, transaction_id: str) -> Outcome | None:
        height = self._blocks.find_transaction(transaction_id)
        if height is None:
            return None
        stored = self._blocks.get_block(height)
        assert stored is not None, "a committed transaction's block is there"
        return Outcome(height, stored.certificate.block_hash.hex())

    def _resolve(self, transaction_id: str, outcome: Outcome) -> None:
        for future in self._waiters.pop(transaction_id, ()):
            if not future.done():
                future.set_result(outcome)

    def _forget(self, waiting: dict[str, asyncio.Future[Outcome]]) -> None:
        for transaction_id, future in waiting.items():
            futures = self._waiters.get(transaction_id)
            if futures is not None and future in futures:
                futures.remove(future)
                if not futures:
                    del self._waiters[transaction_id]
