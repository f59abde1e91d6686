"""The fault that makes validators lie: verified by what they say, not applied where they do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.backends.base import Answer, Containers, Cuts, Links, Losses
from testbed.byzantine import Trigger
from testbed.damage import Harm
from testbed.faults.base import NotApplied
from testbed.faults.lies import Lies, Plot


class Liars:
    """A cluster whose validators lie as they are told, if they obey."""

    node_ids = ("validator-1", "validator-2", "validator-3", "validator-4")

    def __init__(self, *, obeys: bool = True) -> None:
        self.obeys = obeys
        self.wishes: dict[str, str] = {}
        self.down: set[str] = set()

    @property
    def containers(self) -> Containers:
        raise NotImplementedError

    @property
    def cuts(self) -> Cuts:
        raise NotImplementedError

    @property
    def links(self) -> Links:
        raise NotImplementedError

    @property
    def losses(self) -> Losses:
        raise NotImplementedError

    def kill(self, node: str) -> None: ...

    def stop(self, node: str) -> None: ...

    def restart(self, node: str) -> None: ...

    def pause(self, node: str) -> None: ...

    def resume(self, node: str) -> None: ...

    def is_running(self, node: str) -> bool:
        return node not in self.down

    def control(self, node: str, key: str, value: str) -> None:
        assert key == "byzantine"
        self.wishes[node] = value

    def ask(self, target: str, port: str, method: str, path: str, body: Any = None) -> Answer:
        raise NotImplementedError

    def damage(self, node: str, how: str) -> Harm:
        raise NotImplementedError

    def recover(self, node: str, height: int, round: int) -> str:
        raise NotImplementedError

    def list_logged(self, node: str, event: str) -> list[dict[str, Any]]:
        return []

    def get_signed_height(self, node: str) -> int:
        return 0

    def get_health(self, node: str) -> dict[str, Any] | None:
        return None

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        return None

    def count_lies(self, node: str, behaviour: str) -> int:
        return 3 if self.obeys and self.wishes.get(node) else 0

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_ms: int) -> bool:
        return condition()


PLOT = Plot(("validator-3", "validator-4"), "silent", Trigger(rounds=(1,)), 7)


def test_from_asked_to_undone() -> None:
    cluster = Liars()
    lies = Lies(cluster, PLOT, 1000)
    lies.apply()
    assert '"accomplices":["validator-4"]' in cluster.wishes["validator-3"]
    assert '"rounds":[1]' in cluster.wishes["validator-3"]
    assert lies.verify() == "validator-3, validator-4 said: lying by silent"
    assert lies.describe_effect() == "validator-3 lied about 3 heights, validator-4 lied about 3 heights"
    lies.undo()
    assert set(cluster.wishes.values()) == {""}


def test_a_validator_that_does_not_obey() -> None:
    lies = Lies(Liars(obeys=False), PLOT, 1000)
    lies.apply()
    with pytest.raises(NotApplied, match="validator-3, validator-4 told no lie"):
        lies.verify()
    assert lies.describe_effect() == ""


def test_a_validator_that_is_down() -> None:
    cluster = Liars()
    cluster.down.add("validator-4")
    with pytest.raises(NotApplied, match="validator-4 was not running"):
        Lies(cluster, PLOT, 1000).apply()
