"""Checks of `syncd doctor` on what lies outside this process: the daemon behind the socket, and the remote."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

from syncd import __version__
from syncd.clock import system_chance
from syncd.commands.finding import Finding, fail, ok, warn
from syncd.commands.remote import opened
from syncd.errors import NotFound, RemoteUnavailable, SyncdError
from syncd.format.repo import RepoRecord
from syncd.model.names import printable
from syncd.repo.init import open_record, probe
from syncd.settings import Loaded, Settings
from syncd.settings.secrets import mask_url
from syncd.settings.shape import REMOTE_KEY
from syncd_client import errors as client_errors
from syncd_client.connection import Connection
from syncd_client.wire.messages import Ping

PATIENCE_S = 20.0


def check_reach(loaded: Loaded) -> Iterator[Finding]:
    """Yield what there is to say of daemon and remote; no daemon is started, the probe's keys are removed again."""
    yield _daemon(loaded.settings)
    yield _remote(loaded)


def _daemon(settings: Settings) -> Finding:
    name = printable(settings.socket)
    try:
        with Connection(os.fsdecode(settings.socket), autostart=False) as connection:
            welcome = connection.call(Ping())
    except client_errors.DaemonUnavailable:
        return warn("daemon", f"none answers at {name}", "clients start one; or run `syncd serve`")
    except client_errors.Error as error:
        return fail("daemon", error.what, error.hint or "set SYNCD_SOCKET")
    text = f"syncd {welcome.version}, process {welcome.pid}, at {name}"
    shown = mask_url(settings.primary.url)
    if welcome.remote != shown:
        what = f"{text}, still uses {welcome.remote} and not {shown}"
        return warn("daemon", what, "syncctl shutdown; the next one reads anew")
    if welcome.version != __version__:
        return warn("daemon", f"{text}, but this is {__version__}", "restart it: syncctl shutdown")
    return ok("daemon", text)


def _remote(loaded: Loaded) -> Finding:
    url = loaded.settings.primary.url
    shown = mask_url(url)
    by_default = loaded.origins[REMOTE_KEY].source == "default"
    try:
        record, problems = asyncio.run(_probed(url))
    except (NotFound, RemoteUnavailable) as error:
        if by_default:
            return ok("remote", f"{shown}: a local directory, created when first used")
        return fail("remote", f"{shown}: {error.what}", error.hint or f"syncd init {shown}")
    except TimeoutError:
        return fail("remote", f"{shown}: no answer within {PATIENCE_S:.0f} s", "check the network and the mount")
    except SyncdError as error:
        return fail("remote", f"{shown}: {error.what}", error.hint or error.why)
    if problems:
        return fail(
            "remote",
            f"{shown}: {'; '.join(sorted(set(problems)))}",
            "use another store: one with put-if-absent (a local directory, NFS)",
        )
    if record is None and by_default:
        return ok("remote", f"{shown}: a local directory; its repository is created when first used")
    if record is None:
        return warn("remote", f"{shown}: fit for a repository, but holds none", f"syncd init {shown}")
    return ok("remote", f"{shown}: repository {record.repo_id}, writers raced and one won each time")


async def _probed(url: str) -> tuple[RepoRecord | None, list[str]]:
    rng = system_chance()
    async with asyncio.timeout(PATIENCE_S), opened(url, rng, create=False) as store:
        record = await open_record(store)
        return record, await probe(store, rng)
