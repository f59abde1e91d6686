"""The history of a run: every fact in the order it was learnt, one JSON object a line.

Kinds of events (`node` names who said it, empty for the harness):
    run          scenario, seed, validators, sovereign     step         name, phase begun or done
    health       a validator's `/health` answer            unreachable  why a node gives no answer
    block        a validator's answer for one height       supply       a validator's money, at a height
    balances     accounts and nonces, between two heights  mesh_nodes   the mesh's list of all nodes
    topology     the mesh's topology                       genesis      what the mesh serves
    submitted    a transaction sent                        answered     the answer to it
    acknowledged a validator says it is final              refusal      what must be refused, how it was
    not_shown    what this backend cannot show          approval     the sovereign approves `target`
    fault        kind, node, phase asked|applied|undone    expectation  must or must_not progress, begin or end
    convergence  the pinned height                         log          a notable line of a node's log
    tailnet_…    what members of a tailnet, their kernels and their Tailscale answered
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

MAX_RECENT = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `sequence` counts from 1, `at_ms` is the cluster's time in ms since the run began."""

    sequence: int
    at_ms: int
    kind: str
    node: str
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "at_ms": self.at_ms, "kind": self.kind, "node": self.node, **self.data}


class History:
    """Appends events to a file and to whoever listens, and keeps the last `MAX_RECENT` at hand."""

    def __init__(self, path: Path | None = None, listener: Callable[[Event], None] | None = None) -> None:
        self._file: TextIO | None = path.open("w", encoding="utf-8") if path is not None else None
        self._listener = listener
        self._hash = hashlib.sha256()
        self.count = 0
        self.recent: deque[Event] = deque(maxlen=MAX_RECENT)

    def append(self, at_ms: int, kind: str, node: str = "", /, **data: Any) -> Event:
        self.count += 1
        event = Event(self.count, at_ms, kind, node, data)
        line = json.dumps(event.to_json(), separators=(",", ":"), ensure_ascii=True) + "\n"
        self._hash.update(line.encode("ascii"))
        if self._file is not None:
            self._file.write(line)
        self.recent.append(event)
        if self._listener is not None:
            self._listener(event)
        return event

    def compute_hash(self) -> str:
        """SHA-256 of the file's bytes so far, 64 hex characters: equal for equal seeds in simulation."""
        return self._hash.hexdigest()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
