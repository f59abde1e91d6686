"""The compiled copy: which modules it is made of, when it is made anew, and what is said where it cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tana.types.errors import SettingsError
from testbed.compiled import (
    COMPILED,
    FOLDER,
    ROOT,
    compile_copy,
    compute_stamp,
    drop_compiled,
    is_compiled,
    list_modules,
)

MODULE = "tana/types/validator_set.py"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Sources of one module that could be compiled."""
    (tmp_path / "testbed").mkdir()
    (tmp_path / MODULE).parent.mkdir(parents=True)
    (tmp_path / MODULE).write_text("def double(number: int) -> int:\n    return 2 * number\n", "utf-8")
    return tmp_path


def test_every_pattern_finds_modules() -> None:
    assert [pattern for pattern in COMPILED if not list(ROOT.glob(pattern))] == []


def test_no_compiled_module_defines_a_struct() -> None:
    assert [name for name in list_modules() if "msgspec.Struct" in (ROOT / name).read_text("utf-8")] == []


def test_no_compiled_module_uses_a_word_of_c_for_an_attribute() -> None:
    words = ("signed", "unsigned", "short", "long", "double", "register", "static", "auto", "inline")
    found = [
        f"{name}: _{word}"
        for name in list_modules()
        for word in words
        if f"self._{word}" in (ROOT / name).read_text("utf-8").replace(f"self._{word}_", "")
    ]
    assert found == []


def test_the_stamp_follows_the_sources(root: Path) -> None:
    stamp = compute_stamp(root)
    assert stamp == compute_stamp(root)
    (root / MODULE).write_text("def double(number: int) -> int:\n    return number + number\n", "utf-8")
    assert stamp != compute_stamp(root)


def test_a_copy_that_fits_the_sources_is_taken_as_it_is(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    (root / FOLDER / "stamp").write_text(compute_stamp(root), "ascii")
    assert compile_copy(root) == root / FOLDER


def test_without_a_compiler_it_says_what_to_install(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(root / "no-such-compiler"))
    with pytest.raises(SettingsError, match=r"cannot be compiled: .*no-such-compiler") as caught:
        compile_copy(root)
    assert "gcc" in caught.value.remedy
    assert not (root / FOLDER / "stamp").exists(), "it would be taken for whole"


def test_what_mypyc_refuses_is_named(root: Path) -> None:
    (root / MODULE).write_text("def double(number: int) -> int:\n    return 'two'\n", "utf-8")
    with pytest.raises(SettingsError, match=r"validator_set\.py:2: error"):
        compile_copy(root)


def test_these_tests_run_the_plain_sources() -> None:
    assert not is_compiled()
    environment = {"PYTHONPATH": f"/a:{ROOT / FOLDER}:/b", "HOME": "/root"}
    assert drop_compiled(environment) == {"PYTHONPATH": "/a:/b", "HOME": "/root"}
