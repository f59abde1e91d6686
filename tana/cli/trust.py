"""Where a genesis comes from, and whose signature makes it worth anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tana.client.mesh import MeshClient
from tana.crypto.keys import verify_text
from tana.types import canonical
from tana.types.errors import InvalidInput, NotFound, SettingsError, Unauthorized
from tana.types.genesis import SignedGenesis, parse_signed_genesis


def load_genesis(file: Path | None, mesh_url: str) -> SignedGenesis:
    """The signed genesis of a file, else the one that the mesh publishes. Raises `NotFound` before there is one."""
    if file is not None:
        return parse_signed_genesis(read_json(file))
    with MeshClient(mesh_url) as mesh:
        signed = mesh.get_genesis()
    if signed is None:
        raise NotFound(
            f"the mesh at {mesh_url} has no genesis yet",
            remedy="the sovereign makes it: tana genesis create",
            code="no_genesis",
        )
    return signed


def verify_genesis(signed: SignedGenesis, sovereign: str | None) -> None:
    """Check the signature, and that it is the trusted sovereign's where one is known. Raises `Unauthorized`."""
    claimed = signed.genesis.sovereign
    if sovereign is not None and claimed != sovereign:
        raise Unauthorized(
            f"the genesis is by the sovereign {claimed}, not by {sovereign}",
            remedy="ask the sovereign for the right public key, or the mesh for the right genesis",
            code="wrong_sovereign",
        )
    if not verify_text(claimed, signed.genesis.to_text(), signed.signature):
        raise Unauthorized(
            "the signature of the genesis is not by its sovereign",
            remedy="do not use this genesis; ask the sovereign for the one that was signed",
            code="bad_signature",
        )


def read_json(file: Path) -> Any:
    """The JSON value of a file. Raises `SettingsError` naming it."""
    try:
        return canonical.loads(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}", remedy="check the path") from None
    except InvalidInput as error:
        raise SettingsError(f"{file}: {error.message}", remedy="give a file that holds JSON") from None
