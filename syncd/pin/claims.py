"""One daemon a spool: the flock on its directory that says so, held while the daemon lives.

A spool bears this journal's id, so another daemon uses it only where the journal was copied and nobody noticed (a
cloned disk, a snapshot). Then neither what lies in it nor its id is ours: nothing in it is touched, and a new id is
taken.
Where directories cannot be locked (some network file systems) this tells nothing, and the id alone has to do.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Sequence
from contextlib import suppress

from syncd.journal import home
from syncd.journal import pins as journal
from syncd.journal.core import Ledger
from syncd.lanes import Lane, new_lock

log = logging.getLogger(__name__)

TAKEN = "another daemon uses the spool of this journal: one of the two state directories is a copy"


class Claims:
    """The locks held. Any thread."""

    def __init__(self) -> None:
        self._held: dict[bytes, int] = {}
        self._mutex = new_lock()

    def claim(self, path: bytes) -> None:
        """Lock the directory that is at `path` now; again is no error.

        Raises:
            BlockingIOError: another daemon holds it.
            OSError: there is no such directory, or no descriptor for it.
        """
        with self._mutex:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            old = self._held.get(path)
            if old is not None and os.path.sameopenfile(old, fd):
                os.close(fd)
                return
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise
            except OSError:  # not to be locked here: see above
                os.close(fd)
                return
            self._held[path] = fd
            if old is not None:
                os.close(old)

    def let_go(self, path: bytes) -> None:
        """Unlock a directory."""
        with self._mutex:
            fd = self._held.pop(path, None)
            if fd is not None:
                os.close(fd)

    def close(self) -> None:
        """Unlock all."""
        for path in list(self._held):
            self.let_go(path)

    def foreign(self, paths: Sequence[bytes]) -> list[bytes]:
        """Lock what is there; return what another daemon holds."""
        taken = []
        for path in paths:
            try:
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    self.claim(path)
            except BlockingIOError:
                taken.append(path)
        return taken


async def own_spool_id(ledger: Ledger, lane: Lane, claims: Claims) -> str:
    """Return the id of this journal's spools; a new one when another daemon uses them (all pins in them are lost).

    Raises:
        LocalDisk: as the journal does.
    """
    known = [row.path for row in await journal.spools(ledger)]
    taken = await lane.run(claims.foreign, known)
    if taken:
        log.error("%s: %s", TAKEN, os.fsdecode(taken[0]))
        claims.close()
        await home.disown(ledger, TAKEN)
    return await journal.spool_id(ledger, os.urandom(8).hex())
