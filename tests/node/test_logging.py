"""Logs: one JSON object per line, whatever is logged, and no secrets."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from tana.node.logging import configure_logging
from tests.node.cluster import make_key


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    handlers, level = root.handlers, websockets.level
    yield
    root.handlers = handlers
    websockets.setLevel(level)
    structlog.reset_defaults()


def test_json_lines() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    structlog.get_logger().info("block_committed", height=7, hash=b"\x01\x02", key=make_key("validator-1"))
    structlog.get_logger().debug("not at this level")
    logging.getLogger("some.library").warning("careful %s", "now")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["block_committed", "library"]
    assert (lines[0]["height"], lines[0]["hash"], lines[0]["level"]) == (7, "0102", "info")
    assert lines[1]["message"] == "careful now"
    assert make_key("validator-1").seed.hex() not in stream.getvalue()


def test_text_lines() -> None:
    stream = io.StringIO()
    configure_logging("text", "debug", stream)
    structlog.get_logger().debug("peer_connected", peers=2)
    assert "peer_connected" in stream.getvalue()
    assert "peers=2" in stream.getvalue()


def test_auto_is_json_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure_logging("auto", "info", stream)
    structlog.get_logger().info("listening")
    assert json.loads(stream.getvalue())["event"] == "listening"


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_of_the_log_ends_nothing() -> None:
    stream = FullDisk()
    configure_logging("json", "info", stream)
    structlog.get_logger().info("block_committed")
    with pytest.raises(OSError, match="No space left"):
        stream.flush()
