"""Benchmarks: figures that `docs/performance.md` quotes. Nothing here is asserted; machines differ."""
