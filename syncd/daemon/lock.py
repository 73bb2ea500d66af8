"""One daemon a state directory: the flock that says so.

Taken before anything else touches the directory, held by the descriptor until the process ends (the kernel lets go
whatever kills it), so there is no stale lock to break by hand. The file keeps the holder's process id for people, and
on a second line where it listens: clients that look elsewhere are told (syncd_client/autostart.py).
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress

from syncd.disk import Disk, disk_error
from syncd.errors import Conflict, Refused
from syncd.model.names import printable

LOCK_NAME = b"daemon.lock"
_NOTE_LIMIT = 4096


class Lock:
    """A held lock. Closing it, or the end of the process, lets go."""

    def __init__(self, path: bytes, fd: int) -> None:
        self.path = path
        self._fd = fd

    def note_socket(self, path: bytes) -> None:
        """Say where the holder listens; b"" where that has no name. Best effort: it is for messages only."""
        with suppress(OSError):
            os.ftruncate(self._fd, os.pwrite(self._fd, b"%d\n%s\n" % (os.getpid(), path), 0))

    def close(self) -> None:
        """Let go. May be repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock_state(directory: bytes) -> Lock:
    """Make the state directory (0700) if need be and become its only daemon.

    Raises:
        Conflict: another daemon holds it; the error names its process.
        Refused: the directory belongs to somebody else.
        LocalDisk: it cannot be made or written.
    """
    try:
        Disk().make_directory(directory)
        owner = os.stat(directory).st_uid
        if owner != os.geteuid():
            raise Refused(
                f"the state directory {printable(directory)} belongs to uid {owner}",
                "a daemon keeps its journal in a directory of its own user",
                "choose another with SYNCD_STATE_DIR",
            )
        return take(os.path.join(directory, LOCK_NAME), f"the state directory {printable(directory)}")
    except OSError as error:
        raise disk_error(error, "cannot use the state directory", directory) from error


def take(path: bytes, what: str) -> Lock:
    """Lock the file at `path`, made if need be; Conflict names the process that holds it, OSError rises as it is."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, stat.S_IRUSR | stat.S_IWUSR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder, _, listens = os.pread(fd, _NOTE_LIMIT, 0).partition(b"\n")
        os.close(fd)
        where = f", listening at {printable(listens.strip())}" if listens.strip() else ""
        raise Conflict(
            f"another daemon uses {what}",
            f"it is process {printable(holder)}{where}" if holder else "its lock is held",
            "talk to that one, or give this one its own SYNCD_STATE_DIR and SYNCD_SOCKET",
        ) from None
    except OSError:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return Lock(path, fd)
