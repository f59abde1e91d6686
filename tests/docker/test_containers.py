"""What faults and checks do to the containers of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tana.types.errors import TanaError
from testbed.backends.base import CONTROL, MESH, Containers, Request
from testbed.backends.docker import DockerBackend, make_docker_backend
from testbed.backends.docker_model import MESH_PORT, PORTS
from testbed.plan import make_plan
from testbed.scenario import load_scenario
from tests.docker.clusters import docker, list_left
from tests.testbed.small import write_small

NODE = "validator-1"


@pytest.fixture(scope="module", params=["bridge", "tailnet"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerBackend]:
    folder: Path = tmp_path_factory.mktemp("run")
    (folder / "logs").mkdir()
    scenario = load_scenario(write_small(folder))
    plan = make_plan(scenario, 1, MESH_PORT, [PORTS] * 2)
    made = make_docker_backend(plan, folder, request.param, say=print)
    try:
        made.start_mesh()
        for node in plan.node_ids:
            made.start_validator(node)
        wait_answering(made, NODE)
        yield made
    finally:
        made.cleanup()
    made.cleanup()
    assert list_left(made.project) == []


@pytest.fixture
def containers(backend: DockerBackend) -> Containers:
    assert backend.containers is not None
    return backend.containers


def wait_answering(backend: DockerBackend, node: str) -> None:
    while not backend.request_all([Request(node, "status", "GET", "/health")])[0].is_ok:
        assert backend.is_running(node), backend.describe_exit(node)
        backend.advance()


def test_killed_and_started(backend: DockerBackend) -> None:
    assert backend.is_running(NODE)
    backend.kill(NODE)
    assert not backend.is_running(NODE)
    assert backend.describe_exit(NODE) == "it was killed"
    backend.start_validator(NODE)
    wait_answering(backend, NODE)


def test_paused_and_resumed(backend: DockerBackend, containers: Containers) -> None:
    backend.pause(NODE)
    assert backend.is_running(NODE)
    assert not containers.is_up(NODE, "service")
    backend.resume(NODE)
    wait_answering(backend, NODE)


def test_log_goes_on_after_a_restart(backend: DockerBackend, containers: Containers) -> None:
    backend.read_log(NODE)
    containers.act(NODE, "service", "restart")
    wait_answering(backend, NODE)
    assert backend.read_log(NODE)


def test_commands_inside_and_beside(containers: Containers) -> None:
    assert containers.run(NODE, "service", ["sh", "-c", "id -u; exit 3"]) == (3, "10001\n")
    code, output = containers.run_beside(NODE, ["ip", "-4", "-o", "addr", "show", "eth0"])
    assert code == 0
    assert containers.get_underlay_ip(NODE) in output
    code, output = containers.run_beside(NODE, ["iptables", "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP"])
    assert code == 0, output
    assert containers.run_beside(NODE, ["iptables", "-D", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP"])[0] == 0
    with pytest.raises(TanaError, match="sleep did not end within 1 s"):
        containers.run(NODE, "service", ["sleep", "5"], timeout_s=1)


def test_off_the_network_and_back(backend: DockerBackend, containers: Containers) -> None:
    address = containers.get_underlay_ip(NODE)
    assert address
    containers.disconnect(NODE)
    assert containers.get_underlay_ip(NODE) == ""
    containers.connect(NODE)
    assert containers.get_underlay_ip(NODE) == address
    code, output = containers.run(MESH, "service", ["getent", "hosts", NODE])
    assert (code, output.split()[0]) == (0, address)
    wait_answering(backend, NODE)


def test_ports_are_found_again_after_the_anchor_was_restarted(backend: DockerBackend, containers: Containers) -> None:
    containers.act(NODE, "service", "stop")
    if containers.network == "tailnet":
        containers.act(NODE, "sidecar", "stop")
    containers.act(NODE, "anchor", "restart")
    if containers.network == "tailnet":
        containers.act(NODE, "sidecar", "start")
    containers.act(NODE, "service", "start")
    wait_answering(backend, NODE)


def test_wishes_reach_a_node_that_runs_and_one_that_does_not(backend: DockerBackend, containers: Containers) -> None:
    read = ["cat", "/data/control.json"]
    backend.control(NODE, "heartbeat", "off")
    assert containers.run(NODE, "service", read) == (0, '{"heartbeat": "off"}')
    backend.stop(NODE)
    backend.control(NODE, "heartbeat", "on")
    backend.start_validator(NODE)
    wait_answering(backend, NODE)
    assert containers.run(NODE, "service", read) == (0, '{"heartbeat": "on"}')
    backend.control(NODE, "heartbeat", "off")
    assert containers.run(NODE, "service", read) == (0, '{"heartbeat": "off"}')


def test_end_of_a_sidecar_is_told_where_it_is_not_excused(backend: DockerBackend, containers: Containers) -> None:
    if containers.network == "bridge":
        return
    containers.excuse(NODE, "sidecar")
    docker("kill", f"{backend.project}-{NODE}-tailscale-1")
    while containers.is_up(NODE, "sidecar"):
        backend.advance()
    backend.advance()
    containers.watch(NODE, "sidecar")
    with pytest.raises(TanaError, match=f"{NODE}-tailscale: it ended with exit code 137"):
        backend.advance()
    containers.act(NODE, "sidecar", "start")
    backend.advance()


def test_control_server(containers: Containers) -> None:
    if containers.network == "bridge":
        assert not containers.is_up(CONTROL, "service")
        return
    containers.act(CONTROL, "service", "stop")
    assert not containers.is_up(CONTROL, "service")
    containers.act(CONTROL, "service", "start")
    assert containers.is_up(CONTROL, "service")
