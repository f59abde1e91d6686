"""The images of a run: named for the sources they are made of, so that they are made once and never too old."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from tana.types.errors import Unavailable
from testbed.backends.choice import NO_IMAGE
from testbed.backends.docker_engine import Compose, explain, is_out_of_reach
from testbed.backends.docker_model import ROOT
from testbed.backends.docker_sdk import APIError, ImageNotFound

IMAGE_LABEL = "com.tana.testbed.image"
"""On the images that a run made; its value is the checkout. Containers inherit it, so it is not the label of runs."""
BUILD_TIMEOUT_S = 900
PULL_TIMEOUT_S = 600
SOURCES = (
    "Dockerfile",
    "requirements-image.lock",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "tana",
    "testbed",
    "docker",
)
_ARGUMENTS = ("BASE_IMAGE", "HEADSCALE_IMAGE")
WORDS = "docker.log"
"""Beside the folders of runs: what the engine said last when it could not make or fetch an image."""
NO_REGISTRY = "check the network, or see docs/docker.md: without an image registry"

Say = Callable[[str], None]


def name_images(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """TANA_IMAGE and TANA_BOOTSTRAP_IMAGE: as the user has them, else by the fingerprint of the sources."""
    given = os.environ if environment is None else environment
    tag = compute_fingerprint(ROOT, given)[:12]
    return {
        "TANA_IMAGE": given.get("TANA_IMAGE") or f"tana:{tag}",
        "TANA_BOOTSTRAP_IMAGE": given.get("TANA_BOOTSTRAP_IMAGE") or f"tana-bootstrap:{tag}",
    }


def compute_fingerprint(root: Path, environment: Mapping[str, str]) -> str:
    """A hash over everything that goes into the image."""
    digest = hashlib.sha256()
    for name in _ARGUMENTS:
        digest.update(f"{name}={environment.get(name, '')}\0".encode())
    for path in _list_files(root):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111:o}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _list_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for name in SOURCES:
        path = root / name
        files += (item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    return sorted(path for path in files if "__pycache__" not in path.parts)


def provide_images(client: Any, compose: Compose, model: Mapping[str, Any], folder: Path, say: Say) -> None:
    """Build and fetch the images of the model that are not here. Raises `Unavailable` with the reason in one line."""
    services: Mapping[str, Any] = model["services"]
    wanted = {service["image"] for service in services.values()}
    missing = {image for image in wanted if not _has_image(client, image)}
    built = {service["image"]: name for name, service in services.items() if "build" in service}
    building = [built[image] for image in sorted(missing & built.keys())]
    if building:
        say("making the image from the sources: a minute or two the first time, seconds later")
        _build(compose, model, building, folder / "build.json", say)
        remove_images(client, wanted)
    for image in sorted(missing - built.keys()):
        say(f"fetching the image {image}")
        _fetch(compose, image, next(name for name, service in services.items() if service["image"] == image), folder)


def _build(compose: Compose, model: Mapping[str, Any], names: list[str], file: Path, say: Say) -> None:
    """The model's own recipe, with our label on what comes out."""
    services = {name: {**service} for name, service in model["services"].items() if name in names}
    for service in services.values():
        service["build"] = {**service["build"], "labels": {IMAGE_LABEL: str(ROOT)}}
        service.pop("depends_on", None)
    file.write_text(json.dumps({**model, "services": services}, indent=1), "utf-8")
    builder = dataclasses.replace(compose, files=[file])
    code, output = builder.call("--progress", "plain", "build", *names, timeout_s=BUILD_TIMEOUT_S)
    if code != 0:
        base = services[names[0]]["build"]["args"]["BASE_IMAGE"]
        what = f"{base} cannot be pulled" if is_out_of_reach(output) else f"the image cannot be built on {base}"
        raise make_error(what, output, file.parent)


def _fetch(compose: Compose, image: str, service: str, folder: Path) -> None:
    code, output = compose.call("pull", "--quiet", service, timeout_s=PULL_TIMEOUT_S)
    if code != 0:
        raise make_error(f"{image} cannot be pulled", output, folder)


def make_error(what: str, output: str, folder: Path) -> Unavailable:
    """The error for an image that cannot be had: one short line. The engine's words, which are not, stay in a file."""
    words = folder.parent / WORDS
    words.write_text(output, "utf-8")
    error = explain(what, output)
    message = what if error.message.startswith(what) else error.message
    remedy = NO_REGISTRY if is_out_of_reach(output) else error.remedy
    return Unavailable(message, remedy=f"{remedy}; the engine's words are in {words}", code=NO_IMAGE)


def _has_image(client: Any, image: str) -> bool:
    try:
        client.api.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def remove_images(client: Any, wanted: Set[str] = frozenset()) -> list[str]:
    """Remove the images that this checkout made, but for those wanted; the engine keeps what a container uses."""
    removed: list[str] = []
    for image in client.images.list(filters={"label": f"{IMAGE_LABEL}={ROOT}"}):
        if not wanted & set(image.tags):
            try:
                client.api.remove_image(image.id)
            except APIError:
                continue
            removed += image.tags or [image.short_id]
    return removed
