"""Knocking at a listener: who is let in, who is refused with which code, and who is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tana.crypto.keys import verify
from tana.node.handshake import Handshake
from tana.types.errors import TanaError
from testbed.backends.knocking import ADMITTED, knock_at
from testbed.plan import make_key
from testbed.ports import HOST, HeldPorts

CHAIN = b"c" * 32
FRIEND, STRANGER, VALIDATOR = (make_key(1, name) for name in ("friend", "stranger", "validator"))


def answer(connection: ServerConnection) -> None:
    handshake = Handshake(
        "listener",
        signer=VALIDATOR,
        chain_id=CHAIN,
        challenge=b"x" * 32,
        is_admitted=lambda key: key == FRIEND.public_key,
        verifier=verify,
    )
    try:
        handshake.read_hello(connection.recv(decode=False))
        connection.send(handshake.write_hello())
        handshake.read_proof(connection.recv(decode=False))
        connection.send(handshake.write_proof())
    except TanaError as error:
        connection.close(4001, error.code)


@pytest.fixture
def port() -> Iterator[int]:
    server: Server
    with serve(answer, HOST, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


def test_an_admitted_key(port: int) -> None:
    assert knock_at(HOST, port, FRIEND, CHAIN) == ADMITTED


def test_invalid_key_is_not_admitted(port: int) -> None:
    assert knock_at(HOST, port, STRANGER, CHAIN) == "unknown_peer"


def test_invalid_other_chain(port: int) -> None:
    assert knock_at(HOST, port, FRIEND, b"d" * 32) == "wrong_chain"


def test_nobody_listens() -> None:
    held = HeldPorts()
    assert knock_at(HOST, held.take(), FRIEND, CHAIN).startswith("no handshake: ")
    held.release()
