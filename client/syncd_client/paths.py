"""Where things lie: socket, state, cache, settings. Environment first, then XDG; the daemon asks the same functions.

Nothing here creates or changes anything but the per-user directory of a socket that has no other home.
"""

from __future__ import annotations

import os
import stat

from syncd_client.errors import InvalidInput

MACHINE_SOCKETS = b"/run/syncd"
"""Where syncd@USER.socket of systemd has a directory for each user; only root can make one there."""

SOCKET_LIMIT = 107
"""Bytes a unix socket's address can hold (108 with the closing NUL)."""


def default_socket() -> bytes:
    """Return the socket's path: $SYNCD_SOCKET, else /run/syncd/USER/syncd.sock if it is there and this user's own (the
    machine's unit syncd@USER made it), else $XDG_RUNTIME_DIR/syncd/syncd.sock, else below a private directory.

    The private directory is `syncd-UID` (0700) in the temporary directory; it is made when absent.

    Raises:
        InvalidInput: the path is over 107 bytes, or that directory belongs to somebody else.
    """
    if named := _env("SYNCD_SOCKET"):
        return check_socket(os.path.abspath(named))
    if machines := _machines_socket():
        return machines
    if runtime := _env("XDG_RUNTIME_DIR"):
        return check_socket(os.path.join(runtime, b"syncd", b"syncd.sock"))
    return check_socket(os.path.join(_private_directory(), b"syncd.sock"))


def check_socket(path: bytes) -> bytes:
    """Return the path of a socket if an address can hold it, else raise InvalidInput."""
    if len(path) > SOCKET_LIMIT:
        raise InvalidInput(
            f"the socket path is {len(path)} bytes long: {os.fsdecode(path)}",
            f"a unix socket's address holds {SOCKET_LIMIT}",
            "set SYNCD_SOCKET to a shorter path",
        )
    return path


def state_dir() -> bytes:
    """Return the daemon's own directory: $SYNCD_STATE_DIR, else $XDG_STATE_HOME/syncd, else ~/.local/state/syncd."""
    return _place("SYNCD_STATE_DIR", "XDG_STATE_HOME", b".local/state")


def cache_dir() -> bytes:
    """Return the cache's directory: $SYNCD_CACHE_DIR, else $XDG_CACHE_HOME/syncd, else ~/.cache/syncd."""
    return _place("SYNCD_CACHE_DIR", "XDG_CACHE_HOME", b".cache")


def artifact_dir() -> str:
    """Return the directory below which downloads lie by default: $SYNCD_ARTIFACT_DIR or ./artifacts, absolute."""
    return os.path.abspath(os.environ.get("SYNCD_ARTIFACT_DIR") or "artifacts")


def _place(variable: str, xdg: str, below_home: bytes) -> bytes:
    if named := _env(variable):
        return os.path.abspath(named)
    base = _env(xdg)
    return os.path.join(base if base.startswith(b"/") else os.path.join(_home(), below_home), b"syncd")


def _env(name: str) -> bytes:
    return os.environb.get(os.fsencode(name), b"")


def _home() -> bytes:
    return os.path.expanduser(b"~")


def _machines_socket() -> bytes:
    import pwd

    try:
        user = os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
        path = os.path.join(MACHINE_SOCKETS, user, b"syncd.sock")
        seen = os.lstat(path)
    except (KeyError, OSError):  # a uid without a name, as in containers; or no such unit
        return b""
    return path if stat.S_ISSOCK(seen.st_mode) and seen.st_uid == os.getuid() and len(path) <= SOCKET_LIMIT else b""


def _private_directory() -> bytes:
    path = os.path.join(_env("TMPDIR") or b"/tmp", b"syncd-%d" % os.getuid())
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise InvalidInput(
            f"no directory for the socket: {os.fsdecode(path)}", error.strerror or "", "set SYNCD_SOCKET"
        ) from error
    seen = os.lstat(path)
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise InvalidInput(
            f"not a private directory: {os.fsdecode(path)}",
            "it must be a directory of yours that only you can enter (0700)",
            "remove it, or set SYNCD_SOCKET",
        )
    return path
