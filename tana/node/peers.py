"""The peer book: which nodes the mesh approved and where they were last seen, kept on disk so that an outage of the
mesh changes nothing."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from tana.client.mesh import MeshNode
from tana.durable import write_atomically
from tana.types.errors import StorageError
from tana.types.genesis import PublicKeyText

PEER_SERVICE = "consensus"
"""The service of a registration whose port takes peer links."""


class PeerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approved node and the address of its peer links."""

    node_id: str
    public_key: PublicKeyText
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    hostname: Annotated[str, msgspec.Meta(max_length=253)] = ""
    """Its name on the tailnet, as registered; empty in books of older versions."""

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.public_key[8:])


class _Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    peers: tuple[PeerEntry, ...]


class PeerBook:
    """Approved nodes by key. Opened from a file (empty where there is none), written whenever it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[bytes, PeerEntry] = {entry.key: entry for entry in _read(path)}
        self._is_saved = True

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    @property
    def entries(self) -> tuple[PeerEntry, ...]:
        return tuple(self._entries.values())

    def get(self, key: bytes) -> PeerEntry | None:
        return self._entries.get(key)

    def update(self, nodes: Iterable[MeshNode], validators: Container[bytes]) -> bool:
        """Take over what the mesh says of its approved nodes (active and offline). Whether anything changed.

        A validator of the chain that the mesh does not know (any more) keeps its last address: the chain's set, not
        the mesh, says who it is. Raises `StorageError` where the file cannot be written; the entries are taken over all
        the same, and saved with the next call.
        """
        entries = {key: entry for key, entry in self._entries.items() if key in validators}
        entries |= {entry.key: entry for entry in map(_to_entry, nodes) if entry is not None}
        if entries == self._entries and self._is_saved:
            return False
        self._entries = entries
        self._is_saved = False
        write_atomically(self._path, msgspec.json.encode(_Book(1, tuple(entries.values()))))
        self._is_saved = True
        return True


def _to_entry(node: MeshNode) -> PeerEntry | None:
    service = node.get_service(PEER_SERVICE)
    if service is None:
        return None
    row = {
        "node_id": node.id,
        "public_key": node.public_key,
        "host": node.tailscale_ip or node.tailscale_hostname,
        "port": service.port,
        "hostname": node.tailscale_hostname,
    }
    try:
        return msgspec.convert(row, PeerEntry)
    except msgspec.ValidationError:
        return None


def _read(path: Path) -> tuple[PeerEntry, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Book).peers
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.DecodeError) as error:
        raise StorageError(
            f"the peer book {path} cannot be read: {error}", remedy="remove it: the mesh tells the peers again"
        ) from None
