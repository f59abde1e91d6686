"""The public keys of approved nodes' services, as the mesh last published them.

Only the mesh's word that a node is denied or gone revokes a key. An outage of the mesh, a late heartbeat (status
`offline`) or a restart of this process change nothing: the list is kept on disk and replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tana.auth.token import SERVICES
from tana.crypto.keys import format_public_key, parse_public_key
from tana.durable import write_atomically
from tana.types.errors import InvalidInput, StorageError

TRUSTED_STATUSES = ("active", "offline")
_REMEDY = "remove the file: it is written anew from the mesh's list"


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodeId: str
    serviceId: str
    publicKey: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[_Row, ...]


@dataclass(frozen=True)
class KeyChanges:
    """What an update did, each as `(node id, service id)` in ascending order.

    `skipped` names services of trusted nodes whose key is malformed; they have no key in the list.
    """

    added: tuple[tuple[str, str], ...]
    revoked: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]


class KeyRegistry:
    """Keys by node and service. Invariant: what `get` answers is what is on disk."""

    def __init__(self, path: Path | None = None) -> None:
        """The list kept in `path` (empty where there is no such file), or one in memory only.

        Raises `StorageError` for a damaged file.
        """
        self._path = path
        self._keys: dict[tuple[str, str], bytes] = _read(path) if path is not None else {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, node_id: str, service_id: str) -> bytes | None:
        """The public key (32 bytes) of an approved node's service, or None."""
        return self._keys.get((node_id, service_id))

    def update(self, nodes: Iterable[Mapping[str, Any]]) -> KeyChanges:
        """Replace the list by that of the mesh.

        `nodes` are the rows of *all* nodes, of every status, as `GET /nodes` answers them: a node that is missing has
        been removed. Do not call it with what a failed or partial request gave.
        Raises `InvalidInput` for rows that are no such list, and `StorageError` where the list cannot be written;
        then the old one stays in force.
        """
        found, skipped = _collect(nodes)
        if found != self._keys:
            if self._path is not None:
                _write(self._path, found)
            before, self._keys = self._keys, found
        else:
            before = found
        return KeyChanges(
            added=tuple(sorted(pair for pair, key in found.items() if before.get(pair) != key)),
            revoked=tuple(sorted(pair for pair, key in before.items() if found.get(pair) != key)),
            skipped=tuple(sorted(skipped)),
        )


def _collect(nodes: Iterable[Mapping[str, Any]]) -> tuple[dict[tuple[str, str], bytes], list[tuple[str, str]]]:
    found: dict[tuple[str, str], bytes] = {}
    skipped: list[tuple[str, str]] = []
    for node in nodes:
        if node.get("status") not in TRUSTED_STATUSES:
            continue
        node_id, services = node.get("id"), node.get("services")
        if not isinstance(node_id, str) or not isinstance(services, Sequence):
            raise InvalidInput("a node of the mesh's list has no id or no services", field="nodes")
        for service in services:
            service_id = service.get("service_type")
            if service_id not in SERVICES:
                continue
            try:
                found[node_id, service_id] = parse_public_key(service.get("public_key"), "public_key")
            except InvalidInput:
                skipped.append((node_id, service_id))
    return found, skipped


def _read(path: Path) -> dict[tuple[str, str], bytes]:
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
        if document.version != 1:
            raise StorageError(f"{path} has version {document.version}, this program reads 1", remedy=_REMEDY)
        return {(row.nodeId, row.serviceId): parse_public_key(row.publicKey) for row in document.keys}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}", remedy="check its permissions") from None
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidInput) as error:
        raise StorageError(f"{path} is damaged: {error}", remedy=_REMEDY) from None


def _write(path: Path, keys: Mapping[tuple[str, str], bytes]) -> None:
    rows = tuple(_Row(*pair, format_public_key(keys[pair])) for pair in sorted(keys))
    data = msgspec.json.format(msgspec.json.encode(_Document(1, rows)), indent=1)
    write_atomically(path, data)
