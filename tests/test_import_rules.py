"""Who may import whom, read from the source of every module (nothing is imported or run).

Four rules; docs/architecture.md shows the table of rooms.
1. A package of ours imports only the packages in its row of `ROOMS`; tana never imports testbed.
2. A pure module imports, from outside, only what cannot reach a clock, a socket, a disk or randomness, and from
   inside only other pure modules.
3. Checkers, invariants and faults name no concrete backend: not in an import, not in an identifier, not as a string.
4. The command line names no hooks: `tana validator run` is the honest node.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROOMS = {
    "tana.types": (),
    "tana.crypto": ("tana.types",),
    "tana.consensus": ("tana.types", "tana.crypto"),
    "tana.ledger": ("tana.types", "tana.crypto"),
    "tana.mesh": ("tana.types", "tana.crypto"),
    "tana.durable": ("tana.types",),
    "tana.auth": ("tana.types", "tana.crypto", "tana.durable"),
    "tana.t4": ("tana.types", "tana.crypto", "tana.durable", "tana.auth"),
    "tana.client": ("tana.types", "tana.crypto", "tana.durable", "tana.auth"),
    "tana.node": (
        "tana.types",
        "tana.crypto",
        "tana.consensus",
        "tana.ledger",
        "tana.durable",
        "tana.auth",
        "tana.t4",
        "tana.client",
    ),
    "tana.cli": ("tana.*",),
    "testbed*": ("tana.*", "testbed*"),
}
PURE = (
    "tana.types*",
    "tana.crypto*",
    "tana.consensus*",
    "tana.ledger*",
    "tana.node",
    "tana.node.machine*",
    "tana.node.inputs",
    "tana.node.effects",
    "tana.node.sync",
    "tana.node.announcer",
    "tana.node.gossip",
    "tana.mesh",
    "tana.mesh.registry*",
    "tana.mesh.bodies",
    "tana.mesh.records",
    "tana.mesh.views",
)
PURE_MAY_IMPORT = frozenset(
    {
        "__future__",
        "abc",
        "bisect",
        "collections",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "msgspec",
        "nacl",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
    }
)
NAMES_NO_BACKEND = ("testbed.checkers*", "testbed.faults*", "testbed.invariants*")
BACKENDS = ("simulation", "processes", "docker")
NAMES_NO_HOOKS = ("tana.cli*",)


def find_violations(root: Path) -> list[str]:
    """Every breach of the rules under `root`, as `module:line: what is wrong`."""
    modules = {_module_name(path, root): path for name in ("tana", "testbed") for path in (root / name).rglob("*.py")}
    found = []
    for module, path in sorted(modules.items()):
        tree = ast.parse(path.read_text("utf-8"), str(path))
        for line, message in _check(module, tree, path.name == "__init__.py", frozenset(modules)):
            found.append(f"{module}:{line}: {message}")
    return found


def _check(module: str, tree: ast.Module, is_package: bool, modules: frozenset[str]) -> Iterator[tuple[int, str]]:
    imports = list(_imports(module, tree, is_package, modules))
    for line, target in imports:
        if target.partition(".")[0] in ("tana", "testbed"):
            if not _may_import(module, target):
                yield line, f"may not import {target}"
            elif _matches(module, PURE) and not _matches(target, PURE):
                yield line, f"is pure and may not import {target}, which is not"
        elif _matches(module, PURE) and target.partition(".")[0] not in PURE_MAY_IMPORT:
            yield line, f"is pure and may not import {target}"
    if _matches(module, NAMES_NO_BACKEND):
        for line, name in [*imports, *_names(tree), *_strings(tree)]:
            if any(word in name.lower() for word in BACKENDS):
                yield line, f"names a concrete backend: {name}"
    if _matches(module, NAMES_NO_HOOKS):
        for line, name in _names(tree):
            if "hooks" in name.lower():
                yield line, f"names hooks: {name}"


def _may_import(module: str, target: str) -> bool:
    room, target_room = _room(module), _room(target)
    allowed = next((ROOMS[row] for row in ROOMS if fnmatchcase(room, row)), ())
    # The root package holds the version and nothing else, and everybody may read that.
    return target_room in (room, "tana") or _matches(target_room, allowed)


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


def _imports(module: str, tree: ast.Module, is_package: bool, modules: frozenset[str]) -> Iterator[tuple[int, str]]:
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in modules else source


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name


def _strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    # Only a string that is a backend's name and nothing else: prose may speak of processes.
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in BACKENDS:
            yield node.lineno, str(node.value)


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_rules_hold() -> None:
    assert find_violations(ROOT) == []


def test_every_package_has_a_row() -> None:
    packages = {f"tana.{path.parent.name}" for path in (ROOT / "tana").glob("*/__init__.py")}
    packages |= {f"tana.{path.stem}" for path in (ROOT / "tana").glob("[!_]*.py")}
    assert packages == {row for row in ROOMS if row.startswith("tana")}


def test_the_document_shows_the_same_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    shown = dict(re.findall(r"^\| `([a-z0-9/]+)` \|[^|]*\| ([^|]+) \|$", text, re.MULTILINE))
    expected = {row.rstrip("*").replace(".", "/"): ", ".join(_short(name) for name in ROOMS[row]) for row in ROOMS}
    assert shown == {
        **expected,
        "tana/types": "nothing of ours",
        "tana/cli": "all of `tana`",
        "testbed": "all of `tana`",
    }


def _short(package: str) -> str:
    return package.removeprefix("tana.")


@pytest.mark.parametrize("pattern", PURE)
def test_every_pure_pattern_names_something(pattern: str) -> None:
    modules = [_module_name(path, ROOT) for path in (ROOT / "tana").rglob("*.py")]
    assert any(fnmatchcase(module, pattern) for module in modules)


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("tana/consensus/bad.py", "import time", "is pure and may not import time"),
        ("tana/consensus/bad.py", "def f():\n    from random import choice", "is pure and may not import random"),
        ("tana/ledger/bad.py", "import os.path as p", "is pure and may not import os.path"),
        ("tana/types/bad.py", "import asyncio", "is pure and may not import asyncio"),
        ("tana/crypto/bad.py", "import logging", "is pure and may not import logging"),
        ("tana/node/machine_bad.py", "import socket", "is pure and may not import socket"),
        ("tana/node/machine_bad.py", "from . import log", "is pure and may not import tana.node.log, which is not"),
        ("tana/node/machine_bad.py", "import tana.t4.store", "is pure and may not import tana.t4.store, which is not"),
        ("tana/mesh/registry_bad.py", "import httpx", "is pure and may not import httpx"),
        ("tana/types/bad.py", "from tana import crypto", "may not import tana.crypto"),
        ("tana/types/bad.py", "from ..crypto import keys", "may not import tana.crypto"),
        ("tana/ledger/bad.py", "from tana.consensus import votes", "may not import tana.consensus"),
        ("tana/t4/bad.py", "import tana.node", "may not import tana.node"),
        ("tana/client/bad.py", "from tana.mesh.service import MeshService", "may not import tana.mesh.service"),
        ("tana/cli/bad.py", "import testbed.plan", "may not import testbed.plan"),
        ("tana/new/bad.py", "import tana.types.errors", "may not import tana.types.errors"),
        ("testbed/checkers/bad.py", "import testbed.backends.simulation", "names a concrete backend"),
        ("testbed/checkers/bad.py", "if name == 'processes': pass", "names a concrete backend: processes"),
        ("testbed/faults/bad.py", "cluster.docker_client()", "names a concrete backend: docker_client"),
        ("tana/cli/bad.py", "from tana.node.runtime import Hooks", "names hooks: Hooks"),
    ],
)
def test_the_checker_fails_on(path: str, source: str, complaint: str, tmp_path: Path) -> None:
    for real in ("tana/crypto/__init__.py", "tana/node/log.py", "tana/types/errors.py", path):
        (tmp_path / real).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / real).touch()
    assert find_violations(tmp_path) == []
    (tmp_path / path).write_text(source)
    module = path.removesuffix(".py").replace("/", ".")
    assert any(line.startswith(f"{module}:") and complaint in line for line in find_violations(tmp_path))


def test_the_checker_accepts_good_modules(tmp_path: Path) -> None:
    sources = {
        "tana/consensus/good.py": "import hashlib\nfrom tana.types.errors import InvalidInput",
        "tana/node/machine_good.py": "from tana.ledger import ledger\nfrom .inputs import Timer",
        "tana/node/log.py": "import os, asyncio\nimport tana.client.mesh",
        "tana/cli/good.py": "from tana import __version__\nimport tana.mesh.server",
        "testbed/faults/good.py": '"""For processes."""\nimport testbed.backends.base\nremedy = "two processes"',
        "testbed/cli.py": "import testbed.runner.run\nimport tana.node.runtime",
    }
    for path, source in sources.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    assert find_violations(tmp_path) == []
