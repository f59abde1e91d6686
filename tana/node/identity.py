"""Who a node is: its keys, and the sign-state that belongs to its node key.

A node key and its sign-state come into being together, once, or a node with a copied key and an empty log would sign
twice what it signed elsewhere. The order survives a crash at any point: the log is made under another name, then the
key file is written, then the log gets its name. A key without a log under either name has lost its log.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from tana.client.keyfiles import SERVICES, get_node_key_path, get_service_key_path, read_key, write_key
from tana.client.registration import Body, build_registration, build_service
from tana.crypto.keys import KeyPair
from tana.durable import make_folder, sync_folder
from tana.node.blocks import BlockSource
from tana.node.effects import LogRecord
from tana.node.folder import DataFolder
from tana.node.log import SignLog
from tana.node.segment import NOTHING_SIGNED, SignFloor
from tana.node.settings import ValidatorSettings, get_default_data_path
from tana.types.block import Certificate
from tana.types.errors import SettingsError, StorageError
from tana.types.messages import PRECOMMIT

_BLOCKS_COMPARED = 20
"""A certificate need not hold this node's precommit; among so many blocks one does, if it takes part at all."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class NodeIdentity:
    """A node's name, its own key, and the keys of its services (ledger, t4, consensus)."""

    node_id: str
    key: KeyPair
    service_keys: Mapping[str, KeyPair]


@dataclass(frozen=True)
class SignState:
    """The open log of a node; `log` None means that the node must not sign, for `abstain_reason`."""

    log: SignLog | None
    records: tuple[LogRecord, ...] = ()
    sign_floor: SignFloor = NOTHING_SIGNED
    abstain_reason: str = ""
    is_lost: bool = False
    """Whether `tana validator recover` is the way back: not where the data folder is another key's."""


def prepare_node(folder: Path | None, node_id: str, config_dir: Path | None = None) -> NodeIdentity:
    """The identity of a node: read where its key is there, else made, together with its sign-state in `folder`.

    `folder` None is the node's usual data folder, `config_dir` None the usual folder of key files. Raises
    `SettingsError` where key and data do not belong together or cannot be written.
    """
    data = DataFolder(folder or get_default_data_path(node_id))
    path = get_node_key_path(node_id, config_dir)
    key = read_key(path, node_id=node_id) if path.exists() else _make_key(data, path, node_id)
    _finish_making(data, key)
    return NodeIdentity(node_id, key, {service: _prepare_service(node_id, service, config_dir) for service in SERVICES})


def open_sign_state(data: DataFolder, key: KeyPair, chain_id: bytes, blocks: BlockSource) -> SignState:
    """The sign-state of a node's key on a chain whose final blocks are in `blocks`.

    One that is missing, damaged, of another chain or older than the blocks gives a reason to abstain, never a new log.
    """
    try:
        log, records, sign_floor = open_log(data, key, chain_id, blocks)
    except StorageError as error:
        _log.error("abstaining", reason=error.message, remedy=error.remedy)
        return SignState(None, abstain_reason=str(error), is_lost=error.code != "other_key")
    if log.torn_bytes:
        _log.warning("sign_state_torn_tail_cut", bytes=log.torn_bytes)
    for recovery in log.recoveries:
        _log.warning(
            "sign_state_recovered",
            height=recovery.height,
            round=recovery.round,
            at_ms=recovery.at_ms,
            lost=recovery.lost,
            silent=list(recovery.silent),
        )
    if sign_floor[0] > blocks.height + 1:
        _log.warning(
            "chain_behind_sign_state",
            height=blocks.height,
            signed_height=sign_floor[0],
            reason="final blocks that this node voted for are gone from its disk; it fetches them from its peers",
        )
    return SignState(log, tuple(records), sign_floor)


def open_log(
    data: DataFolder, key: KeyPair, chain_id: bytes, blocks: BlockSource
) -> tuple[SignLog, list[LogRecord], SignFloor]:
    """The log with its records and sign floor. Raises `StorageError` where this node must not sign with it."""
    log, records, sign_floor = SignLog.open(data.sign_state_path, key.public_key)
    try:
        log.bind(chain_id)
        _check_age(log, key.public_key, blocks)
    except StorageError:
        log.close()
        raise
    return log, records, sign_floor


def check_signature_known(log: SignLog, public_key: bytes, certificate: Certificate) -> None:
    """Raises `StorageError` where a certificate holds a precommit of this node that its log does not know of.

    Then the log is an old copy, somebody cut its end off, or another node signs with the same key.
    """
    slot = (certificate.height, certificate.round, PRECOMMIT)
    if slot > log.sign_floor and any(item.validator == public_key for item in certificate.signatures):
        raise StorageError(
            f"the sign-state {log.folder} does not know of this node's precommit for block {certificate.height}: it is "
            "an old copy, its end is lost, or another validator runs with this node's key",
            remedy="make sure that no other validator has this key, stop this one and run `tana validator recover`",
            code="sign_state_stale",
        )


def build_node_registration(settings: ValidatorSettings, identity: NodeIdentity, ports: Mapping[str, int]) -> Body:
    """The body of `POST /register` for this node. `ports` are those of the listeners `ledger`, `t4` and `peer`."""
    keys = identity.service_keys
    services = [
        build_service("ledger", ports["ledger"], keys["ledger"].public_text),
        build_service("t4", ports["t4"], keys["t4"].public_text),
        build_service("consensus", settings.public_peer_port or ports["peer"], keys["consensus"].public_text),
    ]
    return build_registration(identity.key, identity.node_id, settings.hostname, settings.ip or None, services)


def _check_age(log: SignLog, public_key: bytes, blocks: BlockSource) -> None:
    """Compare the log with the newest final blocks that show a precommit of this node."""
    for height in range(blocks.height, max(blocks.height - _BLOCKS_COMPARED, 0), -1):
        stored = blocks.get_block(height)
        assert stored is not None, "heights up to the tip are all there"
        check_signature_known(log, public_key, stored.certificate)


def _make_key(data: DataFolder, key_path: Path, node_id: str) -> KeyPair:
    for path in (data.sign_state_path, data.chain_path):
        if path.exists():
            raise SettingsError(
                f"the key file {key_path} is missing, but {path} of an earlier key is there",
                remedy="put the key file back; if it is lost, register a new node id with a data folder of its own",
                field="node_id",
            )
    unfinished = _get_unfinished_path(data)
    try:
        if unfinished.exists():
            shutil.rmtree(unfinished)
        make_folder(data.root)
    except OSError as error:
        raise SettingsError(
            f"the data folder {data.root} cannot be written: {error.strerror}",
            remedy="give a folder that this user may write, with --data or TANA_DATA_DIR",
            field="data_dir",
        ) from None
    key = KeyPair.generate()
    SignLog.create(unfinished, key.public_key)
    write_key(key_path, key, node_id=node_id)
    return key


def _finish_making(data: DataFolder, key: KeyPair) -> None:
    """Give a new key's log its name: the last step of `_make_key`, also after a crash before it."""
    unfinished = _get_unfinished_path(data)
    if data.sign_state_path.exists() or not unfinished.exists():
        return
    log, records, _ = SignLog.open(unfinished, key.public_key)
    log.close()
    assert not records, "nothing is signed before the log has its name"
    unfinished.rename(data.sign_state_path)
    sync_folder(data.root)


def _get_unfinished_path(data: DataFolder) -> Path:
    return data.sign_state_path.with_name(data.sign_state_path.name + ".new")


def _prepare_service(node_id: str, service: str, config_dir: Path | None) -> KeyPair:
    path = get_service_key_path(node_id, service, config_dir)
    if not path.exists():
        write_key(path, KeyPair.generate())
    return read_key(path)
