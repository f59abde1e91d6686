"""The Compose files come from one template."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from testbed import compose

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", compose.render_all())
def test_committed_file_is_the_template_at_three(name: str) -> None:
    assert (ROOT / name).read_text("utf-8") == compose.render_all()[name], "run `make compose`"


def test_every_validator_has_an_anchor_a_sidecar_and_a_service() -> None:
    lines = compose.render(5).partition("\nvolumes:")[0].splitlines()
    for number in range(1, 6):
        for service in (f"validator-{number}-anchor", f"validator-{number}-tailscale", f"validator-{number}"):
            assert lines.count(f"  {service}:") == 1
    assert "  validator-6:" not in lines
    assert "    command: [tana, found-chain, validator-1, validator-2, validator-3, validator-4, validator-5]" in lines


def test_overrides_leave_no_sidecar_as_it_is() -> None:
    for text in (compose.render_bridge(4), compose.render_own_tailnet(4)):
        for name in ("mesh", *compose.get_validator_names(4)):
            assert f"  {name}-tailscale:" in text


def test_ports_are_published_on_loopback_only_and_never_twice() -> None:
    published = [line.strip() for line in compose.render(20).splitlines() if re.search(r"-\d+}:\d+$", line)]
    assert all(line.startswith("- 127.0.0.1:${") for line in published)
    defaults = {re.findall(r"-(\d+)}", line)[0] for line in published}
    assert len(defaults) == len(published) == 1 + 2 * 20


def test_written_where_asked(tmp_path: Path) -> None:
    compose.write_all(tmp_path, 4)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == compose.render_all(4)
