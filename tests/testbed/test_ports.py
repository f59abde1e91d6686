"""Ports are free, ours until released, and can be listened on by a child meanwhile."""

from __future__ import annotations

import socket

import pytest

from testbed.ports import HOST, HeldPorts


@pytest.fixture
def held() -> HeldPorts:
    return HeldPorts()


def test_two_runs_never_hold_the_same_port(held: HeldPorts) -> None:
    other = HeldPorts()
    ports = [holder.take() for holder in (held, other) for _ in range(50)]
    assert len(set(ports)) == 100
    held.release()
    other.release()


def test_a_child_may_listen_again_and_again(held: HeldPorts) -> None:
    port = held.take()
    for _ in range(2):
        with socket.create_server((HOST, port)) as listener, socket.create_connection((HOST, port)) as client:
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"
    held.release()


def test_invalid_somebody_else_takes_a_held_port(held: HeldPorts) -> None:
    port = held.take()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind((HOST, port))
    held.release()


def test_a_validator_has_four_ports(held: HeldPorts) -> None:
    ports = held.take_validator()
    assert len({ports.ledger, ports.t4, ports.peer, ports.status}) == 4
    held.release()
