"""[PROJECT/]NAME[:VERSION|:ALIAS], as people type it.

An entity before the project is not looked at, as in the library.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from syncd_client import rules
from syncd_client.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Reference:
    """What was typed; `ref` is empty when neither version nor alias was."""

    project: str
    name: str
    ref: str

    @property
    def or_latest(self) -> str:
        """The version or alias, "latest" where none was typed."""
        return self.ref or rules.LATEST


def parse(text: str) -> Reference:
    """Return what a reference says.

    Raises:
        InvalidInput: it is not of that form, or no name can look like that.
    """
    path, colon, ref = text.partition(":")
    above, slash, name = path.rpartition("/")
    entity, two, project = above.rpartition("/")
    broken = not name or (slash and not project) or (two and not entity) or "/" in entity or (colon and not ref)
    if broken or ":" in ref or "/" in ref:
        raise InvalidInput(f"not a version: {text!r}", "one is written [PROJECT/]NAME[:VERSION|:ALIAS]")
    return Reference(rules.check_project(project) if project else default_project(), rules.check_name(name), ref)


def default_project() -> str:
    """Return $SYNCD_PROJECT, or "" for the daemon's own default."""
    return os.environ.get("SYNCD_PROJECT", "")
