"""Faults: each fault asked for was verified as applied, touched something, and was undone."""

from __future__ import annotations

from typing import Any

from testbed.checkers.base import Checker
from testbed.history import Event


class Faults(Checker):
    name = "faults"
    steps = frozenset({"perturb", "byzantine"})

    def __init__(self) -> None:
        super().__init__()
        self._asked = 0
        self._open: dict[str, str] = {}
        self._records: list[dict[str, Any]] = []
        self._untouched = ""

    def on_fault(self, event: Event) -> None:
        data = event.data
        name = f"{data['fault']} on {data['target']}"
        self._records.append({"at_ms": event.at_ms, **data})
        if data["phase"] == "asked":
            self._asked += 1
            self._open[name] = "asked"
        elif data["phase"] == "applied":
            self._open[name] = "applied"
        elif data["phase"] == "not_applied":
            self.violate(f"{name} was not applied: {data['evidence']}")
        elif data["phase"] == "undone":
            if self._open.pop(name, "") != "applied":
                self.violate(f"{name} was undone and never verified as applied")
            if not data["touched"]:
                self._untouched = self._untouched or name

    def find_missing(self) -> str:
        self.facts = {"timeline": self._records}
        if self._untouched:
            return f"{self._untouched} never touched anything: this run says nothing about it"
        if self._open:
            return f"the run ended before this fault was undone: {', '.join(sorted(self._open))}"
        return "" if self._asked else "no fault was applied"

    def summarize(self) -> str:
        return f"{self._asked} applied, verified and undone"
