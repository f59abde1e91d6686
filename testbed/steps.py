"""The steps of which scenarios consist, as data."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from testbed.byzantine import Trigger
from testbed.needs import CONTAINERS, TAILNET

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=600_000)]


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the backend must have for it, see `testbed.needs`."""

    timeout_ms: Milliseconds = 30_000
    """How long the step waits for any one thing, in the cluster's time."""


class Start(_Step, tag="start", frozen=True, forbid_unknown_fields=True):
    """Start the mesh, then every validator, and wait until each answers."""


class Register(_Step, tag="register", frozen=True, forbid_unknown_fields=True):
    """Wait until the mesh lists every validator as pending."""


class RefuseUnapproved(_Step, tag="refuse_unapproved", frozen=True, forbid_unknown_fields=True):
    """Show that a node which nobody approved gets nothing: no topology, no heartbeat, no chain."""


class RefuseForgedApproval(_Step, tag="refuse_forged_approval", frozen=True, forbid_unknown_fields=True):
    """Show that approvals not signed by the sovereign are refused and change nothing."""


class RefuseOutsider(_Step, tag="refuse_outsider", frozen=True, forbid_unknown_fields=True):
    """Show that running validators refuse the peer link of a node that nobody approved."""


class Approve(_Step, tag="approve", frozen=True, forbid_unknown_fields=True):
    """The sovereign approves every validator; wait until the mesh lists them as active."""


class MakeGenesis(_Step, tag="genesis", frozen=True, forbid_unknown_fields=True):
    """The sovereign signs the genesis of the approved validators and puts it on the mesh."""


class Progress(_Step, tag="progress", frozen=True, forbid_unknown_fields=True):
    """Wait until every running validator answers `heights` more blocks than now."""

    heights: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1


class Load(_Step, tag="load", frozen=True, forbid_unknown_fields=True):
    """Send signed transactions to all validators, some of them twice, and wait until each is final everywhere."""

    users: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 10
    transfers: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 200
    retries: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


class Heartbeats(_Step, tag="heartbeats", frozen=True, forbid_unknown_fields=True):
    """Wait until every validator is active on the mesh through a heartbeat sent since its approval."""


class Perturb(_Step, tag="perturb", frozen=True, forbid_unknown_fields=True):
    """Apply a fault, show what it must do to the chain, undo it, and wait until the cluster is whole again."""

    fault: str = ""
    node: str = ""
    """Left out for a fault that has its own target."""
    peers: tuple[str, ...] = ()
    """For a fault between members: whom the node is cut off from, everybody where left out."""
    heights: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 2
    """Where the chain must go on: blocks wanted while the fault is on, and again after it."""


class Byzantine(_Step, tag="byzantine", frozen=True, forbid_unknown_fields=True):
    """Let `nodes` lie, show what that must do to the chain, and let them be honest again. They are not judged."""

    behaviour: str = ""
    nodes: tuple[str, ...] = ()
    at_heights: tuple[Annotated[int, msgspec.Meta(ge=1, le=2**53)], ...] = ()
    """They lie about these heights only; about all where left out. The conditions narrow one another."""
    at_rounds: tuple[Annotated[int, msgspec.Meta(ge=0, le=2**31)], ...] = ()
    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """With which they lie about a height and round."""
    from_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    """They lie from this time on, in ms since the genesis was made."""
    to_ms: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    heights: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 2
    """Where the chain must go on: blocks wanted while they lie, and again after it."""
    transfers: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    """Transfers to send meanwhile, which must become final, again and again until all have lied: for lies that are
    about transactions."""

    @property
    def trigger(self) -> Trigger:
        return Trigger(self.at_heights, self.at_rounds, self.probability, self.from_ms, self.to_ms)


class ReplaceKey(_Step, tag="replace_key", frozen=True, forbid_unknown_fields=True):
    """The sovereign lets the key of `by`, which follows, vote in the place of `node`'s; wait until it does."""

    node: str = ""
    by: str = ""


class Converge(_Step, tag="converge", frozen=True, forbid_unknown_fields=True):
    """Pin a height and compare what every validator answers there."""


class _TailnetStep(_Step, frozen=True, forbid_unknown_fields=True):
    needs: ClassVar[frozenset[str]] = frozenset({CONTAINERS, TAILNET})


class TailnetPlaces(_TailnetStep, tag="tailnet_places", frozen=True, forbid_unknown_fields=True):
    """Ask every member's Tailscale who and where it is, and its kernel which way the others are."""


class TailnetLinks(_TailnetStep, tag="tailnet_links", frozen=True, forbid_unknown_fields=True):
    """Ask whose place each peer link leads to; try links with the key of another, which must be refused."""


class TailnetDoors(_TailnetStep, tag="tailnet_doors", frozen=True, forbid_unknown_fields=True):
    """Knock at the ports of every member from another one, on the bridge and on the tailnet."""


class TailnetFirewall(_TailnetStep, tag="tailnet_firewall", frozen=True, forbid_unknown_fields=True):
    """Let only WireGuard and the control server pass the bridge, and wait for `heights` more blocks everywhere."""

    heights: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 3


class TailnetTraffic(_TailnetStep, tag="tailnet_traffic", frozen=True, forbid_unknown_fields=True):
    """Send large transactions with a random marker; count and capture what the validators exchange meanwhile."""

    transactions: Annotated[int, msgspec.Meta(ge=1, le=200)] = 15


class TailnetClaims(_TailnetStep, tag="tailnet_claims", frozen=True, forbid_unknown_fields=True):
    """Speak to the mesh in the name of another, over the tailnet: it must refuse, and write it down."""


class TailnetRestarts(_TailnetStep, tag="tailnet_restarts", frozen=True, forbid_unknown_fields=True):
    """Restart every container in turn; each member must be the same node with the same address afterwards."""


Step = (
    Start
    | Register
    | RefuseUnapproved
    | RefuseForgedApproval
    | RefuseOutsider
    | Approve
    | MakeGenesis
    | Progress
    | Load
    | Heartbeats
    | Perturb
    | Byzantine
    | ReplaceKey
    | TailnetPlaces
    | TailnetLinks
    | TailnetDoors
    | TailnetFirewall
    | TailnetTraffic
    | TailnetClaims
    | TailnetRestarts
    | Converge
)


def describe_step(step: Step) -> str:
    """A step in a few words, for people: `perturb kill validator-3`."""
    words = [get_step_name(step).replace("_", " ")]
    if isinstance(step, Perturb):
        words += [step.fault, step.node]
        words += ["from", *step.peers] if step.peers else []
    if isinstance(step, Byzantine):
        words += [step.behaviour, *step.nodes]
    if isinstance(step, ReplaceKey):
        words += [step.node, "by", step.by]
    return " ".join(word for word in words if word)


def get_step_name(step: Step) -> str:
    tag = step.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
