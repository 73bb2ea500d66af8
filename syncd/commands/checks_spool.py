"""Checks of `syncd doctor` on spools: files that stay pinned for a state directory that is no more."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress

from syncd.commands.finding import Finding, ok, warn
from syncd.model.names import printable
from syncd.pin.spool import orphans
from syncd.settings import Settings
from syncd_client import errors as client_errors
from syncd_client.connection import Connection
from syncd_client.wire.messages import ListWatches


def check_spools(settings: Settings, directory: bytes) -> Iterator[Finding]:
    """Yield a warning for each spool without an owner on the way to `directory`, home, the temporary directory, the
    directories of the settings and those that are watched. Nothing is removed: only a person knows that it may be.
    """
    places = [directory, os.fsencode(os.path.expanduser("~")), os.fsencode(tempfile.gettempdir())]
    places += [*settings.pin.spool_dirs, *_watched(settings)]
    found = dict(orphans(_upwards(places)))
    for path, owner in found.items():
        files = count = 0
        with suppress(OSError), os.scandir(path) as listing:
            for item in listing:
                count += 1
                files += item.stat(follow_symlinks=False).st_size
        yield warn(
            "spool",
            f"{printable(path)} holds {count} files, {files >> 20} MiB, of a state directory that is no more: "
            f"{printable(owner)}",
            f"when no disk with it is merely not mounted: rm -r {printable(path)} {printable(path)}.owner",
        )
    if not found:
        yield ok("spool", "none without its state directory here, in home, temporary files and what is watched")


def _watched(settings: Settings) -> list[bytes]:
    with suppress(client_errors.Error), Connection(os.fsdecode(settings.socket), autostart=False) as connection:
        return [watch.directory for watch in connection.call(ListWatches()).watches]
    return []


def _upwards(places: Iterable[bytes]) -> list[bytes]:
    """Return the places and all directories above them, each once."""
    found: dict[bytes, None] = {}
    for place in places:
        path = os.path.realpath(place)
        while path not in found:
            found[path] = None
            path = os.path.dirname(path)
    return list(found)
