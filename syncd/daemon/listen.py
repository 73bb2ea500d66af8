"""Where clients knock: a socket handed over by systemd, or one bound here.

A socket of our own is bound under a lock of its own beside it, with the umask closed, so that it is never for a moment
open to others, and a stale one is replaced only when nobody can be behind it: the lock is ours and nothing answers.
Sockets handed over belong to systemd and are never unlinked.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping

from syncd import sockets
from syncd.daemon.lock import Lock, take
from syncd.disk import Disk, disk_error
from syncd.errors import Conflict, InvalidInput, Refused
from syncd.model.names import printable
from syncd.sockets import BACKLOG, PATH_LIMIT, Occupant

_FIRST_FD = 3


class Door:
    """A listening unix socket and what must be tidied when it closes.

    Attributes:
        socket: listening, non-blocking; hand it to the server.
        path: where it is bound, b"" if systemd's has no name.
        inherited: systemd made it and keeps it.
    """

    def __init__(self, listening: socket.socket, path: bytes, lock: Lock | None) -> None:
        self.socket = listening
        self.path = path
        self.inherited = lock is None
        self._lock = lock
        self._identity = None if lock is None else sockets.identity(path)

    def close(self) -> None:
        """Stop listening; remove the socket's name if it is still ours. May be repeated."""
        self.socket.close()
        if self._lock is not None:
            sockets.remove(self.path, self._identity)
            self._lock.close()
            self._lock = None


def open_door(path: bytes, environ: Mapping[str, str], pid: int) -> Door:
    """Take the socket systemd hands over, else bind one at `path`. Call it with the state directory's lock held.

    Raises:
        Conflict: another daemon (or another program) is at that path.
        InvalidInput: the path is too long for a unix socket, or what systemd hands over is no listening unix socket.
        Refused: the socket's directory could be tampered with by other users.
        LocalDisk: it cannot be made there.
    """
    return inherited(environ, pid) or bind(path)


def inherited(environ: Mapping[str, str], pid: int, first_fd: int = _FIRST_FD) -> Door | None:
    """Return systemd's socket when LISTEN_PID names this process, else None."""
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdigit():
        return None
    count = int(environ["LISTEN_FDS"])
    if count == 0:
        return None
    if count > 1:
        raise InvalidInput(f"systemd hands over {count} sockets", "one is expected", "keep one ListenStream=")
    try:
        os.set_inheritable(first_fd, False)
        found = socket.socket(fileno=first_fd)
    except OSError as error:
        raise InvalidInput(f"LISTEN_FDS names no socket: {error.strerror}", "", "start through syncd.socket") from error
    listening = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.family != socket.AF_UNIX or found.type != socket.SOCK_STREAM or not listening:
        found.detach()
        raise InvalidInput("systemd hands over a socket of another kind", "", "use ListenStream= with an absolute path")
    found.setblocking(False)
    name = found.getsockname()
    return Door(found, name if isinstance(name, bytes) else os.fsencode(name), None)


def bind(path: bytes) -> Door:
    """Bind a socket of our own, mode 0600, and listen; see `open_door` for what it raises."""
    check_path(path)
    directory = os.path.dirname(path)
    try:
        Disk().make_directory(directory)
        _check_directory(directory)
        lock = take(path + b".lock", f"the socket {printable(path)}")
    except OSError as error:
        raise disk_error(error, "cannot make a socket", path) from error
    try:
        _clear(path)
        return Door(_listen(path), path, lock)
    except OSError as error:
        lock.close()
        raise disk_error(error, "cannot bind the socket", path) from error
    except (Conflict, InvalidInput):
        lock.close()
        raise


def check_path(path: bytes) -> None:
    """Refuse a path the kernel would cut off: more than 107 bytes."""
    if len(path) > PATH_LIMIT:
        raise InvalidInput(
            f"the socket's path is {len(path)} bytes long: {printable(path)}",
            f"a unix socket's path has at most {PATH_LIMIT}",
            "set SYNCD_SOCKET to a shorter one",
        )


def _listen(path: bytes) -> socket.socket:
    listening = sockets.bind_private(path)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


def _check_directory(directory: bytes) -> None:
    found = os.stat(directory)
    open_to_all = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (os.geteuid(), 0) or open_to_all:
        raise Refused(
            f"the socket's directory {printable(directory)} is not safe",
            f"owner uid {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}: others could put their own socket there",
            "use a directory of your own, mode 0700 (SYNCD_SOCKET)",
        )


def _clear(path: bytes) -> None:
    """Remove a stale socket; raise Conflict for a living one or for a file that is no socket."""
    there = sockets.occupant(path)
    if there is Occupant.FILE:
        raise Conflict(f"{printable(path)} is not a socket", "something else lies there", "move it or set SYNCD_SOCKET")
    if there is Occupant.LISTENER:
        raise Conflict(
            f"somebody listens on {printable(path)} already",
            "it may be a daemon with another state directory, or systemd's syncd.socket",
            "talk to that one, or set SYNCD_SOCKET",
        )
    if there is Occupant.STALE:
        os.unlink(path)
