"""tailnet: the steps that show that what the members say to each other is on the tailnet, and cannot be elsewhere.

Whatever is recorded here was answered by a member, its kernel or its Tailscale; the checkers of
`testbed.checkers.tailnet` judge it. The traffic itself is looked at in `testbed.runner.tailnet_traffic`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tana.client.registration import build_heartbeat, build_registration, build_service
from testbed import tailnet
from testbed.backends.base import CONTROL, MESH, Answer, Place
from testbed.cluster import Cluster
from testbed.commands import ask_inside, run_inside
from testbed.faults.firewall import DROP, LEAVE_ALONE, LOCAL_INTERFACES, Firewall, find_subnet, make_guard
from testbed.faults.sidecars import describe_state, read_status
from testbed.runner.settle import wait_progress, wait_whole
from testbed.runner.start import OUTSIDER
from testbed.runner.tailnet_traffic import traffic
from testbed.steps import TailnetClaims, TailnetDoors, TailnetFirewall, TailnetLinks, TailnetPlaces, TailnetRestarts

LEDGER_PORT, T4_PORT, PEER_PORT, STATUS_PORT, MESH_PORT = 8080, 8180, 9000, 9001, 8190
PORTS = {MESH: (MESH_PORT,)}
VALIDATOR_PORTS = (LEDGER_PORT, T4_PORT, PEER_PORT, STATUS_PORT)
PLACES: tuple[Place, ...] = ("service", "sidecar", "anchor")


def places(cluster: Cluster, step: TailnetPlaces) -> None:
    """Every member: who and where it is, and which way it would send to each of the others."""
    members = list_members(cluster)
    cluster.require(
        lambda: all(knows_all(cluster, member) for member in members),
        "tailnet_interface",
        "every member's Tailscale to know every other",
        step.timeout_ms,
        explain=lambda: "; ".join(describe_state(cluster.containers, member) for member in members),
    )
    for member in members:
        record_place(cluster, member, "at first")


def knows_all(cluster: Cluster, member: str) -> bool:
    status = read_status(cluster.containers, member)
    others = [name for name in list_members(cluster) if name != member]
    return status is not None and all(status.find_peer(name) is not None for name in others)


def record_place(cluster: Cluster, member: str, when: str) -> None:
    containers = cluster.containers
    status, own = read_status(containers, member), tailnet.read_own_node(containers, member)
    assert status is not None, "it told who it is"
    peers = [peer for name in list_members(cluster) if (peer := status.find_peer(name)) is not None and peer.ip]
    cluster.record(
        "tailnet_place",
        member,
        when=when,
        state=status.state,
        is_tun=status.is_tun,
        id=own.id,
        name=own.name,
        ip=own.ip,
        routes={peer.name: tailnet.find_device(containers, member, peer.ip) for peer in peers},
    )


def links(cluster: Cluster, step: TailnetLinks) -> None:
    """Where each peer link leads, by the validator's own word, and whose place that is; then false ones."""
    nodes = cluster.plan.node_ids

    def is_linked(node: str) -> bool:
        health = cluster.view.health.get(node)
        return health is not None and health["peers"] == len(nodes) - 1

    cluster.require(
        lambda: all(is_linked(node) for node in nodes),
        "tailnet_links",
        "every validator to have a link to every other",
        step.timeout_ms,
        explain=lambda: ", ".join(f"{node} has {(cluster.view.health[node] or {}).get('peers')}" for node in nodes),
    )
    for node in nodes:
        answer = cluster.ask(node, "status", "GET", "/peers")
        for row in answer.body["peers"] if answer.is_ok else ():
            owner = tailnet.find_owner(cluster.containers, node, row["address"])
            cluster.record("tailnet_link", node, peer=row["id"], address=row["address"], owner=owner)
    for node in nodes:
        claim_link(cluster, node)


def claim_link(cluster: Cluster, target: str) -> None:
    """A validator knocks at another with the key of a third, which is the one to dial: the lower key does."""
    plan = cluster.plan
    lower = [node for node in plan.nodes if node.key.public_key < plan.get_node(target).key.public_key]
    for claimed in lower:
        source = next(name for name in plan.node_ids if name not in (target, claimed.node_id))
        ip = tailnet.read_own_node(cluster.containers, target).ip
        health = cluster.view.health[target] or {}
        words = ("link", ip, str(PEER_PORT), claimed.key.seed.hex(), health["chain_id"])
        answer = run_inside(cluster.containers, source, *words)
        cluster.record("tailnet_link_claim", target, source=source, claimed=claimed.node_id, answer=answer)


def doors(cluster: Cluster, step: TailnetDoors) -> None:
    """How the ports of each member answer another one, on the bridge and on the tailnet."""
    for target, source in pair_members(cluster):
        knock(cluster, source, target, "bridge")
        knock(cluster, source, target, "tailnet")


def knock(cluster: Cluster, source: str, target: str, way: str) -> None:
    containers = cluster.containers
    host = tailnet.read_own_node(containers, target).ip if way == "tailnet" else containers.get_underlay_ip(target)
    ports = PORTS.get(target, VALIDATOR_PORTS)
    answers = run_inside(containers, source, "knock", host, *map(str, ports))
    for port in ports:
        cluster.record("tailnet_knock", target, source=source, way=way, port=port, answer=answers[str(port)])


def firewall(cluster: Cluster, step: TailnetFirewall) -> None:
    """Nothing but WireGuard and the control server passes the bridge, in any namespace; the chain goes on."""
    walls = [BridgeWall(cluster, member) for member in list_members(cluster)]
    for wall in walls:
        wall.insert()
        cluster.record("tailnet_firewall", wall.member, phase="on", passed=wall.count_passed())
    try:
        for target, source in pair_members(cluster):
            knock(cluster, source, target, "firewalled")
        why = "the bridge carries WireGuard and the control server only"
        wait_progress(cluster, cluster.plan.node_ids, step.heights, why, step.timeout_ms)
    finally:
        for wall in walls:
            passed, dropped = wall.count_passed(), wall.count_dropped()
            wall.remove()
            cluster.record("tailnet_firewall", wall.member, phase="off", passed=passed, dropped=dropped)


class BridgeWall(Firewall):
    """What a member may still send and receive on the bridge. The gateway is the host, where the testbed asks from."""

    def __init__(self, cluster: Cluster, member: str) -> None:
        containers = cluster.containers
        port = str(tailnet.WIREGUARD_PORT)
        control, gateway = containers.get_underlay_ip(CONTROL), tailnet.find_gateway(containers, member)
        rules: list[tuple[str, ...]] = [(way, name, *LEAVE_ALONE) for name in LOCAL_INTERFACES for way in ("-i", "-o")]
        rules += [("-p", "udp", "--sport", port, "--dport", port, "-j", "ACCEPT")]
        rules += [(way, control, *LEAVE_ALONE) for way in ("-s", "-d")]
        rules += [("-p", "tcp", way, gateway, *LEAVE_ALONE) for way in ("-s", "-d")]
        super().__init__(containers, member, "proof", [*rules, DROP])

    def count_passed(self) -> int:
        """WireGuard's packets so far."""
        return self.count()["ACCEPT"]


def claims(cluster: Cluster, step: TailnetClaims) -> None:
    """A validator speaks to the mesh as somebody else, over the tailnet and in vain; the mesh writes it down."""
    plan, containers = cluster.plan, cluster.containers
    victim, liar = plan.nodes[0], plan.node_ids[1]
    own = tailnet.read_own_node(containers, liar)
    mesh = f"http://{tailnet.read_own_node(containers, MESH).ip}:{MESH_PORT}"
    services = [build_service("consensus", PEER_PORT, plan.outsider.public_text)]
    victim_ip = tailnet.read_own_node(containers, victim.node_id).ip
    attempts: list[tuple[str, str, Any]] = [
        (
            "a registration in another's name",
            "/register",
            build_registration(plan.outsider, OUTSIDER, victim.node_id, own.ip, services),
        ),
        (
            "a registration with another's address",
            "/register",
            build_registration(plan.outsider, OUTSIDER, liar, victim_ip, services),
        ),
        (
            "another's heartbeat, signed with its key",
            "/heartbeat",
            build_heartbeat(victim.key, victim.node_id, cluster.backend.now_ms() + 1),
        ),
    ]
    for what, path, body in attempts:
        cluster.backend.read_log(MESH)
        status, answer = ask_inside(containers, liar, "POST", mesh + path, body)
        entries: list[dict[str, Any]] = []

        def is_logged(found: list[dict[str, Any]] = entries) -> bool:
            found += [item for item in cluster.backend.read_log(MESH) if item.get("event") == "mesh_claim_refused"]
            return bool(found)

        cluster.wait_until(is_logged, f"the mesh to write down {what}", step.timeout_ms)
        visitor = str(entries[0].get("visitor", "")) if entries else ""
        record_claim(cluster, what, liar, Answer(status, answer), visitor)
    what, path, body = attempts[0]
    record_claim(cluster, "a registration", "the host", cluster.ask_mesh("POST", path, body))


def record_claim(cluster: Cluster, what: str, source: str, answer: Answer, visitor: str = "") -> None:
    """`visitor` is who the mesh's log names."""
    code = answer.body.get("code", "") if isinstance(answer.body, dict) else str(answer.body)
    cluster.record(
        "tailnet_claim", MESH, what=what, source=source, status=answer.status, code=code, logged_visitor=visitor
    )


def restarts(cluster: Cluster, step: TailnetRestarts) -> None:
    """Every container in turn; after each the cluster is whole again, and its member who and where it was."""
    turns: list[tuple[str, Place]] = [(CONTROL, "service")]
    turns += [(member, place) for member in list_members(cluster) for place in PLACES]
    for member, place in turns:
        was_down = restart(cluster, member, place)
        cluster.record("tailnet_restarted", member, place=place, was_down=was_down)
        wait_connected(cluster, list_members(cluster), step.timeout_ms)
        wait_whole(cluster, step.timeout_ms)
        why = f"{member}'s {place} was restarted"
        wait_progress(cluster, cluster.plan.node_ids, 1, why, step.timeout_ms)
        if member != CONTROL:
            record_place(cluster, member, f"after its {place} was restarted")
    cluster.record("tailnet_nodes", CONTROL, nodes=tailnet.list_control_nodes(cluster.containers))


def restart(cluster: Cluster, member: str, place: Place) -> bool:
    """Stop a container and start it again; whether it was seen down. A service is back on the data it has."""
    containers = cluster.containers
    # Those that live in an anchor's network go before it and come after it.
    down: tuple[Place, ...] = ("service", "sidecar", "anchor") if place == "anchor" else (place,)
    guard = None
    if place == "sidecar":
        guard = make_guard(containers, member, find_subnet(containers, member))
        guard.insert()
    if "service" in down:
        cluster.killed.add(member)
    for item in down:
        containers.act(member, item, "stop")
    was_down = not containers.is_up(member, place)
    for item in reversed(down):
        containers.act(member, item, "start")
    if guard is not None:
        guard.remove()
    if "service" in down:
        cluster.killed.discard(member)
        # Its blocks are read again from the first: they are the ones it had.
        cluster.view.read_height[member] = 0
        cluster.view.committed[member] = set()
    return was_down


def wait_connected(cluster: Cluster, members: list[str], timeout_ms: int) -> None:
    cluster.require(
        lambda: all(tailnet.is_connected(cluster.containers, member) for member in members),
        "tailnet_identity",
        "every member to be on the tailnet",
        timeout_ms,
        explain=lambda: "; ".join(describe_state(cluster.containers, member) for member in members),
    )


def list_members(cluster: Cluster) -> list[str]:
    """Everybody with a place on the tailnet."""
    return [MESH, *cluster.plan.node_ids]


def pair_members(cluster: Cluster) -> list[tuple[str, str]]:
    """Every member with another one."""
    members = list_members(cluster)
    return list(itertools.pairwise([*members, members[0]]))


STEPS: dict[str, Callable[[Cluster, Any], None]] = {
    "tailnet_places": places,
    "tailnet_links": links,
    "tailnet_doors": doors,
    "tailnet_firewall": firewall,
    "tailnet_traffic": traffic,
    "tailnet_claims": claims,
    "tailnet_restarts": restarts,
}
