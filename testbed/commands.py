"""Commands inside containers, with errors for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tana.types.errors import Unavailable
from testbed.backends.base import Containers, Place


def run_checked(
    containers: Containers, member: str, place: Place, arguments: Iterable[str], timeout_s: int = 20
) -> str:
    """The output of a command inside a container. Raises `Unavailable` where it fails."""
    words = list(arguments)
    code, output = containers.run(member, place, words, timeout_s)
    if code != 0:
        shown = " ".join(words)[:80]
        raise Unavailable(f"`{shown}` failed in {member}'s {place} with exit code {code}: {output.strip()[-300:]}")
    return output


def run_inside(containers: Containers, member: str, *arguments: str) -> Any:
    """The result of a command of `testbed.inside`, run beside a service. Raises `Unavailable`."""
    output = run_checked(containers, member, "service", ["python", "-m", "testbed.inside", *arguments])
    return json.loads(output.splitlines()[-1])


def ask_inside(
    containers: Containers, member: str, method: str, url: str, body: Any = None, *secrets: str
) -> tuple[int, Any]:
    """Status and body of a request sent from a member's own network."""
    text = "" if body is None else json.dumps(body, separators=(",", ":"))
    answer = run_inside(containers, member, "ask", method, url, text, *secrets)
    return answer["status"], answer["body"]
