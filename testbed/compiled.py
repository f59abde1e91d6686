"""The same code in machine code: the modules that a simulated step runs through, compiled with mypyc, in a copy.

A campaign of thousands of seeds takes little more than half the time, and the traces are the very same: the last word
on that has the seed that is run once more in a plain interpreter (invariant 20). A C compiler and Python's headers must
be there, and bugs cannot be planted in it (`testbed mutants` runs the plain sources). The copy lies in
`.build/compiled` beside the sources, and is made anew where any of them has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tana.types.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(".build", "compiled")
PACKAGES = ("tana", "testbed")
COMPILED = (
    *(f"tana/types/{name}.py" for name in ("block", "canonical", "money", "sign_bytes", "transaction")),
    "tana/types/validator_set.py",
    *(f"tana/crypto/{name}.py" for name in ("body", "merkle")),
    "tana/consensus/*.py",
    "tana/ledger/*.py",
    *(f"tana/node/{name}.py" for name in ("announcer", "blocks", "gossip", "machine", "sync")),
    "testbed/trace.py",
    "testbed/invariants/*.py",
    *(f"testbed/simulation/{name}.py" for name in ("scheduler", "clock", "network", "disk", "signing", "adversary")),
    *(f"testbed/simulation/{name}.py" for name in ("node", "clients", "world")),
)
LEFT_OUT = ("__init__.py", "ledger/accounts.py", "consensus/effects.py")
"""Modules of msgspec structs: mypyc drops the options that such a class is made with."""

_BUILD = """
import json, sys
from mypyc.build import mypycify
from setuptools import setup
modules = json.load(sys.stdin)
setup(name="compiled", ext_modules=mypycify(modules, opt_level="2", debug_level="0"))
"""


def run_compiled(arguments: list[str]) -> None:
    """Become the same Python program with compiled modules; return where it is that already.

    Raises `SettingsError` where they cannot be compiled.
    """
    if is_compiled():
        return
    folder = compile_copy()
    environment = {**drop_compiled(os.environ)}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), *_get_path(environment)])
    # -P: what lies in the working directory, these sources perhaps, does not come first.
    os.execve(sys.executable, [sys.executable, "-P", *arguments], environment)


def is_compiled() -> bool:
    """Whether this very module is that of a compiled copy."""
    return ROOT.parts[-2:] == FOLDER.parts


def drop_compiled(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that is to run the plain sources."""
    kept = [folder for folder in _get_path(environment) if Path(folder).parts[-2:] != FOLDER.parts]
    return {**environment, "PYTHONPATH": os.pathsep.join(kept)}


def compile_copy(root: Path = ROOT) -> Path:
    """The folder of the compiled copy of the sources in `root`. Raises `SettingsError` where it cannot be made."""
    folder = root / FOLDER
    stamp, wanted = folder / "stamp", compute_stamp(root)
    if stamp.exists() and stamp.read_text("ascii") == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(root / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    modules = list_modules(root)
    print(f"compiling {len(modules)} modules, once for these sources: this takes minutes", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, "build_ext", "--inplace"],
        cwd=folder,
        input=json.dumps(modules),
        env=drop_compiled(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "error" in line.lower()]
        raise SettingsError(
            f"the modules cannot be compiled: {(errors or done.stdout.splitlines() or ['no output'])[-1].strip()}",
            remedy="install a C compiler and Python's headers (gcc, python3-dev), or run without --compiled",
        )
    stamp.write_text(wanted, "ascii")
    return folder


def list_modules(root: Path = ROOT) -> list[str]:
    """The modules to compile, by their files' names from `root` on."""
    found = [path.relative_to(root).as_posix() for pattern in COMPILED for path in sorted(root.glob(pattern))]
    return [name for name in found if not name.endswith(LEFT_OUT)]


def compute_stamp(root: Path = ROOT) -> str:
    """What decides how the copy looks: every source, the interpreter and the compiler."""
    digest = hashlib.sha256(f"{sys.version} {_find_version('mypy')} {_BUILD}".encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _get_path(environment: Mapping[str, str]) -> list[str]:
    return [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise SettingsError(
            f"{package} is not installed, and mypyc comes with it", remedy="make setup, or run without --compiled"
        ) from None
