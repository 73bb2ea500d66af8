"""The flags that are settings, and how they become what `syncd.settings` merges first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from syncd.settings.shape import KEYS, REMOTE_KEY

F = TypeVar("F", bound=Callable[..., Any])


def setting_flags(command: F) -> F:
    """Give a verb `--config FILE` and `--set KEY=VALUE` (any setting), handed over as one dict `flags`."""
    command = click.option(
        "--set", "assigned", multiple=True, metavar="KEY=VALUE", help="Any setting, e.g. --set upload.concurrency=2."
    )(command)
    return click.option("--config", metavar="FILE", help="Read this file instead of the user's and the system's.")(
        command
    )


def as_flags(config: str | None, assigned: tuple[str, ...], **more: str | None) -> dict[str, object]:
    """Return the flags as `settings.read` takes them; a `--set` without `=` or without a known key is a usage error."""
    flags: dict[str, object] = {"config": config, **more}
    for assignment in assigned:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: expected KEY=VALUE")
        if key not in KEYS and key != REMOTE_KEY:
            raise click.UsageError(f"--set {assignment}: no such setting; `syncd config show` lists them")
        flags[key] = value
    return flags
