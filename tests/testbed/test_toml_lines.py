"""The line of every value of a TOML text, however it is written."""

from __future__ import annotations

import pytest

from testbed.toml_lines import find_line

TEXT = '''# name = "not here"
name = "a = 1, [b]"
powers = [1, 2,
  # 9,
  3]
"quoted" = { in = [{ deep = 1 }, { deep = 2,
  far = 3 }] }

[timing]
some.where = 1
words = """
[timing]
other = 1
"""
other = 2

  [[ steps ]] # the first
do = "start"
[[steps]]
do = "stop"
[[steps.parts]]
a = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("powers",), 3),
        (("powers", 1), 3),
        (("powers", 2), 5),
        (("quoted", "in", 0, "deep"), 6),
        (("quoted", "in", 1, "deep"), 6),
        (("quoted", "in", 1, "far"), 7),
        (("timing",), 9),
        (("timing", "some", "where"), 10),
        (("timing", "other"), 15),
        (("timing", "absent"), 9),
        (("timing", "some", "absent"), 10),
        (("steps", 0), 17),
        (("steps", 0, "do"), 18),
        (("steps", 1, "do"), 20),
        (("steps", 1, "absent"), 19),
        (("absent",), 1),
    ],
    ids=str,
)
def test_a_value_is_found_or_its_nearest_parent(path: tuple[str | int, ...], line: int) -> None:
    assert find_line(TEXT, path) == line
