"""Frozen dataclasses for what every start imports. Standard library only.

In: a class of annotated fields that extends `Record`. Out: a dataclass, for `fields`, `replace`, `asdict` and `match` too.

`dataclasses.dataclass` compiles five methods for each class, which takes about half a millisecond: 14 of the 39 that
`import edgexf_runtimes` took (Xeon, Python 3.11). The methods here read the fields when they are called. Two alternatives
were weighed. A NamedTuple compiles one method, but it is equal to a plain tuple, and a new field moves the others. A
library such as attrs compiles methods as well. Classes that a start does not import stay plain dataclasses.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """The base class of a frozen dataclass. Fields with ``compare=False`` don't count for equality."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        known = fields(self)
        if len(given) > len(known):
            raise TypeError(f"{type(self).__name__} has {len(known)} fields, got {len(given)} values")
        for one, value in zip(known, given, strict=False):
            if one.name in named:
                raise TypeError(f"{type(self).__name__} got {one.name} twice")
            named[one.name] = value
        values = self.__dict__  # in the order of the fields
        for one in known:
            values[one.name] = named.pop(one.name) if one.name in named else self._default(one)
        if named:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(named)}")
        self.__post_init__()

    def __post_init__(self) -> None:
        """Checks the values, in classes that define it."""

    def _default(self, one: Field[Any]) -> Any:
        if one.default is not MISSING:
            return one.default
        if one.default_factory is not MISSING:
            return one.default_factory()
        raise TypeError(f"{type(self).__name__} needs {one.name}")

    def _compared(self) -> tuple[Any, ...]:
        return tuple(getattr(self, one.name) for one in fields(self) if one.compare)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        values = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
        return f"{type(self).__qualname__}({values})"

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")
