"""`syncd config show`: what is set, and by whom."""

from __future__ import annotations

import json
import os

import click

from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import Manner, manners
from syncd.settings import Loaded, read
from syncd.settings.secrets import mask_url
from syncd.settings.shape import KEYS, REMOTE_KEY, flatten


@click.group()
def config() -> None:
    """Look at the settings: `syncd config show --origin`."""


@config.command(short_help="Print every setting; --origin says where from.")
@setting_flags
@click.option("--origin", is_flag=True, help="Also say where each value comes from.")
@manners
@click.pass_obj
def show(manner: Manner, config: str | None, assigned: tuple[str, ...], origin: bool) -> None:
    """Print every setting as the daemon would see it; passwords and signatures in URLs are masked."""
    loaded = read(as_flags(config, assigned), os.environ)
    shown = values(loaded)
    if manner.json:
        manner.data(
            {
                "settings": {
                    key: {"value": value, "origin": loaded.origins[key].source} if origin else value
                    for key, value in shown.items()
                },
                "files": [os.fsdecode(file) for file in loaded.files],
            }
        )
        return
    for name in loaded.unknown_env:
        click.echo(f"note: {name} is set, but nothing reads it", err=True)
    for key, value in shown.items():
        text = f"{key} = {toml(value)}"
        print(f"{text:<60} # {loaded.origins[key].source}" if origin else text)


def values(loaded: Loaded) -> dict[str, str | int | float | bool]:
    """Return every key with its value as a person would write it, nothing secret in it."""
    shown: dict[str, str | int | float | bool] = {REMOTE_KEY: mask_url(loaded.settings.primary.url)}
    for key, value in flatten(loaded.settings).items():
        shown[key] = KEYS[key].about.kind.show(value)
    return shown


def toml(value: str | float | bool) -> str:
    """Return a value in TOML's spelling."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # TOML's basic strings are JSON's
    return f"{value:g}" if isinstance(value, float) else str(value)
