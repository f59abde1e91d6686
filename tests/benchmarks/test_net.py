"""`make bench-net`: its table, and the limits that it holds the figures against."""

from __future__ import annotations

import pytest

from benchmarks.net import Measured, judge

BRIDGE = Measured(compose_up=[5000, 9000, 6000], testbed_up=[4000], p50=[40], p99=[60])
TAILNET = Measured(compose_up=[7000], testbed_up=[8000], p50=[44], p99=[90])


def test_table_has_medians_and_ratios() -> None:
    lines, is_kept = judge(BRIDGE, TAILNET)
    assert is_kept
    assert [" ".join(line.split()) for line in lines] == [
        "ms: median (least to most) bridge tailnet ratio",
        "up to first block, docker compose up 6000 (5000 to 9000) 7000 (7000 to 7000) 1.17",
        "up to first block, testbed 4000 (4000 to 4000) 8000 (8000 to 8000) 2.00",
        "submit to final at 100 tx/s, p50 40 (40 to 40) 44 (44 to 44) 1.10",
        "submit to final at 100 tx/s, p99 60 (60 to 60) 90 (90 to 90) 1.50",
        "all limits kept: up within 8000 ms on the bridge and 12000 ms on the tailnet, finality within 2 times the"
        " bridge's",
    ]


@pytest.mark.parametrize(
    ("bridge", "tailnet", "complaint"),
    [
        (
            Measured([8001], [4000], [40], [60]),
            TAILNET,
            "limit not kept: up to first block, docker compose up on the bridge: 8001 ms > 8000 ms",
        ),
        (
            BRIDGE,
            Measured([7000], [12500], [44], [90]),
            "limit not kept: up to first block, testbed on the tailnet: 12500 ms > 12000 ms",
        ),
        (
            BRIDGE,
            Measured([7000], [8000], [44], [150]),
            "limit not kept: submit to final at 100 tx/s, p99: 2.50 times the bridge's on the tailnet > 2",
        ),
    ],
)
def test_invalid_limit_not_kept(bridge: Measured, tailnet: Measured, complaint: str) -> None:
    lines, is_kept = judge(bridge, tailnet)
    assert not is_kept
    assert lines[-1] == complaint
