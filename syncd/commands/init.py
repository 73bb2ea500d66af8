"""`syncd init URL`: make sure a remote can carry a repository, make one, and remember the remote."""

from __future__ import annotations

import asyncio
import os

import click

from syncd.clock import system_chance
from syncd.commands.config import toml
from syncd.commands.flags import as_flags, setting_flags
from syncd.commands.say import Manner, manners
from syncd.disk import Disk, disk_error
from syncd.errors import InvalidInput, RemoteRefused
from syncd.settings import Loaded, Settings, read
from syncd.settings.kinds import URL
from syncd.settings.load import user_file
from syncd.settings.secrets import mask_url
from syncd.settings.shape import REMOTE_KEY
from syncd_client import errors as client_errors
from syncd_client.connection import Connection
from syncd_client.wire.messages import Ping


@click.command(short_help="Create or open the repository at a URL.")
@click.argument("url", required=False)
@setting_flags
@manners
@click.pass_obj
def init(manner: Manner, url: str | None, config: str | None, assigned: tuple[str, ...]) -> None:
    """Create the repository at URL (default: the remote that is set), or open the one that is there.

    Before anything is created, writers are raced against each other: a remote where two of them win is refused,
    because nothing could be committed there safely. If the configuration names no remote yet, URL is written into it.
    """
    if url:
        check_url(url)
    loaded = read(as_flags(config, assigned, remote=url), os.environ)
    shown = mask_url(loaded.settings.primary.url)
    repo_id, made = asyncio.run(prepare(loaded.settings))
    manner.line(f"{'created' if made else 'opened'} repository {repo_id} at {shown}")
    manner.line("8 writers raced for one key, three times over: one won each time")
    told = remember(loaded, config) if url else ""
    if told:
        manner.line(told)
    elsewhere = other_remote(loaded.settings)
    if elsewhere:
        manner.line(elsewhere)
    manner.data({"repo_id": repo_id, "remote": shown, "created": made, "note": told, "daemon": elsewhere})


def other_remote(settings: Settings) -> str:
    """Return a warning where a daemon runs that uses another remote: it reads its settings when it starts."""
    try:
        with Connection(os.fsdecode(settings.socket), autostart=False) as connection:
            daemon = connection.call(Ping())
    except client_errors.Error:
        return ""
    if daemon.remote == mask_url(settings.primary.url):
        return ""
    return f"attention: the running daemon (process {daemon.pid}) still uses {daemon.remote}; end it: syncctl shutdown"


def check_url(url: str) -> None:
    """Raise InvalidInput, which speaks of the argument and not of a flag nobody typed, unless it can be a remote."""
    try:
        URL.read(url, True)
    except ValueError as error:
        raise InvalidInput(
            f"the argument URL: {error}",
            f"expected {URL.expected}, or an absolute path",
            "say where, as in file:///...",
        ) from error


async def prepare(settings: Settings) -> tuple[str, bool]:
    """Probe the remote and create or open its repository; return its id and whether it was created.

    Raises:
        RemoteRefused: two writers win there, or it returns other bytes than were stored; nothing was created.
    """
    from syncd.commands.remote import opened  # the rooms below: `syncd --help` need not wait for them
    from syncd.daemon.create import new_repository
    from syncd.repo.init import initialise, open_record, probe

    rng = system_chance()
    url = settings.primary.url
    async with opened(url, rng, create=True) as store:
        problems = await probe(store, rng)
        if problems:
            raise RemoteRefused(
                f"{mask_url(url)} cannot carry a repository",
                "; ".join(sorted(set(problems))),
                "use another store: one with put-if-absent (a local directory, NFS)",
            )
        existing = await open_record(store)
        if existing is not None:
            return existing.repo_id, False
        return (await initialise(store, new_repository(settings), rng)).repo_id, True


def remember(loaded: Loaded, config: str | None) -> str:
    """Write the remote into the configuration unless one is set there already; return what was done, for people."""
    url = loaded.settings.primary.url
    before = read({"config": config}, os.environ)
    origin = before.origins[REMOTE_KEY].source
    if origin != "default":
        if before.settings.primary.url == url:
            return ""
        return f"{origin} still names {mask_url(before.settings.primary.url)}: change it there to use this remote"
    file = before.files[-1] if before.files and (config or os.environ.get("SYNCD_CONFIG")) else user_file(os.environ)
    append(file, f"[[remote]]\nurl = {toml(url)}\n")
    return f"wrote the remote into {os.fsdecode(file)}"


def append(file: bytes, text: str) -> None:
    """Add a table at the end of a TOML file, making the file (0600) if need be; whole or not at all."""
    disk = Disk()
    try:
        disk.make_directory(os.path.dirname(file))
        before = b""
        if os.path.exists(file):
            with open(file, "rb") as stream:
                before = stream.read().rstrip() + b"\n\n"
        half = file + b".new"
        disk.remove(half)
        disk.write_new(half, [before, os.fsencode(text)])
        disk.rename(half, file)
    except OSError as error:
        raise disk_error(error, "cannot write the configuration", file) from error
