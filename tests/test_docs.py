"""The documents are true: links lead somewhere, make targets, commands and flags exist."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROGRAMS = {"tana": "tana.cli.main", "testbed": "testbed.cli"}

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_TARGET = re.compile(r"^([a-z][a-z-]*):(.*)$", re.MULTILINE)
_SETTING = re.compile(r"[A-Z_]+=\S*\Z")
_SHELLS = ("", "sh", "bash", "shell", "console")
_ENDS_COMMAND = frozenset(("|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "…", "..."))

TARGETS = {name: rest.partition("## ")[2] for name, rest in _TARGET.findall((ROOT / "Makefile").read_text("utf-8"))}


def find_dead_links(document: Path) -> list[str]:
    """Relative links of a document that lead to no file or to no heading."""
    dead = []
    for link in _LINK.findall(_FENCE.sub("", document.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    return dead


def find_bad_targets(text: str) -> list[str]:
    """Targets that a text tells the reader to make and that the Makefile does not have."""
    return [
        word for command in _commands(text) if command[0] == "make" for word in _targets(command) if word not in TARGETS
    ]


def find_bad_commands(text: str) -> list[str]:
    """Commands of our programs in a text that would be refused as they stand, each with the reason."""
    bad = []
    for command in _commands(text):
        if command[0] in PROGRAMS:
            reason = _refusal(PROGRAMS[command[0]], command[1:])
            if reason:
                bad.append(f"{shlex.join(command)}: {reason}")
    return bad


def _anchors(document: Path) -> set[str]:
    # As code hosts make them: lower case, punctuation dropped, blanks to hyphens.
    headings = _HEADING.findall(_FENCE.sub("", document.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands(text: str) -> Iterator[list[str]]:
    """The words of each shell command in fenced blocks, and of each inline code that is a make command."""
    for language, block in _FENCE.findall(text):
        if language in _SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                yield from _split(line.strip().removeprefix("$ "))
    for code in _CODE.findall(_FENCE.sub("", text)):
        if code.startswith(("make ", *(f"{program} " for program in PROGRAMS))):
            yield from _split(code)


def _split(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return  # prose or output with a lone quote, not a command
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _ENDS_COMMAND:
            if command or not _SETTING.match(word):
                command.append(word.removeprefix(".venv/bin/"))
        elif command:
            yield command
            command = []


def _targets(command: list[str]) -> list[str]:
    return [word for word in command[1:] if not word.startswith("-") and not _SETTING.match(word)]


def _refusal(module: str, words: list[str]) -> str:
    """Why a program would refuse these words, empty where it would take them. Values are not judged."""
    command: Any = typer.main.get_command(importlib.import_module(module).app)
    words = list(words)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            break
        name = words.pop(0)
        # A|B in a document stands for either.
        alternatives = [part for part in name.split("|") if part not in command.commands]
        if alternatives:
            return f"there is no command {alternatives[0]}"
        command = command.commands[name.split("|")[0]]
    try:
        _, rest, _ = command.make_parser(command.context_class(command)).parse_args(words)
    except Exception as error:
        return str(error)
    return f"too many arguments: {rest}" if rest else ""


def _leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if not hasattr(command, "commands"):
        yield words
        return
    for name in command.commands:
        yield from _leaves(command.commands[name], (*words, name))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert find_dead_links(document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(document: Path) -> None:
    assert find_bad_targets(document.read_text("utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(document: Path) -> None:
    assert find_bad_commands(document.read_text("utf-8")) == []


def test_every_target_explains_itself() -> None:
    silent = {name for name, words in TARGETS.items() if not words}
    assert silent == set()
    assert {"help", "setup", "test", "testbed", "lint", "format", "bench", "bench-up", "lock", "clean"} <= set(TARGETS)


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text("utf-8")
    decisions = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert [name for name in decisions if f"]({name})" not in index] == []
    assert [int(name[:4]) for name in decisions] == list(range(1, len(decisions) + 1))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\ntana no-such-thing\n```", "no command no-such-thing"),
        ("```\n$ MESH_URL=http://localhost:8190 tana mesh aprove validator-2\n```", "no command aprove"),
        ("```console\ntana mesh list --no-such-flag\n```", "--no-such-flag"),
        ("```sh\nmake setup && .venv/bin/tana stop all of it\n```", "too many arguments"),
        ("say `tana mesh gone`", "no command gone"),
        ("```sh\ntestbed run a.toml \\\n  --no-such-flag\n```", "--no-such-flag"),
    ],
)
def test_a_wrong_command_is_found(text: str, complaint: str) -> None:
    assert [complaint in line for line in find_bad_commands(text)] == [True]


def test_right_commands_are_accepted() -> None:
    text = (
        "```sh\nmake\nMESH_URL=http://localhost:8190 tana mesh register --dev --node-id v-2 --port-offset 100  # join\n"
        "tana keys new|show\ntana mesh list --all | grep it's\ntana --version > file\n"
        "testbed run scenarios/converge.toml --backend simulation; tana stop\n```\n"
        "```python\ntana no-such-thing\n```\n"
    )
    assert find_bad_commands(text) == []
    assert find_bad_targets(text) == []


def test_a_wrong_target_is_found() -> None:
    assert find_bad_targets(
        "Say `make tests`, `make lint` or\n```sh\nBACKEND=x make testbed CI=1 -j2 nothing\n```"
    ) == [
        "nothing",
        "tests",
    ]


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(
        "# One, two\n[a](b.md) [c](#one-two) [d](#three) [e](a.md#one-two) [f](https://example.org/x)\n"
    )
    assert find_dead_links(document) == ["b.md", "#three"]


def test_every_command_loads() -> None:
    for name, module in PROGRAMS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        assert len(list(_leaves(command, (name,)))) >= 2
