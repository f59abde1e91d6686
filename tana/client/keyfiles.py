"""Key files: where they lie, how they are read, and how they are written so that no crash leaves half of one.

Folder: `TANA_CONFIG_DIR`, or `~/.config/tana`. Files, as existing Tana clients name them:

    node-key-{nodeId}.json          {nodeId, publicKey, privateKey}
    {nodeId}-{service}-key.json     {publicKey, privateKey}        service: ledger, t4, consensus
    sovereign-key.json              {publicKey, privateKey}
    {name}-key.json                 {publicKey, privateKey}        a user's key, `tana keys new NAME`

A file is 0600 in a folder that is 0700, written under another name, made durable, and moved into place. Nothing
overwrites a key unless it is told to. No message and no representation ever holds a private key.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tana.crypto.keys import KeyPair, parse_public_key
from tana.durable import make_folder, sync_folder
from tana.types import canonical
from tana.types.errors import Conflict, InvalidInput, SettingsError

CONFIG_DIR_VARIABLE = "TANA_CONFIG_DIR"
SOVEREIGN = "sovereign"
SERVICES = ("ledger", "t4", "consensus")
"""The services that have a key of their own."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_MAX_FILE_BYTES = 64 * 1024
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def get_config_dir() -> Path:
    """The folder of key files: `TANA_CONFIG_DIR`, else `~/.config/tana`. It need not exist yet."""
    folder = os.environ.get(CONFIG_DIR_VARIABLE)
    return Path(folder).expanduser() if folder else Path.home() / ".config" / "tana"


def get_node_key_path(node_id: str, folder: Path | None = None) -> Path:
    """Where a node's own key lies. Raises `InvalidInput` for an id that is no node id."""
    return (folder or get_config_dir()) / f"node-key-{check_name(node_id, 'nodeId')}.json"


def get_service_key_path(node_id: str, service: str, folder: Path | None = None) -> Path:
    """Where the key of one of a node's services lies. Raises `InvalidInput`."""
    name = f"{check_name(node_id, 'nodeId')}-{check_name(service, 'service')}-key.json"
    return (folder or get_config_dir()) / name


def get_sovereign_key_path(folder: Path | None = None) -> Path:
    """Where the sovereign's key lies."""
    return get_named_key_path(SOVEREIGN, folder)


def get_named_key_path(name: str, folder: Path | None = None) -> Path:
    """Where the key called `name` lies. Raises `InvalidInput` for a name that could leave the folder."""
    return (folder or get_config_dir()) / f"{check_name(name, 'name')}-key.json"


def find_key_path(name_or_path: str, folder: Path | None = None) -> Path:
    """The file that a person means by `sovereign`, `alice`, a node id, or a path.

    What has a slash or ends in `.json` is a path. A name is looked up as `{name}-key.json`, then as a node's key;
    where neither exists the first is returned, for the error to name. Raises `InvalidInput`.
    """
    if os.sep in name_or_path or name_or_path.endswith(".json"):
        return Path(name_or_path).expanduser()
    named = get_named_key_path(name_or_path, folder)
    of_node = get_node_key_path(name_or_path, folder)
    return of_node if of_node.exists() and not named.exists() else named


def check_name(name: str, field: str) -> str:
    """`name` itself where it can stand in a file name and as a node id. Raises `InvalidInput` naming `field`."""
    if not isinstance(name, str) or _NAME.match(name) is None:
        raise InvalidInput(
            f"{field} {name!r} is malformed",
            remedy="use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit",
            code="malformed_name",
            field=field,
        )
    return name


def warn_on_stderr(message: str) -> None:
    """Print one warning for a person."""
    print(f"warning: {message}", file=sys.stderr)


def read_key(path: Path, *, node_id: str | None = None, warn: Callable[[str], None] = warn_on_stderr) -> KeyPair:
    """The key pair of a file.

    Raises `SettingsError` naming file and field where the file is missing, unreadable, not JSON, lacks a field, has
    a malformed one, a public key of another private key, or (with `node_id`) belongs to another node. A file
    that others may read or write is used, after a warning.
    """
    _warn_if_exposed(path, warn)
    body = _read_object(path)
    if node_id is not None and body.get("nodeId", node_id) != node_id:
        raise _unusable(path, f"nodeId is {body['nodeId']!r}, not {node_id!r}", "give the key file of this node")
    return _parse_key(path, body)


def read_public_key(path: Path) -> bytes:
    """The 32-byte public key of a key file; the private key may be absent. Raises `SettingsError`."""
    body = _read_object(path)
    return _parse_key(path, body).public_key if "privateKey" in body else _parse_public_key(path, body)


def read_node_key(node_id: str, folder: Path | None = None) -> KeyPair:
    """A node's own key. Raises `SettingsError`, whose remedy is how to make one."""
    return read_key(get_node_key_path(node_id, folder), node_id=node_id)


def read_service_key(node_id: str, service: str, folder: Path | None = None) -> KeyPair:
    """The key of one of a node's services. Raises `SettingsError`."""
    return read_key(get_service_key_path(node_id, service, folder))


def read_sovereign_key(folder: Path | None = None) -> KeyPair:
    """The sovereign's key. Raises `SettingsError`."""
    return read_key(get_sovereign_key_path(folder))


def write_key(path: Path, keypair: KeyPair, *, node_id: str | None = None, force: bool = False) -> None:
    """Write a key file durably: afterwards it is whole, or not there.

    `node_id` goes into a node key's file. Raises `Conflict` where the file exists and `force` is not set,
    `SettingsError` where the folder cannot be written.
    """
    fields = {"publicKey": keypair.public_text, "privateKey": keypair.private_text}
    if node_id is not None:
        fields = {"nodeId": check_name(node_id, "nodeId"), **fields}
    write_private_file(path, (json.dumps(fields, indent=2) + "\n").encode(), force=force)


def write_private_file(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file with mode 0600, atomically and durably. Raises `Conflict` or `SettingsError` as `write_key` does."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _make_folder(path.parent)
        try:
            _write_durably(temporary, data)
            _move_into_place(temporary, path, force)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError:
        raise Conflict(
            f"{path} exists and would be lost",
            remedy="use another name, or --force to replace it for good",
            code="key_exists",
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}",
            remedy=f"make {path.parent} writable, or choose another folder with {CONFIG_DIR_VARIABLE}",
        ) from None


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        # A file in the folder's place must not be reported as an existing key.
        with contextlib.suppress(FileExistsError):
            make_folder(folder, 0o700)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(temporary: Path, path: Path, force: bool) -> None:
    if force:
        temporary.replace(path)
        return
    # A rename would overwrite what another process wrote a moment ago; a second name for the file cannot.
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def _warn_if_exposed(path: Path, warn: Callable[[str], None]) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        warn(f"{path} can be used by other users of this machine (mode {mode:04o}): run `chmod 600 {path}`")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _unusable(path, "there is no such file", _how_to_make(path)) from None
    except OSError as error:
        remedy = "make it readable for the user that runs this (chmod 600, chown)"
        raise _unusable(path, f"it cannot be read: {error.strerror}", remedy) from None
    if len(data) > _MAX_FILE_BYTES:
        raise _unusable(path, f"it has more than {_MAX_FILE_BYTES} bytes", "give the file that holds the key")
    try:
        body = canonical.loads(data)
    except InvalidInput as error:
        raise _unusable(path, error.message, "restore it from a backup") from None
    if not isinstance(body, dict):
        raise _unusable(path, "it must hold a JSON object", "restore it from a backup")
    return body


def _parse_key(path: Path, body: dict[str, Any]) -> KeyPair:
    public_key = _parse_public_key(path, body)
    try:
        keypair = KeyPair.from_text(_get_text(path, body, "privateKey"))
    except InvalidInput as error:
        raise _unusable(path, error.message, error.remedy or "restore it from a backup") from None
    if keypair.public_key != public_key:
        raise _unusable(path, "publicKey is not the public key of privateKey", "restore it from a backup")
    return keypair


def _parse_public_key(path: Path, body: dict[str, Any]) -> bytes:
    try:
        return parse_public_key(_get_text(path, body, "publicKey"))
    except InvalidInput as error:
        raise _unusable(path, error.message, error.remedy or "restore it from a backup") from None


def _get_text(path: Path, body: dict[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str):
        raise _unusable(path, f"{field} is missing" if value is None else f"{field} must be a string", "")
    return value


def _how_to_make(path: Path) -> str:
    name = path.name
    if name.startswith("node-key-") and name.endswith(".json"):
        return f"make it with `tana mesh register --node-id {name[9:-5]}`"
    if name.endswith("-key.json"):
        return f"make it with `tana keys new {name[:-9]}`, or name another file"
    return "name an existing key file"


def _unusable(path: Path, what: str, remedy: str) -> SettingsError:
    return SettingsError(
        f"the key file {path} cannot be used: {what}",
        remedy=remedy or "restore it from a backup, or name another key file",
        code="key_file",
    )
