"""docs/PROTOCOL.md says what the code does: every verb, field, type, default, code, limit, and each example's bytes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import MISSING, Field, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from syncd_client.connection import ONCE_ONLY
from syncd_client.wire import codec, errors, limits, messages
from syncd_client.wire.frames import decode_frame, encode_frame
from syncd_client.wire.messages import EVENTS, REQUESTS, Message, Request

PAGE = os.path.join(os.path.dirname(__file__), "../../docs/PROTOCOL.md")
WORDS = {str: "text", bytes: "bytes", int: "int", float: "float", bool: "bool", Any: "any"}
PARTS = [
    cls
    for cls in vars(messages).values()
    if isinstance(cls, type) and issubclass(cls, Message) and cls is not Message and not issubclass(cls, Request)
]


@pytest.fixture(scope="module")
def page() -> str:
    with open(PAGE, encoding="utf-8") as file:
        return file.read()


def _section(page: str, title: str) -> str:
    found = re.search(rf"^### `{re.escape(title)}`\n(.*?)(?=^##)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no section for {title}"
    return found[1]


def _rows(text: str) -> list[tuple[str, ...]]:
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]


def _type(hint: Any) -> str:
    if hint in WORDS:
        return WORDS[hint]
    if get_origin(hint) is UnionType:
        return " or ".join("nil" if one is NoneType else _type(one) for one in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_type(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"map of {_type(get_args(hint)[1])}"
    return f"`{hint.__name__}`"


def _default(field: Field[Any]) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return "required"
    value = field.default_factory() if field.default is MISSING else field.default
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | bytes):
        return f'`"{value if isinstance(value, str) else value.decode()}"`'
    return str(value)


def _said(cls: type[Message]) -> list[tuple[str, str, str]]:
    hints = get_type_hints(cls, vars(messages), {})
    return [(f"`{one.name}`", _type(hints[one.name]), _default(one)) for one in fields(cls)]


@pytest.mark.parametrize("op", REQUESTS)
def test_every_verb_stands_in_it_with_its_fields(page, op):
    section = _section(page, op)
    assert [row[:3] for row in _rows(section)] == _said(REQUESTS[op])
    assert f"Answered by `{REQUESTS[op].reply.__name__}`" in section
    assert ("asked once" if op in ONCE_ONLY else "may be repeated") in section


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_every_message_stands_in_it_with_its_fields(page, cls):
    assert [row[:3] for row in _rows(_section(page, cls.__name__))] == _said(cls)


def test_nothing_stands_in_it_that_is_not_there(page):
    titles = set(re.findall(r"^### `(\w+)`", page, re.MULTILINE))
    assert titles == set(REQUESTS) | {cls.__name__ for cls in PARTS}


def test_every_code_stands_in_it_with_its_exit_code(page):
    section = page.partition("## Errors and exit codes")[2].partition("\n## ")[0]
    assert {row[0].strip("`"): int(row[1]) for row in _rows(section)} == errors.EXIT
    for code in (errors.OK, errors.PARTLY, errors.INTERRUPTED):
        assert re.search(rf"\b{code} \w+", section)


def test_every_event_stands_in_it(page):
    section = page.partition("## Events")[2].partition("\n## ")[0]
    assert {row[0].strip("`"): row[1].strip("`") for row in _rows(section)} == {
        kind: cls.__name__ for kind, cls in EVENTS.items()
    }


def test_every_limit_stands_in_it(page):
    section = page.partition("## Frames")[2].partition("\n## ")[0]
    for name, value in vars(limits).items():
        if name.endswith("_LIMIT"):
            assert f"{value:,}" in section, name


def _bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return value["bytes"].encode() if list(value) == ["bytes"] and isinstance(value["bytes"], str) else {
            key: _bytes(inner) for key, inner in value.items()
        }  # fmt: skip
    return [_bytes(inner) for inner in value] if isinstance(value, list) else value


def test_each_example_is_the_frame_it_says(page):
    examples = re.findall(r"```json\n(.*?)\n```\n```hex\n(.*?)\n```", page, re.DOTALL)
    assert len(examples) >= 7
    for text, shown in examples:
        frame = bytes.fromhex(shown)
        payload = decode_frame(frame[4:])
        assert payload == _bytes(json.loads(text))
        assert encode_frame(payload) == frame
        decode = codec.decode_client_frame if "op" in payload else codec.decode_server_frame
        decode(payload)
