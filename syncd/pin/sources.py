"""Opening what the caller named, and saying what is wrong with it in words the caller can act on."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from syncd.errors import Conflict, InvalidInput, LocalDisk, NotFound, SyncdError
from syncd.model.names import printable

# NONBLOCK: a FIFO put there meanwhile must not hang a lane; it changes nothing for regular files.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def immutable(policy: str) -> bool:
    """Whether a policy's word promises that the file stays as it is; InvalidInput for a word that is none."""
    if policy not in ("mutable", "immutable"):
        raise InvalidInput(f"invalid policy: {policy!r}", 'it is "mutable" or "immutable"')
    return policy == "immutable"


def open_source(path: bytes, follow: bool) -> int:
    """Open a file to pin. `follow`: a symlink at the end of the path is meant to be followed (the caller gave it)."""
    try:
        return os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        raise source_error(error, path) from error


def require_regular(facts: os.stat_result, path: bytes) -> None:
    """Raise InvalidInput for anything but a regular file."""
    if stat.S_ISDIR(facts.st_mode):
        raise InvalidInput(f"{printable(path)} is a directory", "a file is meant here", "use add_dir")
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidInput(
            f"{printable(path)} is not a regular file", "sockets, pipes and devices have no bytes to keep"
        )


def require_same(facts: os.stat_result, path: bytes, dev: int, ino: int, size: int) -> None:
    """Raise Conflict when the daemon does not see the file that the client saw."""
    if (facts.st_dev, facts.st_ino) != (dev, ino):
        raise Conflict(
            f"another file is at {printable(path)} in the daemon's view",
            "the client and the daemon see different files there (another container or mount), or it was just replaced",
            "run the daemon where the files are, or add the file again",
        )
    if size >= 0 and facts.st_size != size:
        raise Conflict(
            f"{printable(path)} changed while it was being added",
            f"it had {size} bytes for the client and has {facts.st_size} now",
            "add it when its writer has finished",
        )


@contextmanager
def naming_link(link: bytes) -> Iterator[None]:
    """Let every typed error within say that `link` led to the file, for that is the name its owner knows."""
    try:
        yield
    except SyncdError as error:
        if not link:
            raise
        why = "; ".join(filter(None, (f"the symlink {printable(link)} leads there", error.why)))
        raise type(error)(error.what, why, error.hint) from error


def source_error(error: OSError, path: bytes) -> SyncdError:
    """Translate what the kernel said about a path the caller named."""
    name = printable(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"no such file: {name}", "it does not exist for the daemon", "check the path")
    if error.errno in (errno.EACCES, errno.EPERM):
        return LocalDisk(f"cannot read {name}", "permission denied", "let the user the daemon runs as read it")
    if error.errno == errno.ELOOP:
        return Conflict(f"{name} was replaced by a symlink while it was being added", "", "add it again")
    if error.errno == errno.EWOULDBLOCK:
        return Conflict(f"{name} is held by another process", "it has an exclusive lease", "add it when it is free")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LocalDisk(f"cannot open {name}", "too many open files", "raise the limit of open files (ulimit -n)")
    return LocalDisk(f"cannot read {name}", error.strerror or str(error), "check the disk the file is on")
