"""A value of an immutable object that is computed when it is first asked for, and kept.

`functools.cached_property` takes a lock for that (until Python 3.12), which costs more than most of what is kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

_Value = TypeVar("_Value")


class lazy(Generic[_Value]):
    """Decorates a method without arguments; its class must have a `__dict__`."""

    def __init__(self, compute: Callable[[Any], _Value]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[_Value]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _Value: ...

    def __get__(self, instance: object | None, owner: type) -> lazy[_Value] | _Value:
        if instance is None:
            return self
        # No `__set__`: from now on the instance's own value is found first.
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
