"""What a call of the mesh is: a row of the table of routes, and a request taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tana.mesh.service import MeshService

Json = dict[str, Any]
Answer = tuple[int, Json]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, taken apart. `body` is a JSON value; `node_id` is the part of the path, where it has one."""

    now_ms: int
    body: Any
    query: Mapping[str, str]
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One call. `path` may end in `{id}`; `max_body_bytes` overrides the bound of the settings."""

    method: str
    path: str
    perform: Callable[[MeshService, Call], Answer]
    summary: str
    body: type[msgspec.Struct] | None = None
    max_body_bytes: int | None = None

    def match(self, path: str) -> str | None:
        """None where `path` is another, else its (still quoted) id, "" for a path without one."""
        prefix, placeholder, _ = self.path.partition("{id}")
        if not placeholder:
            return "" if path == self.path else None
        rest = path.removeprefix(prefix)
        return rest if rest and rest != path and "/" not in rest else None
