"""`syncd check URL`: find out what a remote can carry, without making anything there."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import click

from syncd.clock import SystemClock, system_chance
from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import Manner, manners
from syncd.settings import read
from syncd.settings.secrets import mask_url
from syncd_client.wire.errors import EXIT, OK

if TYPE_CHECKING:
    from syncd.repo.probe import Report


@click.command(short_help="Find out what a bucket or directory can carry.")
@click.argument("url", required=False)
@click.option("--racers", default=16, show_default=True, help="Writers that race for one key at once.")
@click.option("--rounds", default=5, show_default=True, help="How often they race.")
@setting_flags
@manners
@click.pass_obj
def check(
    manner: Manner, url: str | None, racers: int, rounds: int, config: str | None, assigned: tuple[str, ...]
) -> int:
    """Race writers at URL (default: the remote that is set), read ranges, list, delete, compare clocks.

    Ends with 0 when a repository can live there, also where nothing may be deleted (uploads only, no collection), and
    with 8 when it cannot: then the reasons are told. What was stored for it is removed again, where that is allowed.
    """
    loaded = read(as_flags(config, assigned, remote=url), os.environ)
    shown = mask_url(loaded.settings.primary.url)
    found, credentials = asyncio.run(look(loaded.settings.primary.url, racers, rounds))
    if credentials:
        manner.line(f"{'note':<5} {'credentials':<12} {credentials}")
    for looked in found.looked:
        manner.line(f"{looked.mark:<5} {looked.check:<12} {looked.text}")
    manner.line(f"{shown}: {SAID[found.verdict]}")
    manner.data({
        "remote": shown, "verdict": found.verdict, "reasons": found.reasons, "credentials": credentials,
        "looked": found.looked, "left": found.left,
    })  # fmt: skip
    return EXIT["remote_refused"] if found.verdict == "refused" else OK


SAID = {
    "ok": "fit for a repository",
    "upload-only": "fit for uploads; nothing can be collected with these credentials",
    "refused": "not fit for a repository",
}


async def look(url: str, racers: int, rounds: int) -> tuple[Report, str]:
    """Probe a remote; return what was found and in words which credentials were used ("" where none are)."""
    from syncd.commands.remote import credentials, opened  # the rooms below: `syncd --help` need not wait for them
    from syncd.repo.probe import probe

    rng = system_chance()
    async with opened(url, rng, create=False) as store:
        return await probe(store, rng, SystemClock(), racers=racers, rounds=rounds), credentials(url)
