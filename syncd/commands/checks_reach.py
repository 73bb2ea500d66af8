"""Checks of `syncd doctor` on what lies outside this process: the daemon behind the socket, and the remote."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

from syncd import __version__
from syncd.clock import SystemClock, system_chance
from syncd.commands.finding import Finding, fail, ok, warn
from syncd.commands.init import ELSEWHERE
from syncd.commands.remote import credentials, opened
from syncd.errors import NotFound, RemoteUnavailable, SyncdError
from syncd.format.repo import RepoRecord
from syncd.model.names import printable
from syncd.repo.init import open_record
from syncd.repo.probe import Report, probe
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
    yield from _credentials(loaded.settings.primary.url)
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


def _credentials(url: str) -> Iterator[Finding]:
    try:
        found = credentials(url)
    except SyncdError:
        return  # an address that is none, or files that cannot be read: the remote's own check tells it
    if found:
        yield ok("credentials", found)


def _remote(loaded: Loaded) -> Finding:
    url = loaded.settings.primary.url
    shown = mask_url(url)
    by_default = loaded.origins[REMOTE_KEY].source == "default"
    try:
        record, found = asyncio.run(_probed(url))
    except (NotFound, RemoteUnavailable) as error:
        if by_default:
            return ok("remote", f"{shown}: a local directory, created when first used")
        why = f" ({error.why})" if error.hint and error.why else ""
        return fail("remote", f"{shown}: {error.what}{why}", error.hint or f"syncd init {shown}")
    except TimeoutError:
        return fail("remote", f"{shown}: no answer within {PATIENCE_S:.0f} s", "check the network and the mount")
    except SyncdError as error:
        told = f"{error.what} ({error.why})" if error.hint and error.why else error.what
        return fail("remote", f"{shown}: {told}", error.hint or error.why)
    if found.verdict == "refused":
        return fail("remote", f"{shown}: {'; '.join(found.reasons)}", ELSEWHERE)
    if record is None and by_default:
        return ok("remote", f"{shown}: a local directory; its repository is created when first used")
    if record is None:
        return warn("remote", f"{shown}: fit for a repository, but holds none", f"syncd init {shown}")
    told = f"{shown}: repository {record.repo_id}, writers raced and one won each time"
    if found.verdict == "upload-only":
        return warn("remote", f"{told}; nothing can be deleted", "collect with credentials that may delete")
    return ok("remote", told)


async def _probed(url: str) -> tuple[RepoRecord | None, Report]:
    rng = system_chance()
    async with asyncio.timeout(PATIENCE_S), opened(url, rng, create=False) as store:
        record = await open_record(store)
        return record, await probe(store, rng, SystemClock())
