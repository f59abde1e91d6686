"""No progress without a quorum: while too much power is missing, survivors commit nothing it had not precommitted.

Shown, never waited for: each survivor says that its step lacks a quorum, names the missing, and has announced what it
holds several times since; from then on its height must stay. Before that moment a block may still become final
through precommits that the missing sent while they lived: such a block's certificate holds their signature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tana.types.errors import InvalidInput
from tana.types.genesis import parse_signed_genesis
from testbed.checkers.base import Checker, join_names
from testbed.checkers.powers import ChainPowers
from testbed.history import Event

ROUNDS = 3
"""After how many rounds in vain a survivor counts as stuck: where the traitors vote nil, each step has its votes."""
ANNOUNCEMENTS = 5
"""How often a survivor must have announced what it holds, in one step, before a missing vote counts as never sent."""


@dataclass
class _Window:
    missing: tuple[str, ...]
    survivors: tuple[str, ...]
    stuck: dict[str, int] = field(default_factory=dict)
    """Per survivor the height it has committed while provably stuck."""


class NoProgress(Checker):
    name = "no_progress_without_quorum"
    steps = frozenset({"perturb", "byzantine"})

    def __init__(self) -> None:
        super().__init__()
        self._powers = ChainPowers()
        self._window: _Window | None = None
        self._windows: list[dict[str, Any]] = []
        self._must_windows = 0
        self._fresh_heights: dict[str, int] = {}

    def on_genesis(self, event: Event) -> None:
        try:
            self._powers.begin(parse_signed_genesis(event.data["body"]).genesis)
        except InvalidInput:
            return  # The certificate checker reports that.

    @property
    def is_asked(self) -> bool:
        return self._must_windows > 0

    def on_expectation(self, event: Event) -> None:
        if event.data["progress"] != "must_not":
            return
        if event.data["phase"] == "begin":
            self._window = _Window(tuple(event.data["missing"]), tuple(event.data["nodes"]))
            self._must_windows += 1
        elif self._window is not None:
            if self.is_shown:
                self._windows.append({"missing": self._window.missing, "heights": dict(self._window.stuck)})
            self._window = None

    @property
    def is_shown(self) -> bool:
        """Whether every survivor is provably stuck in the window that is open."""
        window = self._window
        return window is not None and all(node in window.stuck for node in window.survivors)

    def on_health(self, event: Event) -> None:
        window = self._window
        if window is None or event.node not in window.survivors:
            return
        data = event.data
        held = window.stuck.get(event.node)
        if held is not None and self.is_shown and data["height"] > max(window.stuck.values()):
            self._violate_stuck(event.node, data["height"], held, window)
        lacks_quorum = is_without_quorum(data, window.missing) and data["announcements"] >= ANNOUNCEMENTS
        if lacks_quorum or data["round"] >= ROUNDS:
            window.stuck[event.node] = data["height"]
        elif held is not None and not self.is_shown:
            del window.stuck[event.node]

    def on_block(self, event: Event) -> None:
        height, node, window = event.data["height"], event.node, self._window
        self._powers.note_block(event.data)
        is_new = height > self._fresh_heights.get(node, 0)
        self._fresh_heights[node] = max(height, self._fresh_heights.get(node, 0))
        if window is None or node not in window.survivors or not is_new:
            return
        if self.is_shown and height > max(window.stuck.values()):
            self._violate_stuck(node, height, window.stuck[node], window)
        powers = self._powers.at(height)
        signers = {key for key, _ in (event.data["certificate"] or {}).get("signatures", ())}
        power, total = sum(powers.get(key, 0) for key in signers), sum(powers.values())
        if not 3 * power > 2 * total:
            self.violate(
                f"{node} at height {height}: committed with power {power} of {total} while"
                f" {join_names(window.missing)} was gone ≠ a quorum, which needs {2 * total // 3 + 1}"
            )

    def _violate_stuck(self, node: str, height: int, held: int, window: _Window) -> None:
        self.violate(
            f"{node} at height {height}: committed without {join_names(window.missing)}"
            f" ≠ height {held}, at which it said that no quorum is there"
        )

    def find_missing(self) -> str:
        if not self._must_windows:
            return "a quorum was there all the time"
        if len(self._windows) < self._must_windows:
            return "the survivors did not say that their step lacks a quorum"
        return ""

    def summarize(self) -> str:
        self.facts = {"windows": self._windows}
        last = self._windows[-1]
        if not last["heights"]:
            return f"without {join_names(last['missing'])} nobody was left to go on"
        return f"without {join_names(last['missing'])} the survivors stayed at height {max(last['heights'].values())}"


def is_without_quorum(health: Any, missing: tuple[str, ...]) -> bool:
    """Whether a validator's answer says that its step lacks a quorum for want of the votes of `missing` alone."""
    return (
        health["step"] in ("prevote", "precommit")
        and health["step_power"] < health["quorum_power"]
        and bool(health["missing"])
        and set(health["missing"]) <= set(missing)
    )
