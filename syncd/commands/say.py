"""How a verb speaks: quiet, for people, or as JSON; and how an error becomes three lines and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import msgspec

from syncd.errors import SyncdError
from syncd_client import errors as client_errors
from syncd_client.wire.errors import exit_code

F = TypeVar("F", bound=Callable[..., Any])

AnyError = SyncdError | client_errors.Error


@dataclass(slots=True)
class Manner:
    """What the flags ask for; one object a run, set from before and after the verb alike."""

    quiet: bool = False
    json: bool = False

    def line(self, text: str) -> None:
        """Say something to a person; nothing when quiet or when a program listens."""
        if not self.quiet and not self.json:
            print(text)

    def data(self, value: object) -> None:
        """Print one JSON object, if asked for."""
        if self.json:
            print(msgspec.json.encode(value).decode())


def manners(command: F) -> F:
    """Give a verb the flags every verb has."""
    command = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_set("quiet"), help="No chatter."
    )(command)
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_set("json"), help="One JSON object on stdout."
    )(command)


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        manner = context.ensure_object(Manner)
        if value:
            setattr(manner, name, True)

    return remember


def report(error: AnyError, manner: Manner) -> int:
    """Print an error to stderr in three lines (or as JSON) and return the exit code that stands for it."""
    code = error.code
    if manner.json:
        told = {"error": {"code": code, "what": error.what, "why": error.why, "hint": error.hint}}
        print(msgspec.json.encode(told).decode(), file=sys.stderr)
    else:
        print(f"syncd: {error}", file=sys.stderr)
    return exit_code(code)
