"""Unix sockets of our own: closed to others from their first moment, replaced only when stale, removed only while ours.

Both doors bind one; what is said about a place that is taken, and which lock makes replacing safe, is theirs.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from enum import Enum

PATH_LIMIT = 107
"""Bytes of a path that fit into the kernel's address."""

BACKLOG = 1024
"""Connections that may wait to be accepted; the units in systemd/ ask for as many."""

_PROBE_SECONDS = 2.0


class Occupant(Enum):
    """What is at a path where a socket is to be bound."""

    NOBODY = "nobody"
    STALE = "a socket nobody listens on"
    LISTENER = "a socket somebody listens on"
    FILE = "something that is no socket"


def occupant(path: bytes) -> Occupant:
    """Return what is at a path now; OSError when that cannot be seen."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return Occupant.NOBODY
    if not stat.S_ISSOCK(mode):
        return Occupant.FILE
    return Occupant.LISTENER if _answers(path) else Occupant.STALE


def bind_private(path: bytes) -> socket.socket:
    """Bind a stream socket of mode 0600 at a free path; OSError as the kernel said it, and then nothing is left open.

    The umask is the process's own: called before there are threads, or where none creates files meanwhile.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)  # it must never be there with a wider mode, not even for a moment
    try:
        bound.bind(path)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def identity(path: bytes) -> tuple[int, int] | None:
    """Return (device, inode) of what is at a path, None where nothing can be seen."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(path: bytes, ours: tuple[int, int] | None) -> None:
    """Remove a socket's name if it is still the one of that identity; None is nobody's."""
    if ours is not None and identity(path) == ours:
        with suppress(OSError):  # the directory may be gone at logout: nothing left to tidy
            os.unlink(path)


def _answers(path: bytes) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except OSError as error:
            # Only a refused connection proves that nobody listens; a full queue or no right to ask does not.
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True
