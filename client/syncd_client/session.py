"""What one process shares: the connection that `init`, `Run` and `Artifact` use, and drafts nobody holds any more."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque

from syncd_client import autostart, paths
from syncd_client.connection import Connection
from syncd_client.errors import Error
from syncd_client.wire.messages import DropDraft

_lock = threading.Lock()
_connections: dict[tuple[bytes, bool], Connection] = {}
_abandoned: deque[str] = deque()


def connection() -> Connection:
    """Return this process's connection to the daemon that the environment names; it connects when first asked."""
    key = (paths.default_socket(), autostart.allowed())
    with _lock:
        found = _connections.get(key)
        if found is None:
            found = _connections[key] = Connection(*key)
    _drop_abandoned(found)
    return found


def watch_draft(owner: object, draft: str) -> weakref.finalize[[str, int], object]:
    """Have the draft dropped some time after its owner is gone, unless the finalizer returned is detached."""
    finalizer = weakref.finalize(owner, _abandon, draft, os.getpid())
    finalizer.atexit = False  # at the end of the process the daemon waits a while: another may still log it
    return finalizer


def _abandon(draft: str, pid: int) -> None:
    """Note a draft; the next call asks the daemon. A collector may run anywhere: here nothing may lock or send."""
    if pid == os.getpid():
        _abandoned.append(draft)


def _drop_abandoned(asked: Connection) -> None:
    while _abandoned:
        try:
            draft = _abandoned.popleft()
            asked.call(DropDraft(draft))
        except (IndexError, Error):  # another thread was faster; or the daemon forgets it by itself, later
            return
