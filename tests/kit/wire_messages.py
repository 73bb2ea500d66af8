"""Any message of the protocol, built from the annotations of its class."""

from __future__ import annotations

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from syncd_client.wire import messages

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
WHOLE = st.integers(-(1 << 63), (1 << 64) - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
PLAIN = {str: TEXT, bytes: st.binary(max_size=20), int: WHOLE, float: FLOATS, bool: st.booleans(), Any: JSON}

CLASSES: list[type[messages.Message]] = [
    one
    for one in vars(messages).values()
    if isinstance(one, type) and issubclass(one, messages.Message) and one not in (messages.Message, messages.Request)
]


def any_of(cls: type[messages.Message]) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of one class."""
    hints = get_type_hints(cls, vars(messages), {})
    return st.builds(cls, **{one.name: _value(hints[one.name]) for one in fields(cls)})


def _value(hint: Any) -> st.SearchStrategy[Any]:
    if hint in PLAIN:
        return PLAIN[hint]
    if get_origin(hint) is UnionType:
        return st.one_of([_value(one) if one is not NoneType else st.none() for one in get_args(hint)])
    if get_origin(hint) is list:
        return st.lists(_value(get_args(hint)[0]), max_size=3)
    if get_origin(hint) is dict:
        return st.dictionaries(TEXT, _value(get_args(hint)[1]), max_size=3)
    return any_of(hint)
