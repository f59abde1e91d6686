"""From a new node to a genesis: register, wait for the sovereign, fetch the genesis and verify it.

A genesis that was verified once is kept in the data folder; from then on the mesh is not needed to start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from tana.client.mesh import MeshNode, is_same_registration
from tana.client.registration import Body
from tana.crypto import keys
from tana.durable import write_atomically
from tana.node.api import NodeInfo
from tana.node.folder import DataFolder
from tana.node.mesh import MeshConnection
from tana.types import canonical
from tana.types.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    RateLimited,
    SettingsError,
    StorageError,
    Unauthorized,
    Unavailable,
)
from tana.types.genesis import SignedGenesis, parse_signed_genesis

_FIRST_POLL_S = 0.05
_MAX_POLL_S = 0.5
_FIRST_RETRY_S = 0.1
_MAX_RETRY_S = 5.0

_log = structlog.get_logger()
_Result = TypeVar("_Result")


class _NotYet(Exception):
    """What is waited for is not there yet."""


class Denied(Exception):
    """The sovereign denied this node, which is final."""


class Joining:
    """One node's way in. Keeps `info.state` and `info.reason` up to date for `/health`."""

    def __init__(self, mesh: MeshConnection, info: NodeInfo, registration: Body, sovereign: bytes) -> None:
        self._mesh = mesh
        self._info = info
        self._registration = registration
        self._sovereign = sovereign

    async def join(self, data: DataFolder) -> SignedGenesis:
        """The verified genesis, stored durably. Raises `SettingsError` where this node cannot get in as it is set up,
        `Denied` where it may not."""
        await self.register()
        await self._wait_for_approval()
        signed = await self._wait_for_genesis()
        verify_genesis(signed, self._sovereign, f"the genesis of the mesh at {self._mesh.url}")
        store_genesis(data, signed)
        return signed

    async def register(self) -> None:
        """Make the mesh know this node. Raises `SettingsError` where its id or key belongs to another there."""
        self._show("pending", f"registering at the mesh at {self._mesh.url}")
        node = await self._retry(lambda: self._mesh.find_node(self._info.node_id))
        if node is None:
            try:
                await self._retry(lambda: self._mesh.register(self._registration))
            except Conflict as error:
                if error.code == "place_taken":
                    raise SettingsError(
                        f"the mesh refuses this node's registration: {error.message}",
                        remedy=error.remedy,
                        field=error.field,
                    ) from None
                # Either another node has the id or the key, or our first try arrived and only its answer was lost.
                node = await self._retry(lambda: self._mesh.find_node(self._info.node_id))
                if node is None:
                    raise self._key_taken() from None
            except (InvalidInput, Unauthorized, Forbidden) as error:
                raise SettingsError(
                    f"the mesh refuses this node's registration: {error.message}",
                    remedy=error.remedy,
                    field=error.field,
                ) from None
            else:
                _log.info("registered", mesh=self._mesh.url, node_id=self._info.node_id)
        if node is not None:
            self._check_known(node)

    async def _wait_for_approval(self) -> None:
        remedy = f"tana mesh approve {self._info.node_id}"
        self._show("pending", f"waiting for the sovereign's approval: {remedy}")

        async def poll() -> None:
            node = await self._retry(lambda: self._mesh.find_node(self._info.node_id))
            if node is None:
                await self.register()
                raise _NotYet
            if node.status == "denied":
                raise Denied
            if node.status == "pending":
                raise _NotYet

        await _poll(poll)
        _log.info("approved", node_id=self._info.node_id)

    async def _wait_for_genesis(self) -> SignedGenesis:
        self._show("awaiting_genesis", "waiting for the sovereign's genesis: tana genesis create")

        async def poll() -> SignedGenesis:
            signed = await self._retry(self._mesh.get_genesis)
            if signed is None:
                raise _NotYet
            return signed

        try:
            return await _poll(poll)
        except InvalidInput as error:
            raise SettingsError(
                f"the genesis of the mesh at {self._mesh.url} is refused: {error.message}",
                remedy="point MESH_URL at this network's mesh",
                field=error.field,
            ) from None

    def _check_known(self, node: MeshNode) -> None:
        if node.public_key != self._registration["publicKey"]:
            raise SettingsError(
                f"node id {self._info.node_id} belongs to another key at the mesh",
                remedy="choose another --node-id, or put this node's own key file back",
                field="node_id",
            )
        if not is_same_registration(node, self._registration):
            _log.warning(
                "registration_differs",
                reason="the mesh keeps the address and services of the first registration",
                remedy="run with the ports and hostname that were registered, or register a new node id",
            )

    def _key_taken(self) -> SettingsError:
        return SettingsError(
            "this node's key is registered under another node id",
            remedy="use that id, or a new key for this one",
            field="node_id",
        )

    def _show(self, state: str, reason: str) -> None:
        self._info.state, self._info.reason = state, reason

    async def _retry(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """The call's result, tried again with growing pauses for as long as the mesh does not answer."""
        reason = self._info.reason

        def on_failure(state: RetryCallState) -> None:
            assert state.outcome is not None, "an attempt was made"
            error = state.outcome.exception()
            self._info.reason = str(error)
            if state.attempt_number == 1:
                _log.warning("mesh_unavailable", mesh=self._mesh.url, reason=str(error))

        retrying = AsyncRetrying(
            wait=wait_exponential(_FIRST_RETRY_S, max=_MAX_RETRY_S) + wait_random(0, _FIRST_RETRY_S),
            retry=retry_if_exception_type((Unavailable, RateLimited)),
            before_sleep=on_failure,
        )

        async def attempt() -> _Result:
            return await call()

        result: _Result = await retrying(attempt)
        self._info.reason = reason
        return result


async def _poll(look: Callable[[], Awaitable[_Result]]) -> _Result:
    retrying = AsyncRetrying(
        wait=wait_exponential(_FIRST_POLL_S, max=_MAX_POLL_S, exp_base=1.3) + wait_random(0, 0.02),
        retry=retry_if_exception_type(_NotYet),
    )
    result: _Result = await retrying(look)
    return result


def verify_genesis(signed: SignedGenesis, sovereign: bytes, source: str) -> None:
    """Raises `SettingsError` where a genesis is not this sovereign's or its signature does not verify."""
    remedy = "point MESH_URL at this network's mesh, or correct --sovereign or TANA_SOVEREIGN"
    expected = keys.format_public_key(sovereign)
    if signed.genesis.sovereign != expected:
        raise SettingsError(
            f"{source} is by sovereign {signed.genesis.sovereign}, and this node was given {expected}",
            remedy=remedy,
            field="sovereign",
            code="wrong_sovereign",
        )
    try:
        is_signed = keys.verify_text(expected, signed.genesis.to_text(), signed.signature)
    except InvalidInput:
        is_signed = False
    if not is_signed:
        raise SettingsError(
            f"{source} is not signed by the sovereign {expected}",
            remedy=remedy,
            field="signature",
            code="wrong_sovereign",
        )


def store_genesis(data: DataFolder, signed: SignedGenesis) -> None:
    """Keep a verified genesis, durably."""
    write_atomically(data.genesis_path, msgspec.json.format(msgspec.json.encode(signed.to_json()), indent=2))


def load_genesis(data: DataFolder, sovereign: bytes) -> SignedGenesis | None:
    """The stored genesis, verified again; None where none was stored. Raises `StorageError` or `SettingsError`."""
    path = data.genesis_path
    try:
        signed = parse_signed_genesis(canonical.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, InvalidInput) as error:
        raise StorageError(
            f"the genesis {path} cannot be read: {error}", remedy="remove it: it is fetched from the mesh again"
        ) from None
    verify_genesis(signed, sovereign, str(path))
    return signed
