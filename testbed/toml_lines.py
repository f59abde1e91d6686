"""Where each value of a TOML text stands, so that an error can name its line. The standard parser does not tell."""

from __future__ import annotations

import re
from collections import Counter

Path = tuple[str | int, ...]
"""The keys and indices that lead to a value."""

_NAME = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_KEYS = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_TOKEN = re.compile(
    rf"""(?P<comment>\#[^\n]*)
    |^[ \t]*(?P<header>\[\[?[ \t]*{_KEYS}[ \t]*\]\]?)
    |(?P<key>{_KEYS})[ \t]*=
    |(?P<text>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<mark>[\[\]{{}},])
    |(?P<rest>[^\s\[\]{{}},\#"']+)""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


def find_line(text: str, path: Path) -> int:
    """The line (from 1) where a value stands in a valid TOML text, or where its nearest parent does.

    A table without a header begins with the first of its dotted keys.
    """
    lines = find_lines(text)
    for length in range(len(path), 0, -1):
        found = [line for known, line in lines.items() if known[:length] == path[:length]]
        if found:
            return min(found)
    return 1


def find_lines(text: str) -> dict[Path, int]:
    """The line of each table, key and element of an array."""
    lines: dict[Path, int] = {}
    counts: Counter[Path] = Counter()
    table: Path = ()
    current: Path = ()
    opened: list[Path] = []
    """Inline arrays and tables that are not closed yet; the last part of an array's is the index of its element."""
    for token in _TOKEN.finditer(text):
        line = text.count("\n", 0, token.start(token.lastgroup or 0)) + 1
        is_element = bool(opened) and isinstance(opened[-1][-1], int)
        if token["header"]:
            table = _split(token["header"].strip("[] \t"))
            if token["header"].startswith("[["):
                counts[table] += 1
                table = (*table, counts[table] - 1)
            lines.setdefault(table, line)
        elif token["key"]:
            current = (*(opened[-1][:-1] if opened else table), *_split(token["key"]))
            lines.setdefault(current, line)
        elif token["mark"] == ",":
            if is_element:
                opened[-1] = _next(opened[-1])
        elif token["mark"] in ("]", "}"):
            opened.pop()
        elif not token["comment"]:
            if is_element:
                current = opened[-1]
                lines.setdefault(current, line)
            if token["mark"]:
                opened.append((*current, 0 if token["mark"] == "[" else ""))
    return lines


def _next(path: Path) -> Path:
    index = path[-1]
    assert isinstance(index, int), "an element of an array"
    return (*path[:-1], index + 1)


def _split(keys: str) -> Path:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, keys))
