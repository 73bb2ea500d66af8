"""What makes a class a message: a frozen dataclass whose methods are written once, here.

`dataclasses` writes and compiles an `__init__`, `__eq__`, `__repr__` for every class: 30 ms for the forty of this
protocol, at each start of a script or of `syncctl`. Here it only notes the fields; `fields`, `replace` and
`is_dataclass` work as ever.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, field
from typing import Any, ClassVar, TypeVar, dataclass_transform

_M = TypeVar("_M", bound="Message")


class Message:
    """Base of all messages. Values: equal by class and fields, never changed."""

    __match_args__: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, tuple[Any, Any]]] = {}

    def __init__(self, *values: Any, **named: Any) -> None:
        own, known = self.__dict__, self._defaults
        own.update(zip(known, values, strict=False))
        if len(values) > len(known) or own.keys() & named.keys() or not named.keys() <= known.keys():
            raise TypeError(f"{type(self).__name__}: too many values, one given twice, or an unknown field")
        own.update(named)
        if len(own) == len(known):
            return
        for name, (default, factory) in known.items():
            if name not in own:
                if default is MISSING and factory is MISSING:
                    raise TypeError(f"{type(self).__name__}: {name!r} is missing")
                own[name] = default if factory is MISSING else factory()

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__match_args__)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__match_args__)})"

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def message(cls: type[_M]) -> type[_M]:
    """Make a class of annotated fields a message."""
    made = dataclass(init=False, repr=False, eq=False)(cls)
    noted = made.__dataclass_fields__  # type: ignore[attr-defined]  # ClassVars stand in it, too
    made._defaults = {  # noqa: SLF001 - of the class made here
        name: (noted[name].default, noted[name].default_factory) for name in made.__match_args__
    }
    return made
