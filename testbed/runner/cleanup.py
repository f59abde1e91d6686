"""cleanup: end everything that was started, leave logs and journals; nodes' data stays only where it may be wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

from testbed.cluster import Cluster


def cleanup(cluster: Cluster, folder: Path) -> None:
    """End the nodes, and collect their logs and journals."""
    try:
        cluster.backend.cleanup()
    finally:
        cluster.history.close()
        cluster.screen.close()
    cluster.backend.collect_logs(folder / "logs")
    cluster.backend.collect_journals(folder / "journals")


def remove_data(folder: Path) -> None:
    """Remove the nodes' data folders of a run that has ended."""
    shutil.rmtree(folder / "nodes", ignore_errors=True)
