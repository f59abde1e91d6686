"""Tailnet: what members say to each other is on the tailnet and cannot be elsewhere; one check for each line of proof.

The other two lines, a node whose Tailscale is down and one that the policy denies, are faults: see the checks of faults
and of progress.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from testbed.backends.base import CONTROL, MESH
from testbed.checkers.base import Checker, join_names
from testbed.history import Event
from testbed.needs import ANSWERS, CONTAINERS, TAILNET
from testbed.tailnet import INTERFACE, UNDERLAY

RANGE = ipaddress.ip_network("100.64.0.0/10")
MTU_BYTES = 1280
PEER_ONLY_PORTS = frozenset({9000, 8180})
"""These listen on the tailnet only; the others also on the bridge, for its gateway."""
REFUSED, SILENT = "refused", "silent"


def is_on_tailnet(ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in RANGE
    except ValueError:
        return False


class TailnetChecker(Checker):
    """What the checks of this file share: the members, and which of them are still to be heard of."""

    needs = frozenset({ANSWERS, CONTAINERS, TAILNET})

    @property
    def members(self) -> tuple[str, ...]:
        return (MESH, *self.node_ids)

    def name_missing(self, wanted: Any, found: Any) -> str:
        """The ones that were not heard of, empty where all were."""
        return join_names(sorted(set(wanted) - set(found))) if set(wanted) - set(found) else ""


class TailnetInterface(TailnetChecker):
    """Every member's Tailscale uses the kernel's network, and its kernel sends to every other member by that."""

    name = "tailnet_interface"
    steps = frozenset({"tailnet_places"})

    def __init__(self) -> None:
        super().__init__()
        self._routes: dict[str, dict[str, str]] = {}

    def on_tailnet_place(self, event: Event) -> None:
        data, node = event.data, event.node
        if data["state"] != "Running" or not data["is_tun"]:
            self.violate(f"{node}: Tailscale is {data['state']} with TUN {data['is_tun']} ≠ Running with TUN True")
        if not is_on_tailnet(data["ip"]):
            self.violate(f"{node}: its address {data['ip']!r} is not in {RANGE}")
        if data["name"] != node:
            self.violate(f"{node}: on the tailnet it is {data['name']!r} ≠ {node!r}")
        for peer, device in data["routes"].items():
            if device != INTERFACE:
                self.violate(f"{node}: its way to {peer} is {device!r} ≠ {INTERFACE!r}")
        self._routes.setdefault(node, {}).update(data["routes"])

    def find_missing(self) -> str:
        if missing := self.name_missing(self.members, self._routes):
            return f"{missing} was not asked for its place"
        for node, routes in self._routes.items():
            if missing := self.name_missing(set(self.members) - {node}, routes):
                return f"{node} was not asked for its way to {missing}"
        return ""

    def summarize(self) -> str:
        count = sum(len(routes) for routes in self._routes.values())
        return f"{count} ways between {len(self._routes)} members are {INTERFACE}, TUN is on"


class TailnetLinks(TailnetChecker):
    """Each peer link leads to an address of the tailnet that belongs to the validator whose key it carries."""

    name = "tailnet_links"
    steps = frozenset({"tailnet_links"})

    def __init__(self) -> None:
        super().__init__()
        self._links: set[tuple[str, str]] = set()
        self._ips: dict[str, str] = {}
        self._claims: list[str] = []

    def on_tailnet_place(self, event: Event) -> None:
        self._ips[event.node] = event.data["ip"]

    def on_tailnet_link(self, event: Event) -> None:
        node, peer, address, owner = event.node, event.data["peer"], event.data["address"], event.data["owner"]
        ip = str(address).rpartition(":")[0]
        if not is_on_tailnet(ip):
            self.violate(f"{node}: its link with {peer} is with {address}, which is not in {RANGE}")
        if owner != peer:
            self.violate(f"{node}: its link with {peer} is with {address}, which is of {owner or 'nobody'} ≠ {peer}")
        if self._ips.get(peer, ip) != ip:
            self.violate(f"{node}: its link with {peer} is with {ip} ≠ {self._ips[peer]}, where {peer} is")
        self._links.add((node, peer))

    def on_tailnet_link_claim(self, event: Event) -> None:
        data = event.data
        if data["answer"] != "wrong_identity":
            self.violate(
                f"{event.node} answered a link from {data['source']} with {data['claimed']}'s key with"
                f" {data['answer']!r} ≠ 'wrong_identity'"
            )
        self._claims.append(f"{data['source']} as {data['claimed']} at {event.node}")

    def find_missing(self) -> str:
        for node in self.node_ids:
            peers = {peer for name, peer in self._links if name == node}
            if missing := self.name_missing(set(self.node_ids) - {node}, peers):
                return f"{node} did not show a link with {missing}"
        return "" if self._claims else "no link was tried with the key of another"

    def summarize(self) -> str:
        self.facts = {"refused_claims": list(self._claims)}
        return f"{len(self._links)} ends of links are in their peers' places; {len(self._claims)} false ones refused"


class TailnetDoors(TailnetChecker):
    """On the bridge no member's ports let another in; on the tailnet the same ports answer."""

    name = "tailnet_doors"
    steps = frozenset({"tailnet_doors"})

    def __init__(self) -> None:
        super().__init__()
        self._tried: dict[str, set[tuple[str, int]]] = {"bridge": set(), "tailnet": set()}

    def on_tailnet_knock(self, event: Event) -> None:
        data, node = event.data, event.node
        port, way, answer = data["port"], data["way"], data["answer"]
        if way not in self._tried:
            return
        where = f"{node} port {port} answered {data['source']} on the {way} with {answer!r}"
        if way == "bridge":
            wanted = REFUSED if port in PEER_ONLY_PORTS else "HTTP 403"
            if answer != wanted:
                self.violate(f"{where} ≠ {wanted!r}")
        elif (answer != "open" and not answer.startswith("HTTP ")) or answer == "HTTP 403":
            self.violate(f"{where} ≠ an answer")
        self._tried[way].add((node, port))

    def find_missing(self) -> str:
        wanted = {(node, port) for node in self.node_ids for port in (8080, 8180, 9000, 9001)} | {(MESH, 8190)}
        for way, tried in self._tried.items():
            if missing := wanted - tried:
                return f"on the {way} {len(missing)} ports were not tried, among them {min(missing)}"
        return ""

    def summarize(self) -> str:
        count = len(self._tried["bridge"])
        return f"{count} ports refused another member on the bridge and answered it on the tailnet"


class TailnetFirewall(TailnetChecker):
    """With only WireGuard and the control server let through on the bridge, every validator gets new blocks."""

    name = "tailnet_firewall"
    steps = frozenset({"tailnet_firewall"})

    def __init__(self) -> None:
        super().__init__()
        self._heights: dict[str, int] = {}
        self._start: dict[str, int] = {}
        self._gained: dict[str, int] = {}
        self._passed: dict[str, int] = {}
        self._off: set[str] = set()
        self._silent: set[str] = set()

    def on_block(self, event: Event) -> None:
        self._heights[event.node] = max(event.data["height"], self._heights.get(event.node, 0))

    def on_tailnet_firewall(self, event: Event) -> None:
        node, passed = event.node, event.data["passed"]
        if event.data["phase"] == "on":
            self._passed[node] = passed
            # From the moment in which the last one is walled in.
            self._start = dict(self._heights)
            return
        if not self._off:
            self._gained = {name: height - self._start.get(name, 0) for name, height in self._heights.items()}
        if passed <= self._passed.get(node, 0):
            self.violate(f"{node}: no WireGuard packet passed its firewall ≠ the chain's traffic")
        self._off.add(node)

    def on_tailnet_knock(self, event: Event) -> None:
        data = event.data
        if data["way"] != "firewalled":
            return
        if data["answer"] != SILENT:
            self.violate(
                f"{event.node} port {data['port']} answered {data['source']} through the firewall with"
                f" {data['answer']!r} ≠ {SILENT!r}"
            )
        self._silent.add(event.node)

    def find_missing(self) -> str:
        if missing := self.name_missing(self.members, self._off):
            return f"{missing} was not firewalled"
        if missing := self.name_missing(self.members, self._silent):
            return f"nothing shows that the firewall of {missing} stops anything"
        for node in self.node_ids:
            if self._gained.get(node, 0) < 1:
                self.violate(
                    f"{node} at height {self._start.get(node, 0)}: no new block while only WireGuard passed the bridge"
                )
        return ""

    def summarize(self) -> str:
        self.facts = {"blocks": self._gained}
        return f"{min(self._gained[node] for node in self.node_ids)} blocks or more on every validator meanwhile"


class TailnetBytes(TailnetChecker):
    """What validators exchange on the tailnet, as their Tailscale counts, grows by what was sent."""

    name = "tailnet_bytes"
    steps = frozenset({"tailnet_traffic"})

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, dict[str, tuple[int, int]]] = {"before": {}, "after": {}}
        self._payload: dict[str, Any] = {}
        self._target = ""

    def on_tailnet_bytes(self, event: Event) -> None:
        self._counts[event.data["phase"]][event.node] = (event.data["sent"], event.data["received"])

    def on_tailnet_payload(self, event: Event) -> None:
        self._payload, self._target = dict(event.data), event.node

    def find_missing(self) -> str:
        if not self._payload:
            return "nothing was sent"
        for phase, counts in self._counts.items():
            if missing := self.name_missing(self.node_ids, counts):
                return f"{missing} was not asked for its bytes {phase} the payload"
        if self._payload["smallest"] <= MTU_BYTES:
            return f"a payload of {self._payload['smallest']} bytes fits one packet"
        size = self._payload["bytes"]
        for node in self.node_ids:
            (sent, received), (sent_after, received_after) = (self._counts[phase][node] for phase in self._counts)
            what, risen = (
                ("sent", sent_after - sent) if node == self._target else ("received", received_after - received)
            )
            if risen < size:
                self.violate(f"{node} {what} {risen} bytes on the tailnet ≠ the {size} or more of the payload")
        return ""

    def summarize(self) -> str:
        self.facts = {"counts": self._counts, "payload": self._payload}
        return f"{self._payload['bytes']} bytes went by the tailnet from {self._target} to every other validator"


class TailnetCapture(TailnetChecker):
    """A packet capture sees a random marker of the payload on the tailnet's interface and never on the bridge's."""

    name = "tailnet_capture"
    steps = frozenset({"tailnet_traffic"})

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, dict[str, dict[str, int]]] = {INTERFACE: {}, UNDERLAY: {}}

    def on_tailnet_capture(self, event: Event) -> None:
        data, node = event.data, event.node
        if data["interface"] == UNDERLAY and data["marker"]:
            self.violate(f"{node}: {data['marker']} packets on {UNDERLAY} hold the marker in the clear ≠ none")
        if data["interface"] == INTERFACE and not data["marker"]:
            self.violate(f"{node}: none of {data['packets']} packets on {INTERFACE} holds the marker ≠ some")
        self._seen[data["interface"]][node] = {key: data[key] for key in ("packets", "missed", "marker", "control")}

    def find_missing(self) -> str:
        for interface, seen in self._seen.items():
            if missing := self.name_missing(self.node_ids, seen):
                return f"{interface} of {missing} was not watched"
        for node, counts in self._seen[UNDERLAY].items():
            if not counts["control"]:
                return (
                    f"{node}: the capture on {UNDERLAY} did not see what was sent there in the clear: it proves nothing"
                )
            if counts["missed"]:
                return f"{node}: {counts['missed']} packets on {UNDERLAY} were not looked at"
        return ""

    def summarize(self) -> str:
        self.facts = {"seen": self._seen}
        hits = sum(counts["marker"] for counts in self._seen[INTERFACE].values())
        packets = sum(counts["packets"] for counts in self._seen[UNDERLAY].values())
        return f"{hits} packets on {INTERFACE} held the marker, none of {packets} on {UNDERLAY}"


class TailnetIdentity(TailnetChecker):
    """Whichever container is restarted, its member is the same node with the same address, and the only one."""

    name = "tailnet_identity"
    steps = frozenset({"tailnet_restarts"})

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[str, tuple[str, str]] = {}
        self._restarted: set[tuple[str, str]] = set()
        self._open: set[str] = set()
        self._nodes: list[dict[str, Any]] | None = None

    def on_tailnet_place(self, event: Event) -> None:
        node, now = event.node, (event.data["id"], event.data["ip"])
        before = self._first.setdefault(node, now)
        if now != before:
            self.violate(f"{node} is node {now[0]} with {now[1]} {event.data['when']} ≠ {before[0]} with {before[1]}")
        self._open.discard(node)

    def on_tailnet_restarted(self, event: Event) -> None:
        if event.data["was_down"]:
            self._restarted.add((event.node, event.data["place"]))
        if event.node in self.members:
            self._open.add(event.node)

    def on_tailnet_nodes(self, event: Event) -> None:
        self._nodes = list(event.data["nodes"])

    def find_missing(self) -> str:
        wanted = {(member, place) for member in self.members for place in ("service", "sidecar", "anchor")}
        if missing := (wanted | {(CONTROL, "service")}) - self._restarted:
            member, place = min(missing)
            return f"{member}'s {place} was not seen down and restarted"
        if self._open:
            return f"{join_names(sorted(self._open))} was not asked who it is after a restart"
        if self._nodes is None:
            return "the control server was not asked for its nodes"
        expected = sorted((node_id, node, ip) for node, (node_id, ip) in self._first.items())
        listed = sorted((row["id"], row["name"], *row["ips"]) for row in self._nodes)
        if listed != expected:
            self.violate(f"the control server lists {_format(listed)} ≠ {_format(expected)}")
        return ""

    def summarize(self) -> str:
        self.facts = {"nodes": self._nodes}
        return (
            f"{len(self._restarted)} containers restarted, {len(self._first)} nodes of the control server are the same"
        )


class TailnetClaims(TailnetChecker):
    """The mesh refuses whoever speaks as another over the tailnet, and writes it down; outside of it, everybody."""

    name = "tailnet_claims"
    steps = frozenset({"tailnet_claims"})

    def __init__(self) -> None:
        super().__init__()
        self._refused: list[str] = []
        self._outside: list[str] = []

    def on_tailnet_claim(self, event: Event) -> None:
        data = event.data
        is_inside = data["source"] in self.members
        wanted = "wrong_identity" if is_inside else "not_on_tailnet"
        if (data["status"], data["code"]) != (403, wanted):
            self.violate(
                f"{event.node} answered {data['what']} from {data['source']} with {data['status']} {data['code']}"
                f" ≠ 403 {wanted}"
            )
        visitor = data["logged_visitor"].partition(".")[0]
        if is_inside and visitor != data["source"]:
            self.violate(f"{event.node}'s log names {visitor or 'nobody'} for {data['what']} ≠ {data['source']}")
        (self._refused if is_inside else self._outside).append(data["what"])

    def find_missing(self) -> str:
        if not self._refused:
            return "nobody spoke as another over the tailnet"
        return "" if self._outside else "nobody spoke to the mesh from outside the tailnet"

    def summarize(self) -> str:
        self.facts = {"refused": list(self._refused)}
        return f"{len(self._refused)} kinds of false claims refused and written down"


def _format(rows: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(" ".join(row) for row in rows)


TAILNET_CHECKERS: tuple[type[Checker], ...] = (
    TailnetInterface,
    TailnetLinks,
    TailnetDoors,
    TailnetFirewall,
    TailnetBytes,
    TailnetCapture,
    TailnetClaims,
    TailnetIdentity,
)
