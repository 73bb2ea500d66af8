"""Starting a daemon when none answers: found, detached, waited for.

Any number of clients may do this at once. Each starts one; the daemons settle by a lock on the state directory who
stays, the others end at once with the exit code for a conflict, and every client connects to the one that stayed.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import socket as sockets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from syncd_client import errors, paths

if TYPE_CHECKING:
    import subprocess

PATIENCE = 20.0
"""Seconds a started daemon may take until it answers."""

START_AGAIN = 1.0
"""Seconds after a start lost against a daemon that then went away, before another is tried."""

LOCK_NAME = b"daemon.lock"
LOCK_LIMIT = 4096
"""The daemon's lock file in its state directory: its process id, then, once it listens, the path of its socket."""

_ABSOLUTE = ("SYNCD_CONFIG", "SYNCD_STATE_DIR", "SYNCD_CACHE_DIR")

_children: list[subprocess.Popen[bytes]] = []
_turn = threading.Lock()


def allowed() -> bool:
    """Return whether a daemon may be started: unless $SYNCD_AUTOSTART is 0."""
    return os.environ.get("SYNCD_AUTOSTART", "1").lower() not in ("0", "no", "off", "false")


def start_and_connect(path: bytes, connect: Callable[[bytes], sockets.socket]) -> sockets.socket:
    """Start a daemon on the socket `path` and return the connection to it, or to one that was faster.

    Raises:
        DaemonUnavailable: none is installed, the state directory's daemon listens elsewhere (both sockets are named),
            it ended at once (with the last line of its log), or 20 s went by.
    """
    with _turn:  # threads of one process need not start one each
        with suppress(FileNotFoundError, ConnectionRefusedError):
            return connect(path)
        return _start_and_connect(path, connect)


def _start_and_connect(path: bytes, connect: Callable[[bytes], sockets.socket]) -> sockets.socket:
    command, environment = _command(path)
    log = _log_path()
    child = _start(command, environment, log)
    deadline = time.monotonic() + PATIENCE
    pause = 0.01
    again = 0.0
    while time.monotonic() < deadline:
        try:
            return connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(pause)
            pause = min(0.1, pause * 1.5)
        code = child.poll()
        if code == errors.CONFLICT:
            _must_not_live_elsewhere(path, connect)
        if code in (errors.OK, errors.CONFLICT):  # another one was faster: it is coming up, or was just leaving
            again = again or time.monotonic() + START_AGAIN
            if time.monotonic() > again:
                child, again = _start(command, environment, log), 0.0
        elif code is not None:
            raise errors.DaemonUnavailable(
                f"the daemon ended at once with exit code {code}",
                _last_words(log),
                f"its log is {os.fsdecode(log)}; `syncd doctor` looks for the cause",
            )
    raise errors.DaemonUnavailable(
        f"the daemon did not answer at {os.fsdecode(path)} within {PATIENCE:.0f} s",
        _last_words(log),
        f"its log is {os.fsdecode(log)}",
    )


def _must_not_live_elsewhere(path: bytes, connect: Callable[[bytes], sockets.socket]) -> None:
    """Raise DaemonUnavailable if the daemon of our state directory answers at another socket than the one wanted."""
    state = paths.state_dir()
    try:
        with open(os.path.join(state, LOCK_NAME), "rb") as lock:
            elsewhere = lock.read(LOCK_LIMIT).partition(b"\n")[2].removesuffix(b"\n")
        if not elsewhere or elsewhere == path:
            return  # it is still coming up
        connect(elsewhere).close()
    except OSError:  # it is gone again, and with it what it noted
        return
    raise errors.DaemonUnavailable(
        f"no syncd daemon answers at {os.fsdecode(path)}",
        f"that of the state directory {os.fsdecode(state)} listens at {os.fsdecode(elsewhere)}",
        f"set SYNCD_SOCKET={os.fsdecode(elsewhere)}, or give another daemon its own SYNCD_STATE_DIR",
    )


def _command(path: bytes) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves, and its environment: nothing in it is relative, for the daemon lives in /."""
    environment = dict(os.environ)
    environment["SYNCD_SOCKET"] = os.fsdecode(path)
    for name in _ABSOLUTE:
        if environment.get(name):
            environment[name] = os.path.abspath(environment[name])
    search = [os.path.abspath(part) for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    command = _executable()
    if not command:
        found = importlib.util.find_spec("syncd")
        if found is None or not found.origin:
            raise errors.DaemonUnavailable(
                f"no syncd daemon answers at {os.fsdecode(path)}",
                "and none is installed that could be started",
                "install it (pip install syncd), or name the socket of one in SYNCD_SOCKET",
            )
        command = [sys.executable, "-m", "syncd"]
        for origin in (__file__, found.origin):
            search.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(origin))))
    if search:
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(search))
    return [*command, "serve", "--autostarted"], environment


def _executable() -> list[str]:
    folders = [os.path.dirname(sys.executable), *os.environ.get("PATH", os.defpath).split(os.pathsep)]
    for folder in folders:
        candidate = os.path.abspath(os.path.join(folder, "syncd"))
        if folder and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return [candidate]
    return []


def _log_path() -> bytes:
    state = paths.state_dir()
    try:
        os.makedirs(state, 0o700, exist_ok=True)
    except OSError as error:
        raise errors.LocalDisk(
            f"no state directory: {os.fsdecode(state)}",
            error.strerror or "",
            "set SYNCD_STATE_DIR to one you can write",
        ) from error
    return os.path.join(state, b"daemon.log")


def _start(command: list[str], environment: dict[str, str], log: bytes) -> subprocess.Popen[bytes]:
    import subprocess

    _reap()
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise errors.LocalDisk(f"no log for the daemon: {os.fsdecode(log)}", error.strerror or "") from error
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    try:
        child = subprocess.Popen(command, cwd="/", env=environment, start_new_session=True, **options)
    except OSError as error:
        raise errors.DaemonUnavailable(
            f"the daemon could not be started: {command[0]}", error.strerror or "", "start one with `syncd serve`"
        ) from error
    finally:
        os.close(output)
    _children.append(child)
    return child


def _last_words(log: bytes) -> str:
    """Return what the log ends with: an error's lines (what, why, what to do) in one, else the last line."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "backslashreplace").strip().splitlines()
    except OSError:
        return ""
    for at in range(len(lines) - 1, max(-1, len(lines) - 4), -1):
        if lines[at].startswith("syncd: "):
            return "; ".join(lines[at:])
    return lines[-1] if lines else "it left no word in its log"


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]


@atexit.register
def _let_go() -> None:
    for child in _children:
        if child.poll() is None:
            child.returncode = 0  # it is meant to live on: no warning about a child left behind


def _forked() -> None:
    global _turn  # noqa: PLW0603 - a thread that held it does not live in the child
    _turn = threading.Lock()


os.register_at_fork(after_in_child=_forked)
