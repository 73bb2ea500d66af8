"""The grammars a setting's value may follow: sizes, durations, counts, switches, words, paths, addresses.

A kind reads a value as TOML gives it, or text as the environment and flags give it, and shows a value as a person
would write it. Reading raises ValueError; the loader adds which key and which file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_from_bytes

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGT])(i?)B?|B)?\Z", re.IGNORECASE)
_SIZE_STEPS = {"K": 1, "M": 2, "G": 3, "T": 4}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h)?\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*://.|memory:\Z")
_WEB_PORT = re.compile(r"(127\.0\.0\.1|localhost):([0-9]{1,5})\Z")


@dataclass(frozen=True, slots=True)
class Kind:
    """One grammar.

    Attributes:
        expected: what a person may write, for error texts and the table of the docs.
        native: the TOML types it takes as they are.
        parse: text or a native value -> the value kept; raises ValueError.
        show: the value kept -> text or number a person would write.
    """

    expected: str
    native: tuple[type, ...]
    parse: Callable[[Any], Any]
    show: Callable[[Any], str | int | float | bool]

    def read(self, value: object, from_text: bool) -> Any:
        """Return the value kept; a number written as text counts only where the source knows nothing but text."""
        if from_text and isinstance(value, str):
            return self.parse(value.strip())
        if not isinstance(value, self.native) or (isinstance(value, bool) and bool not in self.native):
            raise ValueError(f"{value!r} is not {self.expected}")
        return self.parse(value)


def _size(value: str | int) -> int:
    if isinstance(value, int):
        if value < 0:
            raise ValueError("a size is not negative")
        return value
    found = _SIZE.match(value)
    if not found:
        raise ValueError(f"{value!r} is not a size")
    number, step, binary = found.groups()
    base = 1024 if binary else 1000
    count = int(number) if number.isdigit() else float(number)  # a float would round what is shown exactly
    return int(count * base ** _SIZE_STEPS[step.upper()]) if step else int(count)


def show_size(value: int) -> str | int:
    """Return bytes as the shortest exact text: 268435456 -> "256MiB", 1000 -> "1000B"; 0 as it is."""
    for letter, power in reversed(_SIZE_STEPS.items()):
        unit = 1024**power
        if value and value % unit == 0:
            return f"{value // unit}{letter}iB"
    return f"{value}B" if value else 0


def show_duration(value: float) -> str | float:
    """Return seconds as the shortest exact text: 600.0 -> "10min"; 0 and what no unit hits as they are."""
    for unit in ("h", "min", "s", "ms"):
        text = f"{round(value / _SECONDS[unit])}{unit}"
        if value and _duration(text) == value:
            return text
    return value


def _duration(value: str | float) -> float:
    if isinstance(value, int | float):
        if not 0 <= value < float("inf"):
            raise ValueError("a duration is not negative")
        return float(value)
    found = _DURATION.match(value)
    if not found:
        raise ValueError(f"{value!r} is not a duration")
    return float(found[1]) * _SECONDS[found[2] or "s"]


def _count(value: str | int) -> int:
    number = int(value)
    if number < 0:
        raise ValueError(f"{value!r} is negative")
    return number


def _switch(value: str | bool) -> bool:
    if isinstance(value, bool):
        return value
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError(f"{value!r} is neither yes nor no")


def _share(value: str | float) -> float:
    number = float(value)
    if not 0 < number <= 1:
        raise ValueError(f"{value!r} is not a share")
    return number


def _path(value: str) -> bytes:
    path = os.fsencode(os.path.expanduser(value))
    if not path.startswith(b"/") or b"\0" in path:
        raise ValueError(f"{value!r} is not an absolute path")
    return os.path.normpath(path)


def _paths(value: str | list[str]) -> tuple[bytes, ...]:
    parts = value.split(":") if isinstance(value, str) else value
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{value!r} is not a list of paths")
    return tuple(_path(part) for part in parts if part)


def _show_paths(value: tuple[bytes, ...]) -> str:
    return ":".join(os.fsdecode(path) for path in value)


def _url(value: str) -> str:
    if value.startswith(("/", "~")):
        return "file://" + quote_from_bytes(_path(value))
    if not _SCHEME.match(value):
        raise ValueError("it is not a URL")  # not repeated: it may hold a password
    return value


def _web(value: str) -> str:
    if value == "off":
        return value
    if value.startswith("unix:/"):
        return value
    found = _WEB_PORT.match(value)
    if not found or int(found[2]) > 65535:
        raise ValueError(f"{value!r} is not a place this machine alone can reach")
    return value


def _same(value: Any) -> Any:
    return value


def choice(*words: str) -> Kind:
    """One of a few words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of them")
        return value

    return Kind(" or ".join(f'"{word}"' for word in words), (str,), parse, _same)


SIZE = Kind('bytes, or a size such as "256MiB"', (int, str), _size, show_size)
DURATION = Kind('seconds, or a duration such as "10min"', (int, float, str), _duration, show_duration)
COUNT = Kind("a whole number", (int,), _count, _same)
SHARE = Kind("a number above 0, at most 1", (int, float), _share, _same)
SWITCH = Kind("true or false", (bool,), _switch, _same)
TEXT = Kind("text", (str,), _same, _same)
PATH = Kind("an absolute path", (str,), _path, os.fsdecode)
PATHS = Kind("a list of absolute paths (in the environment joined by colons)", (list, str), _paths, _show_paths)
URL = Kind('a URL such as "s3://bucket/prefix" or "file:///mnt/share/models"', (str,), _url, _same)
WEB = Kind('"off", "127.0.0.1:PORT" or "unix:/path"', (str,), _web, _same)
