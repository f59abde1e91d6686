"""A cluster of three validators in containers on a tailnet, whose parts can be made not to obey."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tana.types.errors import Conflict, Unavailable
from testbed.backends.base import CONTROL, MESH, Answer, Cuts, Losses, Pair, Place, Verb
from testbed.clock import read_clock
from testbed.damage import GARBLE, TEAR, WIPE_CHAIN, WIPE_SIGN_STATE, Harm
from testbed.faults.data_wiped import BEHIND
from testbed.faults.sidecars import HEALTH_URL
from testbed.faults.torn_write import TORN

NODE = "validator-1"
NODES = (NODE, "validator-2", "validator-3")
MEMBERS = (*NODES, MESH)
SUBNET_BITS = 20
ROW: dict[str, Any] = {"status": "active", "last_heartbeat": 1_000, "heartbeat_timestamp": 998}
"""What the mesh has of a validator: its last heartbeat took 2 ms."""
DRIFT_S = 4
"""How long a clock has run too fast when somebody looks at it."""
HARM = Harm("sign-state/0.log", 1_024, 21)
COMPLAINTS = {
    WIPE_SIGN_STATE: "the sign-state /data/sign-state is missing → run `tana validator recover`",
    GARBLE: "the sign-state segment /data/sign-state/0.log is damaged at byte 99 → run `tana validator recover`",
}


class FakeContainers:
    """Members with a sidecar, a place on two networks and a packet filter each, that answer as real ones do."""

    def __init__(self) -> None:
        self.network = "tailnet"
        self.obeys = True
        self.drops_packets = True
        self.loses_identity = False
        self.has_relay_traffic = True
        self.down: set[tuple[str, str]] = set()
        self.disconnected: set[str] = set()
        self.expired: set[str] = set()
        self.told_down: set[str] = set()
        self.unsteady: set[str] = set()
        """Members whose sidecar's supervisor has not seen yet what its daemon has become."""
        self.excused: set[tuple[str, str]] = set()
        self.chains: dict[str, dict[str, list[str]]] = {member: {} for member in MEMBERS}
        self.received_bytes = 0
        self.packets = 7
        """What every rule of a packet filter has met."""
        self.has_traffic = False
        """Whether more comes whenever somebody looks."""
        self.scripts: list[tuple[str, str]] = []

    # ------------------------------------------------------------------ Containers

    def act(self, member: str, place: Place, verb: Verb) -> None:
        if not self.obeys:
            return
        if verb in ("stop", "kill"):
            self.down.add((member, place))
        elif verb == "start":
            self.down.discard((member, place))

    def excuse(self, member: str, place: Place) -> None:
        self.excused.add((member, place))

    def watch(self, member: str, place: Place) -> None:
        self.excused.discard((member, place))

    def is_up(self, member: str, place: Place) -> bool:
        return (member, place) not in self.down

    def run(self, member: str, place: Place, arguments: Sequence[str], timeout_s: int = 20) -> tuple[int, str]:
        if not self.is_up(member, place):
            raise Unavailable(f"{member}'s {place} does not run")
        if list(arguments) == ["tailscale", "status", "--json"]:
            return 0, json.dumps(self._describe_tailnet(member))
        if list(arguments) == ["wget", "-q", "-O", "/dev/null", HEALTH_URL]:
            return int(self.is_on_tailnet(member) == (member in self.unsteady)), ""
        if arguments[0] == "tailscale" and arguments[1] in ("down", "up"):
            assert (member, place) in self.excused, "its sidecar ends when it is told down"
            if self.obeys:
                (self.told_down.add if arguments[1] == "down" else self.told_down.discard)(member)
            return 0, ""
        assert list(arguments[:4]) == ["headscale", "nodes", "expire", "--identifier"], arguments
        assert member == CONTROL
        if self.obeys:
            change = self.expired.discard if "--disable" in arguments else self.expired.add
            change(MEMBERS[int(arguments[4]) - 1])
        return (0, "Node expired") if self.obeys else (1, "Error: no such node")

    def run_beside(
        self, member: str, arguments: Sequence[str], timeout_s: int = 20, tools: Place = "sidecar"
    ) -> tuple[int, str]:
        if arguments[0] == "ip":
            return 0, self._list_addresses(member)
        assert list(arguments[:2]) == ["sh", "-c"]
        self.scripts.append((member, arguments[2]))
        output = ""
        for line in arguments[2].split(" && "):
            answer = self._run_iptables(member, line.split()[2:])
            if answer is None:
                return 1, "iptables: No chain/target/match by that name."
            output += answer
        return 0, output

    def disconnect(self, member: str) -> None:
        if self.obeys:
            self.disconnected.add(member)

    def connect(self, member: str) -> None:
        if self.obeys:
            self.disconnected.discard(member)

    def get_underlay_ip(self, member: str) -> str:
        return "" if member in self.disconnected else f"192.168.16.{MEMBERS.index(member) + 2}"

    # ------------------------------------------------------------------ inside

    def is_on_tailnet(self, member: str) -> bool:
        return self.is_up(member, "sidecar") and member not in self.expired | self.told_down

    def _describe_tailnet(self, member: str) -> dict[str, Any]:
        if member in self.expired:
            return {"BackendState": "NoState", "TUN": True, "Self": {"ID": ""}, "Health": ["the key has expired"]}
        if member in self.told_down:
            return {"BackendState": "Stopped", "TUN": True, "Self": self._describe_node(member, is_online=False)}
        is_blocked = any("tana-direct" in chains for chains in self.chains.values()) and self.drops_packets
        if not is_blocked or self.has_relay_traffic:
            self.received_bytes += 100
        peers = {}
        for peer in MEMBERS:
            if peer != member:
                peers[f"nodekey:{peer}"] = {
                    **self._describe_node(peer, is_online=self.is_on_tailnet(peer)),
                    "CurAddr": "" if is_blocked else f"192.168.16.{MEMBERS.index(peer) + 2}:41641",
                    "RxBytes": self.received_bytes,
                    "TxBytes": self.received_bytes,
                }
        own = self._describe_node(member, is_online=self.is_up(CONTROL, "service"))
        return {"BackendState": "Running", "TUN": True, "Self": own, "Peer": peers, "Health": []}

    def _describe_node(self, member: str, *, is_online: bool) -> dict[str, Any]:
        number = MEMBERS.index(member) + 1
        return {
            "ID": f"{number}1" if self.loses_identity else f"{number}",
            "DNSName": f"{member}.tana.internal.",
            "TailscaleIPs": [f"100.64.0.{number}"],
            "Online": is_online,
            "Relay": "tana",
        }

    def _list_addresses(self, member: str) -> str:
        lines = ["1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever"]
        if ip := self.get_underlay_ip(member):
            lines.append(f"234: eth0    inet {ip}/{SUBNET_BITS} scope global eth0\\       valid_lft forever")
        if self.is_on_tailnet(member):
            lines.append("5: tailscale0    inet 100.64.0.1/32 scope global tailscale0\\       valid_lft forever")
        return "\n".join(lines)

    def _run_iptables(self, member: str, arguments: list[str]) -> str | None:
        chains = self.chains[member]
        verb, name = arguments[0], arguments[1]
        if verb == "-N":
            if name in chains or not self.obeys:
                return None
            chains[name] = []
        elif verb == "-A":
            chains[name].append(" ".join(arguments[2:]))
        elif verb == "-X":
            del chains[name]
        elif verb == "-nvxL":
            if name not in chains:
                return None
            return self._list_chain(name, chains[name])
        elif verb == "-D" and not self.obeys:
            return None
        return ""

    def _list_chain(self, name: str, rules: list[str]) -> str:
        self.packets += self.has_traffic
        packets = self.packets if self.drops_packets else 0
        lines = [f"Chain {name} (2 references)", "    pkts      bytes target     prot opt in     out     source"]
        lines += [f"{packets:8} {100 * packets:8} {rule.split()[-1]:10} 0 -- * * 0.0.0.0/0 0.0.0.0/0" for rule in rules]
        return "\n".join(lines) + "\n"


class FakeLinks:
    """Cuts and links in one, over which messages pass whenever somebody counts them; with `obeys` False
    nothing becomes of any wish."""

    unit = "messages"

    def __init__(self) -> None:
        self.obeys = True
        self.cuts: list[Pair] = []
        self.rates: dict[str, float] = {}
        self.delay_ms = (0, 0)
        self.bytes_per_second = 0
        self._counts: Counter[str] = Counter()

    def cut(self, pairs: Sequence[Pair]) -> None:
        self.cuts += pairs

    def heal(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs if self.obeys else ():
            self.cuts.remove(pair)

    def carries(self, pair: Pair) -> bool:
        return self.obeys and pair not in self.cuts

    def count_cut(self) -> int:
        return self.count("cut")

    def reset(self, pairs: Sequence[Pair]) -> int:
        return len(pairs) if self.obeys else 0

    def limit(self, bytes_per_second: int) -> None:
        self.bytes_per_second = bytes_per_second

    def change_rate(self, kind: str, by: float) -> None:
        self.rates[kind] = self.rates.get(kind, 0.0) + by

    def change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        self.delay_ms = (self.delay_ms[0] + least_by_ms, self.delay_ms[1] + most_by_ms)

    def count(self, what: str) -> int:
        if self.obeys:
            met = {"loss": "lost", "duplicate": "duplicated", "reorder": "reordered"}
            names = ["sent", *(met[kind] for kind, rate in self.rates.items() if rate)]
            names += ["cut"] if self.cuts else []
            names += ["delayed"] if self.delay_ms != (0, 0) or self.bytes_per_second else []
            self._counts.update(names)
        return self._counts[what]


class FakeCluster:
    """Three validators at height 7. Faults act on the first; `obeys` False: what it is told is not done."""

    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.links = FakeLinks()
        self.cuts: Cuts = self.links
        self.losses: Losses = self.links
        self.node_ids: tuple[str, ...] = NODES
        self.obeys = True
        self.is_up = True
        self.is_paused = False
        self.health: dict[str, Any] | None = {"height": 7, "state": "validating", "reason": "", "peers": 4}
        self.damaged = ""
        """How the data was damaged since the validator ran last."""
        self.recovered: list[tuple[int, int]] = []
        self.seen = (8, 2)
        """The highest slot that the other validators have seen."""
        self.logged: dict[str, list[dict[str, Any]]] = {}
        self.signed_height = 7
        self.row: dict[str, Any] | None = dict(ROW)

    def kill(self, node: str) -> None:
        if self.obeys:
            self.is_up = False

    def stop(self, node: str) -> None:
        self.kill(node)

    def restart(self, node: str) -> None:
        if self.obeys:
            self.is_up = True
            self._meet_damage()

    def damage(self, node: str, how: str) -> Harm:
        assert not self.is_up, "it is down"
        self.damaged = how
        return HARM

    def recover(self, node: str, height: int, round: int) -> str:
        if (height, round) < self.seen:
            raise Conflict(f"height {height} round {round} is too low: validator-2 has seen more", code="slot_too_low")
        assert not self.is_up, "it is down"
        assert self.health is not None
        self.recovered.append((height, round))
        self.health |= {"state": "validating", "reason": ""}
        self.signed_height = height + 1
        return "recovered"

    def list_logged(self, node: str, event: str) -> list[dict[str, Any]]:
        return self.logged.get(event, [])

    def get_signed_height(self, node: str) -> int:
        return self.signed_height

    def _meet_damage(self) -> None:
        """What a validator makes of its data when it begins."""
        how, self.damaged = self.damaged, ""
        assert self.health is not None
        if how in COMPLAINTS:
            self.health |= {"state": "abstaining", "reason": COMPLAINTS[how]}
        elif how == TEAR:
            self.logged.setdefault(TORN, []).append({"bytes": HARM.size_bytes})
        elif how == WIPE_CHAIN:
            self.logged.setdefault(BEHIND, []).append({"height": 0, "signed_height": 8})

    def pause(self, node: str) -> None:
        self.is_paused = self.obeys

    def resume(self, node: str) -> None:
        self.is_paused = self.is_paused and not self.obeys

    def is_running(self, node: str) -> bool:
        return self.is_up

    def control(self, node: str, key: str, value: str) -> None:
        if not self.obeys or self.row is None:
            return
        if key == "heartbeat":
            self.row["status"] = "offline" if value == "off" else "active"
        else:
            assert key == "clock"
            ahead_ms, drift_ppm = read_clock(value)
            self.row["heartbeat_timestamp"] = ROW["heartbeat_timestamp"] + ahead_ms + drift_ppm * DRIFT_S // 1000

    def ask(self, target: str, port: str, method: str, path: str, body: Any = None) -> Answer:
        health = self.get_health(target)
        if health is None:
            return Answer(0, "no answer in time")
        return Answer(200, {**health, "consensus": {"seenHeight": self.seen[0], "seenRound": self.seen[1]}})

    def get_health(self, node: str) -> dict[str, Any] | None:
        answers = node != NODE or (self.is_up and not self.is_paused)
        return self.health if answers and node not in self.containers.disconnected else None

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        return self.row

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_ms: int) -> bool:
        # Again: what does not hold yet may be asked for on the way, or shown by two looks.
        return any(condition() for _ in range(3))

    def disobey(self) -> None:
        self.obeys = self.containers.obeys = False
