"""One validator as a running thing: four listeners, the machine, its disk, its links and its conversations.

data folder locked → keys → listeners answer (`pending`) → genesis (stored, or from the mesh) → ledger restored →
machine started → links, heartbeats, discovery → … → stop: listeners closed, log flushed, folder unlocked
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve

from tana.auth.keys import KeyRegistry
from tana.crypto import keys
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.api import NodeApi, NodeInfo
from tana.node.discovery import Discovery
from tana.node.driver import Driver
from tana.node.folder import DataFolder
from tana.node.heartbeat import Health, Heartbeats
from tana.node.hooks import NO_HOOKS, Beginning, Hooks
from tana.node.http import HttpListener, NodeApp, open_listener
from tana.node.identity import NodeIdentity, build_node_registration, open_sign_state, prepare_node
from tana.node.joining import Denied, Joining, load_genesis
from tana.node.links import CLOSE_REFUSED, Links, LinkTiming, PlaceCheck, get_connection_options
from tana.node.machine import Machine, MachineConfig
from tana.node.mesh import MeshConnection
from tana.node.metrics import Gauges, Metrics
from tana.node.peers import PeerBook
from tana.node.settings import ValidatorSettings
from tana.node.store import ChainStore
from tana.node.tailnet import check_place, join_tailnet, make_doorkeeper, read_gateway
from tana.node.tailscale import Tailscale
from tana.node.views import show_recovery
from tana.t4.app import create_t4_app
from tana.t4.store import ContentStore
from tana.types.errors import StorageError
from tana.types.genesis import SignedGenesis

_log = structlog.get_logger()

OnListening = Callable[[dict[str, int]], None]


async def run_validator(
    settings: ValidatorSettings,
    hooks: Hooks = NO_HOOKS,
    *,
    stop: asyncio.Event | None = None,
    on_listening: OnListening | None = None,
) -> None:
    """Run until SIGTERM or SIGINT (or until `stop`, where one is given), then return within a second.

    `on_listening` is told the port of each listener once they answer. Raises `SettingsError` or `StorageError` where
    the node cannot run as it is set up, and whatever made it stop on its own.
    """
    data = DataFolder(settings.data_path)
    data.open()
    try:
        if settings.tailscale_socket:
            settings = await join_tailnet(settings)
        identity = prepare_node(data.root, settings.node_id, settings.config_path)
        async with contextlib.AsyncExitStack() as stack:
            node = _Node(settings, hooks, data, identity, stack)
            ports = await node.listen()
            if on_listening is not None:
                on_listening(ports)
            try:
                with _catch_signals(stop) as stopping:
                    await node.run_until(stopping)
            finally:
                await node.stop_listening()
            _log.info("stopping", node_id=settings.node_id)
    finally:
        data.close()


class _Node:
    """The parts of one run. `stack` closes them in reverse order."""

    def __init__(
        self,
        settings: ValidatorSettings,
        hooks: Hooks,
        data: DataFolder,
        identity: NodeIdentity,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._hooks = hooks
        self._data = data
        self._identity = identity
        self._stack = stack
        # Off the tailnet this address is gone: then nothing leaves by another way, such as the bridge's gateway.
        self._source = settings.ip if settings.tailscale_socket else ""
        self._loop = asyncio.get_running_loop()
        self._fatal: asyncio.Future[None] = self._loop.create_future()
        self._links: asyncio.Future[Links] = self._loop.create_future()
        self._driver: Driver | None = None
        self._discovery: Discovery | None = None
        self._ports: dict[str, int] = {}
        self._listeners: list[HttpListener] = []
        self._peer_server: Server | None = None
        self._timing = LinkTiming()
        self._content_path = Path(settings.content_dir).expanduser() if settings.content_dir else data.content_path
        self._info = NodeInfo(identity.node_id, identity.key.public_key)
        self._api = NodeApi(self._info)
        self._metrics = Metrics(self._read_gauges)
        is_welcome = make_doorkeeper(read_gateway()) if settings.tailscale_socket else None
        self._ledger_app = NodeApp("ledger", self._api, is_welcome=is_welcome)
        self._status_app = NodeApp("status", self._api, self._metrics.render, is_welcome=is_welcome)
        self._service_keys = KeyRegistry(data.service_keys_path)
        self._book = PeerBook(data.peers_path)

    # ------------------------------------------------------------------ listeners

    async def listen(self) -> dict[str, int]:
        """Bind all four ports, then answer on them. Raises `SettingsError` naming a port that cannot be had."""
        content = ContentStore(self._content_path)
        sockets = {}
        hosts = self._settings.get_hosts()
        for name, port in self._settings.get_ports().items():
            sockets[name] = open_listener(name, hosts[name], port)
            self._stack.callback(sockets[name].close)
        self._ports = {name: listener.getsockname()[1] for name, listener in sockets.items()}
        apps: dict[str, Any] = {
            "ledger": self._ledger_app,
            "status": self._status_app,
            "t4": create_t4_app(content, self._service_keys, self._hooks.now_ms),
        }
        self._listeners = [HttpListener(app, sockets[name]) for name, app in apps.items()]
        for listener in self._listeners:
            listener.start()
        self._peer_server = await serve(
            self._accept, sock=sockets["peer"], server_header=None, **get_connection_options(self._timing)
        )
        _log.info("listening", node_id=self._identity.node_id, **{f"{name}_port": p for name, p in self._ports.items()})
        return self._ports

    async def stop_listening(self) -> None:
        """Take nothing in any more; requests under way are answered, as far as half a second allows."""
        if self._peer_server is not None:
            self._peer_server.close()
        await asyncio.gather(*(listener.stop() for listener in self._listeners))

    async def _accept(self, connection: ServerConnection) -> None:
        """A peer that comes before this node has its genesis waits for it, up to the handshake's timeout."""
        try:
            links = await asyncio.wait_for(asyncio.shield(self._links), self._timing.handshake_timeout_ms / 1000)
        except TimeoutError:
            await connection.close(CLOSE_REFUSED, "not ready")
            return
        try:
            await links.accept(connection)
        except Exception:
            # The WebSocket library would swallow it.
            _log.exception("link_failed")
            raise

    # ------------------------------------------------------------------ life

    async def run_until(self, stopping: asyncio.Event) -> None:
        """Live until told to stop. Raises what ended the node otherwise."""
        living = asyncio.create_task(self._live())
        told = asyncio.create_task(stopping.wait())
        tasks: list[asyncio.Future[Any]] = [living, told, self._fatal]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._fatal, living):
                if ended.done():
                    ended.result()
        finally:
            if self._driver is not None:
                self._driver.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self) -> None:
        mesh = MeshConnection(self._settings.mesh_url, source=self._source)
        self._stack.push_async_callback(mesh.close)
        registration = build_node_registration(self._settings, self._identity, self._ports)
        joining = Joining(mesh, self._info, registration, self._settings.sovereign_key)
        signed = load_genesis(self._data, self._settings.sovereign_key)
        if signed is None:
            try:
                signed = await joining.join(self._data)
            except Denied:
                self._info.state = "stopped"
                self._info.reason = "the sovereign denied this node, for good; register a new node id with a new key"
                _log.error("denied", node_id=self._identity.node_id)
                await asyncio.Event().wait()
        assert signed is not None, "joining ends with a genesis"
        links = self._begin(signed)
        discovery = Discovery(
            mesh,
            info=self._info,
            book=self._book,
            service_keys=self._service_keys,
            links=links,
            get_validators=self._get_validators,
        )
        self._discovery = discovery
        discovery.apply()
        await asyncio.gather(discovery.run(), self._create_heartbeats(mesh, joining).run())

    def _begin(self, signed: SignedGenesis) -> Links:
        """Open the chain and start the machine on it."""
        store, ledger = open_chain(self._data, signed)
        self._stack.callback(store.close)
        ledger = self._hooks.wrap_ledger(ledger)
        key = self._identity.key
        sign_state = open_sign_state(self._data, key, signed.chain_id, store)
        if sign_state.log is not None:
            self._stack.callback(sign_state.log.close)
            self._info.recovered = next(map(show_recovery, reversed(sign_state.log.recoveries)), None)
        abstain_reason = sign_state.abstain_reason
        if sign_state.is_lost:
            abstain_reason += f". Here that is: {describe_recovery(self._settings)}"
        machine = Machine(
            create_machine_config(self._settings),
            ledger,
            Mempool(ledger),
            key if sign_state.log is not None else None,
            keys.verify,
            own_key=key.public_key,
            records=sign_state.records,
            sign_floor=sign_state.sign_floor,
            abstain_reason=abstain_reason,
        )
        self._hooks.on_begin(
            Beginning(
                signed.genesis,
                machine,
                key,
                keys.verify,
                sign_state.records,
                sign_state.sign_floor,
                sign_state.abstain_reason,
            )
        )
        driver = Driver(
            machine,
            log=sign_state.log,
            store=store,
            metrics=self._metrics,
            hooks=self._hooks,
            on_fatal=self._on_fatal,
            on_validators_changed=self._on_validators_changed,
        )
        links = Links(
            driver,
            signer=key,
            chain_id=signed.chain_id,
            verifier=keys.verify,
            is_admitted=self._is_admitted,
            check_place=self._make_place_check(),
            source=self._source,
            get_route=self._hooks.get_route,
            timing=self._timing,
        )
        self._stack.push_async_callback(links.close)
        self._driver = driver
        _log.info(
            "chain_opened", chain_id=signed.chain_id.hex(), height=store.height, can_sign=sign_state.log is not None
        )
        driver.start(links)
        self._api.start(machine, store, driver.submit, lambda: links.addresses)
        self._ledger_app.waiters = driver.waiters
        self._links.set_result(links)
        return links

    def _make_place_check(self) -> PlaceCheck | None:
        """What asks the Tailscale daemon beside this node whose a peer's address is; None on any other network."""
        if not self._settings.tailscale_socket:
            return None
        tailscale = Tailscale(self._settings.tailscale_socket)
        self._stack.push_async_callback(tailscale.close)

        async def check(peer: bytes, host: str, port: int) -> None:
            check_place(await tailscale.who_is(host, port), self._get_claims(peer))

        return check

    def _create_heartbeats(self, mesh: MeshConnection, joining: Joining) -> Heartbeats:
        return Heartbeats(
            mesh,
            signer=self._identity.key,
            node_id=self._identity.node_id,
            ip=self._settings.ip or None,
            interval_ms=self._settings.heartbeat_interval_ms,
            now_ms=self._hooks.now_ms,
            read_health=self._read_health,
            may_send=self._hooks.may_send_heartbeat,
            on_unknown=joining.register,
            on_failure=self._metrics.heartbeat_failures.inc,
        )

    # ------------------------------------------------------------------ questions

    def _get_machine(self) -> Machine:
        assert self._driver is not None, "asked only once the machine runs"
        return self._driver.machine

    def _get_validators(self) -> frozenset[bytes]:
        return frozenset(item.public_key for item in self._get_machine().ledger.validators.validators)

    def _is_admitted(self, key: bytes) -> bool:
        return self._get_machine().ledger.validators.get_power(key) > 0 or key in self._book

    def _get_claims(self, key: bytes) -> tuple[str, ...]:
        """Where a peer says it is on the tailnet: as it registered, else by its name on the chain."""
        entry = self._book.get(key)
        if entry is not None:
            return tuple(filter(None, (entry.hostname, entry.host)))
        validators = self._get_machine().ledger.validators.validators
        return tuple(item.node_id for item in validators if item.public_key == key)

    def _read_health(self) -> Health:
        status = self._get_machine().status()
        healthy = {
            "ledger": status.state != "stopped",
            "t4": os.access(self._content_path, os.W_OK),
            "consensus": status.state not in ("stopped", "abstaining"),
        }
        consensus = {
            "height": status.height,
            "blockHash": status.block_hash.hex(),
            "stateRoot": status.state_root.hex(),
            "state": status.state,
        }
        return healthy, consensus

    def _read_gauges(self) -> Gauges | None:
        if not self._links.done() or self._driver is None:
            return None
        links, machine = self._links.result(), self._driver.machine
        status = machine.status()
        return Gauges(
            height=status.height,
            round=status.round,
            peers=len(status.peers),
            mempool_transactions=len(machine.mempool),
            mempool_bytes=machine.mempool.size_bytes,
            link_frames_dropped=links.dropped_frames,
            links_refused=links.refused_links,
        )

    def _on_validators_changed(self) -> None:
        if self._discovery is not None:
            self._discovery.on_validators_changed()

    def _on_fatal(self, error: BaseException) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)


def open_chain(data: DataFolder, signed: SignedGenesis) -> tuple[ChainStore, Ledger]:
    """The chain's database and the ledger at its tip. Raises `StorageError` naming the file and the remedy."""
    ledger = Ledger.from_genesis(signed.genesis)
    store = ChainStore.open(data.chain_path, signed.chain_id, ledger.tree.items())
    try:
        tip = store.get_tip_header()
        if tip is not None:
            ledger = Ledger.restore(signed.genesis, store.load_entries(), tip)
    except StorageError as error:
        store.close()
        raise StorageError(f"{store.path}: {error.message}", remedy=error.remedy, code=error.code) from None
    return store, ledger


def describe_recovery(settings: ValidatorSettings) -> str:
    """The command that an operator types to make a new sign-state for this node."""
    words = ["tana validator recover", "--node-id", settings.node_id, "--data", str(settings.data_path)]
    if settings.config_path is not None:
        words += ["--config-dir", str(settings.config_path)]
    return " ".join([*words, "--mesh-url", settings.mesh_url])


def create_machine_config(settings: ValidatorSettings) -> MachineConfig:
    """The machine's timing from the settings."""
    return MachineConfig(
        propose_timeout_ms=settings.propose_timeout_ms,
        prevote_timeout_ms=settings.prevote_timeout_ms,
        precommit_timeout_ms=settings.precommit_timeout_ms,
        timeout_delta_ms=settings.timeout_delta_ms,
        empty_block_interval_ms=settings.empty_block_interval_ms or None,
        announce_interval_ms=settings.announce_interval_ms,
        min_block_interval_ms=settings.min_block_interval_ms,
    )


@contextlib.contextmanager
def _catch_signals(stop: asyncio.Event | None) -> Iterator[asyncio.Event]:
    """The event that ends the node: the given one, or one that SIGTERM and SIGINT set."""
    if stop is not None:
        yield stop
        return
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
