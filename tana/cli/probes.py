"""What a running mesh or validator says of itself, in a few words, or nothing where it does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tana.client.http import HttpClient
from tana.types.errors import TanaError

TIMEOUT_MS = 2_000

WORKING = ("validating", "following")
"""States of a validator that takes part, or at least follows the chain."""
STUCK = ("abstaining", "stopped")
"""What the words of a validator begin with that an operator must help."""


def ask_health(url: str) -> dict[str, Any] | None:
    """The body of `GET /health`, None where nobody answers well."""
    try:
        with HttpClient(url, service="service", timeout_ms=TIMEOUT_MS) as client:
            answer = client.get("/health")
    except TanaError:
        return None
    return answer if isinstance(answer, dict) else None


def probe_mesh(url: str) -> Callable[[], str | None]:
    """A probe for the supervisor."""

    def probe() -> str | None:
        health = ask_health(url)
        return f"ready on {url}" if health is not None and health.get("service") == "mesh" else None

    return probe


def probe_validator(url: str, node_id: str) -> Callable[[], str | None]:
    """A probe for the supervisor: the validator's state, with what it waits for."""

    def probe() -> str | None:
        health = ask_health(url)
        if health is None or health.get("validatorId") != node_id:
            return None
        return describe_state(health)

    return probe


def describe_progress(health: dict[str, Any]) -> str:
    """The state of a validator's `/health`, with how far it is where it catches up: `syncing 1200/10000`."""
    state = str(health.get("state") or "running")
    syncing = health.get("syncing")
    if not isinstance(syncing, dict):
        return state
    return f"{state} {syncing.get('height')}/{syncing.get('target')}"


def describe_state(health: dict[str, Any]) -> str:
    """The state of a validator's `/health` for people; no heights, so that it changes only when the state does."""
    state, reason = str(health.get("state") or "running"), health.get("reason")
    return f"{state}: {reason}" if reason else state
