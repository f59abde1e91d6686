"""Make a virtual environment with pip in it: `python3 tools/make_venv.py .venv`.

Runs before anything is installed, so it uses the standard library only, and stays readable by older interpreters
that must say that they are too old. Debian and Ubuntu ship Python without ensurepip; then pip comes from the
system's own pip or from uv, and where neither is installed the answer is the one command that helps.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
VERSION = sys.version.split()[0]
VENV_PACKAGE = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"


def main(folder: str) -> int:
    """Leave a usable environment in `folder`. Returns the exit code."""
    if sys.version_info[:2] < OLDEST:
        return fail(
            f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed and {sys.executable} is {VERSION}",
            "name a newer one: make setup PYTHON=python3.12",
        )
    if is_usable(folder):
        return 0
    if not has_module("ensurepip") and may_install_packages():
        print(f"Python's venv module is incomplete here: installing {VENV_PACKAGE}", flush=True)
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", VENV_PACKAGE)
        importlib.invalidate_caches()
    if has_module("ensurepip"):
        return run(sys.executable, "-m", "venv", "--clear", folder)
    installer = find_installer(os.path.join(folder, "bin", "python"))
    if not installer:
        return fail(
            f"{sys.executable} cannot make a virtual environment: its ensurepip module is not installed",
            f"sudo apt-get install {VENV_PACKAGE}, then give the same make command again",
        )
    return run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder) or run(*installer, "pip")


def is_usable(folder: str) -> bool:
    """Whether `folder` already holds an environment of this very Python version, with pip."""
    script = "import pip, sys; print(sys.version.split()[0])"
    try:
        answer = subprocess.run(
            [os.path.join(folder, "bin", "python"), "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return answer.stdout.decode().strip() == VERSION


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def may_install_packages() -> bool:
    """Root has agreed to changes of the machine; anybody else is told the command."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def find_installer(python: str) -> list[str]:
    """The start of a command that installs into the environment of `python` from outside it; empty for none."""
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--quiet", "--python", python]
    if has_module("pip"):
        return [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    return []


def run(*command: str) -> int:
    return subprocess.call(command)


def fail(message: str, remedy: str) -> int:
    print(f"error: {message}\n  what to do: {remedy}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
