"""`GET /metrics`: numbers of one node for Prometheus, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Gauges(NamedTuple):
    """What is read from the node at the moment of a scrape."""

    height: int
    round: int
    peers: int
    mempool_transactions: int
    mempool_bytes: int
    link_frames_dropped: int
    links_refused: int


_HELP = (
    "Last final height",
    "Round of the height being decided",
    "Peers with a link",
    "Transactions that wait",
    "Bytes of transactions that wait",
    "Frames not sent because a peer reads too slowly",
    "Links refused at the handshake",
)


class Metrics:
    """Counters and histograms that the runtime feeds. `read_gauges` is called at each scrape; None before a chain."""

    def __init__(self, read_gauges: Callable[[], Gauges | None]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_GaugeCollector(read_gauges))
        self.blocks = Counter("tana_blocks_committed", "Blocks made final by this process", registry=self._registry)
        self.transactions = Counter(
            "tana_transactions_committed", "Transactions made final by this process", registry=self._registry
        )
        self.heartbeat_failures = Counter(
            "tana_heartbeat_failures", "Heartbeats that the mesh did not take", registry=self._registry
        )
        self.flush_seconds = Histogram(
            "tana_log_flush_seconds",
            "Time to make consensus messages durable",
            buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1),
            registry=self._registry,
        )
        self.commit_seconds = Histogram(
            "tana_commit_seconds",
            "Time to write a final block",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.25, 1),
            registry=self._registry,
        )
        self.durable_seconds = Histogram(
            "tana_durable_seconds",
            "Time to make the final blocks of a step durable: one, in sync up to a request's worth",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.25, 1),
            registry=self._registry,
        )
        self.block_bytes = Histogram(
            "tana_block_bytes",
            "Size of final blocks",
            buckets=(1_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 4_000_000),
            registry=self._registry,
        )

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _GaugeCollector(Collector):
    def __init__(self, read_gauges: Callable[[], Gauges | None]) -> None:
        self._read_gauges = read_gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauges = self._read_gauges()
        if gauges is None:
            return
        for name, value, text in zip(Gauges._fields, gauges, _HELP, strict=True):
            yield GaugeMetricFamily(f"tana_{name}", text, value=value)
