"""[PROJECT/]NAME[:VERSION|:ALIAS], as people type it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from syncd_client.errors import InvalidInput

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """What was typed; `ref` is empty when neither version nor alias was."""

    project: str
    name: str
    ref: str

    @property
    def or_latest(self) -> str:
        """The version or alias, "latest" where none was typed."""
        return self.ref or LATEST


def parse(text: str) -> Reference:
    """Return what a reference says; whether the names may exist is the daemon's to judge.

    Raises:
        InvalidInput: it is not of that form.
    """
    project, slash, rest = text.rpartition("/")
    name, colon, ref = rest.partition(":")
    if not name or (slash and not project) or (colon and not ref) or ":" in ref or "/" in project:
        raise InvalidInput(f"not a version: {text!r}", "one is written [PROJECT/]NAME[:VERSION|:ALIAS]")
    return Reference(project or default_project(), name, ref)


def default_project() -> str:
    """Return $SYNCD_PROJECT, or "" for the daemon's own default."""
    return os.environ.get("SYNCD_PROJECT", "")
