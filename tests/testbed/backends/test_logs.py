"""Reading the logs of nodes."""

from __future__ import annotations

from pathlib import Path

from testbed.backends.logs import LogFolder, find_last_words


def test_last_words_of_a_process() -> None:
    assert find_last_words("") == "it wrote nothing"
    assert find_last_words("one\ntwo\n") == "two"
    traceback = "begin\nTraceback (most recent call last):\n  File x\nValueError: why\n\nlater\n"
    assert find_last_words(traceback) == "ValueError: why"


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
