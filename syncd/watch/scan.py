"""Look at directories: what is in them, and a signature of it. Blocks; runs in a lane.

Symbolic links are entries, never followed. A file or directory that vanishes during the walk makes the look fail with
FileNotFoundError: what is being deleted is not quiet.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from syncd.disk import disk_error
from syncd.errors import InvalidInput, NotFound, SyncdError
from syncd.format.digest import hash_bytes
from syncd.model.names import printable
from syncd.pin.spool import PREFIX

_DOMAIN = b"syncd watch signature 1\x00"


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry below a sub-directory; `path` is relative to it."""

    path: bytes
    mode: int
    size: int
    mtime_ns: int
    ino: int

    @property
    def regular(self) -> bool:
        """Whether it is a file with bytes of its own."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a sub-directory: which directory that was, and its entries sorted by path."""

    dev: int
    ino: int
    entries: tuple[Seen, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it but directories."""
        return all(stat.S_ISDIR(entry.mode) for entry in self.entries)

    def signature(self, artifact: str) -> bytes:
        """Hash of every entry's (path, type and mode, size, mtime, inode), for one artifact.

        A directory's size, mtime and inode are left out: they change without its content changing. The artifact is
        part of it, so that a directory watched again for another artifact counts as not taken.
        """
        return hash_bytes(_DOMAIN, artifact.encode() + b"\x00", *(_facts(entry) for entry in self.entries))


def sub_directories(directory: bytes) -> tuple[int, list[bytes]]:
    """Return the directory's inode and the names of its sub-directories, sorted; names starting with "." are skipped.

    Raises:
        OSError: it is gone or cannot be read.
    """
    with os.scandir(directory) as found:
        names = [
            entry.name for entry in found if not entry.name.startswith(b".") and entry.is_dir(follow_symlinks=False)
        ]
    return os.stat(directory).st_ino, sorted(names)


def look(path: bytes) -> Look:
    """Walk one sub-directory.

    Raises:
        OSError: something in it vanished meanwhile or cannot be read.
    """
    facts = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    entries: list[Seen] = []
    todo = [b""]
    while todo:
        below = todo.pop()
        with os.scandir(os.path.join(path, below)) as found:
            for entry in found:
                if entry.name.startswith(PREFIX):
                    continue
                seen = _see(entry, below + entry.name)
                entries.append(seen)
                if stat.S_ISDIR(seen.mode):
                    todo.append(seen.path + b"/")
    entries.sort(key=lambda seen: seen.path)
    return Look(facts.st_dev, facts.st_ino, tuple(entries))


def _facts(entry: Seen) -> bytes:
    facts = (0, 0, 0) if stat.S_ISDIR(entry.mode) else (entry.size, entry.mtime_ns, entry.ino)
    return b"%d %d %d %d %d " % (len(entry.path), entry.mode, *facts) + entry.path


def _see(entry: os.DirEntry[bytes], path: bytes) -> Seen:
    facts = entry.stat(follow_symlinks=False)
    return Seen(path, facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_ino)


def check_watchable(directory: bytes) -> None:
    """Refuse what cannot be watched, in words for whoever named it.

    Raises:
        NotFound: there is nothing by that name.
        InvalidInput: it is not a directory.
        LocalDisk: it cannot be read.
    """
    try:
        facts = os.stat(directory)
        if not stat.S_ISDIR(facts.st_mode):
            raise InvalidInput(
                f"cannot watch {printable(directory)}", "it is not a directory", "name the directory it is in"
            )
        sub_directories(directory)
    except OSError as error:
        raise watch_error(error, directory) from error


def watch_error(error: OSError, path: bytes) -> SyncdError:
    """What the kernel said about a watched path, in our words."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"no such directory: {printable(path)}", "it is gone or was never there", "create it")
    return disk_error(error, "cannot read a watched directory", path)
