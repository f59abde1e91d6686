"""Packet filter rules in a member's network namespace, in a chain of their own: inserted, counted, removed as one."""

from __future__ import annotations

import ipaddress
import shlex
from collections import Counter
from collections.abc import Sequence

from tana.types.errors import TanaError
from testbed.backends.base import Containers
from testbed.faults.base import NotApplied

DROP = ("-j", "DROP")
LEAVE_ALONE = ("-j", "RETURN")
LOCAL_INTERFACES = ("lo", "tailscale0")


class Firewall:
    """A chain with rules of iptables, entered first from each of `hooks`. It ends with its namespace at the latest."""

    def __init__(
        self,
        containers: Containers,
        member: str,
        name: str,
        rules: Sequence[Sequence[str]],
        hooks: Sequence[str] = ("INPUT", "OUTPUT"),
    ) -> None:
        self.member = member
        self._containers = containers
        self._chain = f"tana-{name}"
        self._rules = rules
        self._hooks = hooks

    def insert(self) -> None:
        """Raises `NotApplied`."""
        commands: list[Sequence[str]] = [("-N", self._chain)]
        commands += [("-A", self._chain, *rule) for rule in self._rules]
        commands += [("-I", hook, "-j", self._chain) for hook in self._hooks]
        self._run(commands)

    def remove(self) -> None:
        """Raises `NotApplied`."""
        commands = [("-D", hook, "-j", self._chain) for hook in self._hooks]
        self._run([*commands, ("-F", self._chain), ("-X", self._chain)])

    def count(self) -> Counter[str]:
        """Packets by what its rules did to them, such as `DROP`. Raises `NotApplied` where it is not there."""
        packets: Counter[str] = Counter()
        for line in self._run([("-nvxL", self._chain)]).splitlines():
            row = line.split()
            if len(row) > 2 and row[0].isdecimal():
                packets[row[2]] += int(row[0])
        return packets

    def count_dropped(self) -> int:
        """How many packets it has dropped. Raises `NotApplied` where it is not there."""
        return self.count()["DROP"]

    def _run(self, commands: Sequence[Sequence[str]]) -> str:
        # One container for all of them: each costs a moment.
        script = " && ".join(shlex.join(["iptables", "-w", *command]) for command in commands)
        return run_beside(self._containers, self.member, ["sh", "-c", script])


def make_guard(containers: Containers, member: str, subnet: str) -> Firewall:
    """What a member sends to neither the underlay nor the tailnet is dropped.

    A fault that takes the tailnet away leaves packets for it with no other way than the default gateway, and a sidecar
    that misses its control server asks for it on the internet: a testbed keeps both at home.
    """
    rules = [("-o", name, *LEAVE_ALONE) for name in LOCAL_INTERFACES]
    return Firewall(containers, member, "guard", [*rules, ("-d", subnet, *LEAVE_ALONE), DROP], ["OUTPUT"])


def find_subnet(containers: Containers, member: str) -> str:
    """The underlay's subnet as a member sees it. Raises `NotApplied` for one that is not on it."""
    for address in list_underlay_addresses(containers, member):
        return str(ipaddress.ip_interface(address).network)
    raise NotApplied(f"{member} has no address on the underlay")


def list_underlay_addresses(containers: Containers, member: str) -> list[str]:
    """A member's addresses with their prefix lengths, those of the tailnet and of loopback left out."""
    lines = run_beside(containers, member, ["ip", "-4", "-o", "address", "show"]).splitlines()
    found = [line.split() for line in lines]
    return [fields[3] for fields in found if len(fields) > 3 and fields[1] not in LOCAL_INTERFACES]


def run_beside(containers: Containers, member: str, arguments: Sequence[str]) -> str:
    """The output of a command in a member's network namespace. Raises `NotApplied` where it fails."""
    try:
        code, output = containers.run_beside(member, arguments)
    except TanaError as error:
        raise NotApplied(f"nothing can be done in {member}'s network: {error.message}") from None
    if code:
        raise NotApplied(f"{shlex.join(arguments)} in {member}'s network ended with {code}: {output.strip()[-300:]}")
    return output
