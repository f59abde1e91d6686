"""Reading the logs of nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.backends.logs import LogFolder, find_last_words


def test_last_words_of_a_process() -> None:
    assert find_last_words("") == "it wrote nothing"
    assert find_last_words("one\ntwo\n") == "two"
    traceback = "begin\nTraceback (most recent call last):\n  File x\nValueError: why\n\nlater\n"
    assert find_last_words(traceback) == "ValueError: why"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "error: the control server does not answer after 20 s\n  → see why: docker compose logs headscale\n",
            "the control server does not answer after 20 s (see why: docker compose logs headscale)",
        ),
        ("  → alone\n", "  → alone"),
        (
            "x\n2026/11/24 12:23:30 Received error: register request: http 401: authkey expired\n"
            "2026/11/24 12:23:32 dns: inotify: context canceled\n",
            "the auth key has expired: register request: http 401: authkey expired (give the sidecars a valid auth key",
        ),
        (
            'getLocalBackend error: createEngine: tstun.New("tailscale0"): operation not permitted\nboot: ended\n',
            "the sidecar cannot make its tunnel: createEngine: tstun.New",
        ),
        ("Received error: authkey expired\nboot: Startup complete, waiting for shutdown signal\nlast\n", "last"),
        ("Received error: something new\nlast\n", "last"),
    ],
)
def test_error_and_remedy_are_one_line(log: str, words: str) -> None:
    assert find_last_words(log).startswith(words)


def test_entries_are_read_once_and_only_whole(tmp_path: Path) -> None:
    logs = LogFolder(tmp_path)
    assert logs.read_new("a") == []
    path = logs.get_path("a")
    path.write_bytes(b'{"event": "one"}\nnot json\n{"event": "tw')
    assert logs.read_new("a") == [{"event": "one"}]
    with path.open("ab") as file:
        file.write(b'o"}\n')
    assert logs.read_new("a") == [{"event": "two"}]
    assert logs.read_new("a") == []
    assert logs.find_last_words("a") == '{"event": "two"}'
    assert logs.find_last_words("b") == "it wrote nothing"
