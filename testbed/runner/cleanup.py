"""cleanup: end everything that was started and leave the logs; nodes' data stays only where it may be wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

from testbed.cluster import Cluster


def cleanup(cluster: Cluster, folder: Path, *, keep_data: bool) -> None:
    """End the nodes, collect their logs, and remove their data unless it is to be kept."""
    try:
        cluster.backend.cleanup()
    finally:
        cluster.history.close()
        cluster.screen.close()
    cluster.backend.collect_logs(folder / "logs")
    if not keep_data:
        shutil.rmtree(folder / "nodes", ignore_errors=True)
