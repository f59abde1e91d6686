"""The proxy between real sockets on loopback. Nothing here waits for time: only for what must arrive."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tana.types.errors import Unavailable
from testbed.backends.base import MESH, Pair
from testbed.ports import HOST
from testbed.proxy.lane import Lane
from testbed.proxy.proxy import LinkProxy
from tests.testbed.proxy.frames import HEAD, make_frame

THERE, BACK = ("a", "b"), ("b", "a")
TO_MESH = ("a", MESH)
TIMEOUT_S = 60


class Stage:
    """`a` dials `b` and the mesh through a proxy."""

    def __init__(self) -> None:
        self.listeners = {pair: socket.create_server((HOST, 0)) for pair in (THERE, TO_MESH)}
        for listener in self.listeners.values():
            listener.settimeout(TIMEOUT_S)
        self.proxy = LinkProxy({pair: listener.getsockname() for pair, listener in self.listeners.items()}, "1")
        self._sockets: list[socket.socket] = []

    def dial(self, pair: Pair = THERE) -> socket.socket:
        return self._keep(socket.create_connection(self.proxy.get_address(pair), TIMEOUT_S))

    def accept(self, pair: Pair = THERE) -> socket.socket:
        return self._keep(self.listeners[pair].accept()[0])

    def connect(self) -> tuple[socket.socket, socket.socket]:
        near = self.dial()
        near.sendall(HEAD)
        far = self.accept()
        assert receive(far, len(HEAD)) == HEAD
        return near, far

    def wait_until(self, condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(TIMEOUT_S * 100):
            if condition():
                return
            pause.wait(0.01)
        raise AssertionError("the condition never held")

    def wait_count(self, what: str, count: int) -> None:
        self.wait_until(lambda: self.proxy.count(what) >= count)

    def close(self) -> None:
        self.proxy.stop()
        for item in (*self._sockets, *self.listeners.values()):
            item.close()

    def _keep(self, connection: socket.socket) -> socket.socket:
        connection.settimeout(TIMEOUT_S)
        self._sockets.append(connection)
        return connection


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        assert chunk, f"the connection ended after {data!r}"
        data += chunk
    return data


def is_empty(connection: socket.socket) -> bool:
    """Whether nothing has arrived, not even the end."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(TIMEOUT_S)
    return False


def is_over(connection: socket.socket) -> bool:
    """Wait for the end of a connection, in whatever way it comes."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_what_is_sent_arrives_both_ways(stage: Stage) -> None:
    near, far = stage.connect()
    messages = b"".join(make_frame(b"%d" % number * number) for number in range(200))
    near.sendall(messages)
    assert receive(far, len(messages)) == messages
    far.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + messages)
    assert receive(near, 36 + len(messages)).endswith(messages)
    assert stage.proxy.count("sent") == 400


def test_nothing_passes_a_cut_until_it_is_healed(stage: Stage) -> None:
    near, far = stage.connect()
    stage.proxy.cut([THERE])
    sent = b"".join(make_frame(b"%d" % number) for number in range(3))
    near.sendall(sent)
    stage.wait_count("cut", 3)
    far.sendall(b"the other direction")
    assert receive(near, 19) == b"the other direction"
    assert is_empty(far)
    assert not stage.proxy.carries(THERE)
    assert stage.proxy.carries(BACK)
    stage.proxy.heal([THERE])
    assert receive(far, len(sent)) == sent
    stage.wait_until(lambda: stage.proxy.carries(THERE))


def test_a_healed_way_carries_once_something_came_through(stage: Stage) -> None:
    near, far = stage.connect()
    stage.proxy.cut([THERE])
    stage.proxy.heal([THERE])
    assert not stage.proxy.carries(THERE)
    near.sendall(make_frame(b"first"))
    receive(far, 7)
    assert stage.proxy.carries(THERE)


def test_no_connection_comes_about_over_a_cut(stage: Stage) -> None:
    stage.proxy.cut([THERE])
    near = stage.dial()
    near.sendall(HEAD)
    stage.wait_count("cut", 1)
    assert is_nobody_there(stage.listeners[THERE])
    stage.proxy.heal([THERE])
    assert receive(stage.accept(), len(HEAD)) == HEAD


def is_nobody_there(listener: socket.socket) -> bool:
    listener.setblocking(False)
    try:
        listener.accept()
    except BlockingIOError:
        return True
    finally:
        listener.settimeout(TIMEOUT_S)
    return False


def test_whoever_is_cut_off_does_not_learn_that_the_other_is_gone(stage: Stage) -> None:
    near, far = stage.connect()
    stage.proxy.cut([THERE])
    near.close()
    far.sendall(b"are you there?")
    assert is_empty(far)
    stage.proxy.heal([THERE])
    assert is_over(far)


def test_reset_ends_both_sides(stage: Stage) -> None:
    near, far = stage.connect()
    assert stage.proxy.reset([BACK]) == 1
    assert is_over(near)
    assert is_over(far)
    assert not stage.proxy.carries(THERE)
    near, far = stage.connect()
    stage.wait_until(lambda: stage.proxy.carries(THERE))


def test_reset_behind_a_cut_is_felt_on_one_side_only(stage: Stage) -> None:
    near, far = stage.connect()
    stage.proxy.cut([THERE])
    stage.proxy.reset([THERE])
    assert is_over(near)
    assert is_empty(far)
    stage.proxy.heal([THERE])
    assert is_over(far)


def test_the_end_of_one_direction_leaves_the_other(stage: Stage) -> None:
    near, far = stage.connect()
    near.sendall(make_frame(b"last"))
    near.shutdown(socket.SHUT_WR)
    assert receive(far, 6) == make_frame(b"last")
    assert far.recv(1) == b""
    far.sendall(b"answer")
    assert receive(near, 6) == b"answer"
    far.close()
    assert is_over(near)


def test_a_stream_that_ends_within_a_frame_passes(stage: Stage) -> None:
    near, far = stage.connect()
    near.sendall(make_frame(b"never whole")[:5])
    near.shutdown(socket.SHUT_WR)
    assert receive(far, 5) == make_frame(b"never whole")[:5]


def test_other_protocols_pass_to_the_mesh(stage: Stage) -> None:
    near = stage.dial(TO_MESH)
    near.sendall(b"GET /health HTTP/1.1\r\n\r\nG")
    far = stage.accept(TO_MESH)
    assert receive(far, 25) == b"GET /health HTTP/1.1\r\n\r\nG"
    stage.proxy.cut([(MESH, "a")])
    far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    stage.wait_count("cut", 1)
    assert is_empty(near)


def test_invalid_target_that_refuses(stage: Stage) -> None:
    stage.listeners[THERE].close()
    near = stage.dial()
    near.sendall(HEAD)
    assert is_over(near)


def test_invalid_rubbish_arrives_as_it_was_sent(stage: Stage) -> None:
    near, far = stage.connect()
    rubbish = b"\x82\xff" + b"\xff" * 4096
    near.sendall(rubbish)
    assert receive(far, len(rubbish)) == rubbish


def test_a_bug_inside_is_told_to_whoever_asks_next(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Lane, "put", fail)
    stage.dial().sendall(HEAD)

    def has_failed() -> bool:
        try:
            stage.proxy.count("sent")
        except Unavailable as error:
            return "ZeroDivisionError" in error.message
        return False

    stage.wait_until(has_failed)


def test_stop_ends_everything_and_may_come_twice(stage: Stage) -> None:
    near, far = stage.connect()
    address = stage.proxy.get_address(THERE)
    stage.proxy.stop()
    assert is_over(near)
    assert is_over(far)
    stage.proxy.stop()
    with pytest.raises(ConnectionError):
        socket.create_connection(address, TIMEOUT_S)
