"""Planting bugs: changes to the code of this process that can be undone, and that fail where the code has moved."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from typing import Any


class Patch:
    """What was planted, so that it can be taken out again."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, bool]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute of a class, module or object."""
        assert hasattr(owner, name), f"{owner.__name__} has no {name}: the bug must be planted elsewhere"
        self._undo.append((owner, name, inspect.getattr_static(owner, name), name in vars(owner)))
        setattr(owner, name, value)

    def edit(self, owner: Any, name: str, old: str, new: str) -> None:
        """Replace a piece of a function's source, which must be there exactly once; indented as in the file.

        A second edit of the same function works on the first one's result.
        """
        function = inspect.getattr_static(owner, name)
        source = getattr(function, "planted_source", "") or inspect.getsource(function)
        assert source.count(old) == 1, f"{owner.__name__}.{name} has {source.count(old)} times: {old}"
        changed = source.replace(old, new)
        module = sys.modules[function.__module__]
        code = compile(textwrap.dedent(changed), f"<{name} with a bug>", "exec", __future__.annotations.compiler_flag)
        scope: dict[str, Any] = {}
        exec(code, module.__dict__, scope)
        planted = scope[name]
        planted.planted_source = changed
        self.set(owner, name, planted)

    def undo(self) -> None:
        """Take everything out, the last first."""
        while self._undo:
            owner, name, value, was_own = self._undo.pop()
            if was_own:
                setattr(owner, name, value)
            else:
                delattr(owner, name)
