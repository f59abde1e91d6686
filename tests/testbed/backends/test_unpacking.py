"""What is copied out of a container stays within its folder, and is for its owner only."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from testbed.backends.docker_containers import unpack


def pack(*members: tuple[str, bytes, str]) -> bytes:
    """An archive of `(name, type, content or target of a link)`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o644
            if kind == tarfile.REGTYPE:
                info.size = len(text)
            else:
                info.linkname = text
            archive.addfile(info, io.BytesIO(text.encode()))
    return file.getvalue()


def test_folders_and_files(tmp_path: Path) -> None:
    unpack(pack(("./", tarfile.DIRTYPE, ""), ("./log/0001", tarfile.REGTYPE, "votes")), tmp_path / "node")
    found = tmp_path / "node" / "log" / "0001"
    assert found.read_text("ascii") == "votes"
    assert found.stat().st_mode & 0o777 == 0o600


def test_invalid_members_are_left_out(tmp_path: Path) -> None:
    target = tmp_path / "node"
    archive = pack(
        ("../above", tarfile.REGTYPE, "x"),
        (str(tmp_path / "absolute"), tarfile.REGTYPE, "x"),
        ("out", tarfile.SYMTYPE, str(tmp_path)),
        ("out/through", tarfile.REGTYPE, "x"),
        ("pipe", tarfile.FIFOTYPE, ""),
        ("good", tarfile.REGTYPE, "x"),
    )
    unpack(archive, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node"]
    assert sorted(path.name for path in target.rglob("*")) == ["good", "out", "through"]
