"""Writes a chain into a store again and again, and is killed by the kernel at another byte each time.

`python -m tests.node.kill_store FOLDER` prints one JSON line per kill: how far files could grow, how many blocks were
acknowledged before it, and which height the store then has. A write that would let a file grow over RLIMIT_FSIZE
ends the process with SIGXFSZ, where the write that only just fits is cut short: a torn write.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path

from tana.node.store import ChainStore
from tests.node.chain import Chain
from tests.node.cluster import make_transfer

BLOCKS = 3
STEP_BYTES = 2500
"""Not a divisor of SQLite's page: kills fall between writes and into the middle of them."""


def main(root: Path) -> None:
    chain = Chain()
    for nonce in range(BLOCKS):
        chain.grow(make_transfer(nonce))
    limit_bytes, acknowledged = 0, -1
    while acknowledged < BLOCKS:
        folder = root / str(limit_bytes)
        folder.mkdir()
        acknowledged = _write_until_killed(folder / "chain.db", chain, limit_bytes)
        print(json.dumps({"limit": limit_bytes, "acknowledged": acknowledged, **_read(folder / "chain.db", chain)}))
        limit_bytes += STEP_BYTES


def _open(path: Path, chain: Chain) -> ChainStore:
    return ChainStore.open(path, chain.signed.chain_id, chain.genesis_entries)


def _write_until_killed(path: Path, chain: Chain, limit_bytes: int) -> int:
    """How many blocks were acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        store = _open(path, chain)
        for step in chain.steps:
            store.append(*step)
            os.write(writing, b".")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        acknowledged = len(pipe.read())
    _, status = os.waitpid(child, 0)
    ended_well = os.WIFEXITED(status) and acknowledged == BLOCKS
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXFSZ
    assert ended_well or was_killed, f"the writer ended with status {status}"
    return acknowledged


def _read(path: Path, chain: Chain) -> dict[str, object]:
    store = _open(path, chain)
    stored = [store.get_block(height) for height in range(1, store.height + 1)]
    expected = [block.data for block, _, _ in chain.steps[: store.height]]
    is_same = [item.data for item in stored if item is not None] == expected
    store.close()
    return {"height": len(stored), "same": is_same}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
