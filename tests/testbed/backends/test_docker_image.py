"""Images are named for what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.backends.choice import NO_IMAGE
from testbed.backends.docker import IMAGE_USER, pack
from testbed.backends.docker_image import WORDS, compute_fingerprint, make_error, name_images
from testbed.backends.docker_model import ROOT


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in ("Dockerfile", "requirements-image.lock", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_text(name, "utf-8")
    for name in ("tana", "testbed", "docker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text(name, "utf-8")
    return tmp_path


def test_fingerprint_follows_the_sources(sources: Path) -> None:
    first = compute_fingerprint(sources, {})
    assert compute_fingerprint(sources, {"HOME": "/root"}) == first
    assert compute_fingerprint(sources, {"BASE_IMAGE": "other"}) != first
    (sources / "tana" / "a.py").write_text("changed", "utf-8")
    second = compute_fingerprint(sources, {})
    assert second != first
    (sources / "docker" / "a.py").chmod(0o755)
    assert compute_fingerprint(sources, {}) != second


def test_compiled_files_do_not_count(sources: Path) -> None:
    first = compute_fingerprint(sources, {})
    (sources / "tana" / "__pycache__").mkdir()
    (sources / "tana" / "__pycache__" / "a.pyc").write_text("", "utf-8")
    assert compute_fingerprint(sources, {}) == first


def test_image_of_the_user_is_taken() -> None:
    assert name_images({"TANA_IMAGE": "mine:1"})["TANA_IMAGE"] == "mine:1"
    named = name_images({})
    assert named["TANA_IMAGE"].removeprefix("tana:") == named["TANA_BOOTSTRAP_IMAGE"].removeprefix("tana-bootstrap:")


def test_everything_that_the_image_copies_counts() -> None:
    from testbed.backends.docker_image import SOURCES

    copied = set()
    for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--"):
            copied |= {word.split("/")[0] for word in words[1:-1]}
    assert copied <= set(SOURCES)


def test_files_belong_to_the_user_of_the_image() -> None:
    assert f"--uid {IMAGE_USER} " in (ROOT / "Dockerfile").read_text("utf-8")


def test_packed_files_keep_their_modes_and_get_their_owner(tmp_path: Path) -> None:
    import io
    import tarfile

    secret = tmp_path / "keys" / "secret"
    secret.parent.mkdir()
    secret.write_text("s", "utf-8")
    secret.chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(pack({"config": secret.parent, "note": b"n"}))) as archive:
        members = {item.name: (item.mode, item.uid, item.gid) for item in archive if item.isfile()}
    assert members == {"config/secret": (0o600, IMAGE_USER, IMAGE_USER), "note": (0o600, IMAGE_USER, IMAGE_USER)}


LONG = "failed to solve: rpc error: " * 9


@pytest.mark.parametrize(
    ("output", "message", "remedy"),
    [
        (f"{LONG}\ndial tcp: lookup host: no such host", "base:1 failed", "check the network"),
        (f"{LONG}\nno space left on device", "the engine's disk is full", "free some"),
        (LONG, "base:1 failed", "docker compose ls"),
    ],
    ids=["out of reach", "full disk", "unknown"],
)
def test_an_image_that_cannot_be_had_is_one_short_line_and_the_engines_words_are_in_a_file(
    output: str, message: str, remedy: str, tmp_path: Path
) -> None:
    error = make_error("base:1 failed", output, tmp_path / "20260101T000000Z-converge")
    assert (error.message, error.code) == (message, NO_IMAGE)
    assert remedy in error.remedy
    assert str(tmp_path / WORDS) in error.remedy
    assert "rpc" not in str(error)
    assert (tmp_path / WORDS).read_text("utf-8") == output
