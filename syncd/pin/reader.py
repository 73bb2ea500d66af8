"""Reading pinned bytes: never other ones.

A lease lets the file move under a reader: a rescue puts the bytes elsewhere, then lets the writer in. So every read is
checked *after* it was made: the place is still the pin's, and what guarded it was in force all along. If the place
moved the read is made again from the new one; if nothing vouches for it, SourceLost. A read that was vouched for stays
right whatever becomes of the pin later, so nobody has to ask again.

A leased file is read through the descriptor that holds the lease: its name may be removed and its mode taken away.
"""

from __future__ import annotations

import errno
import os

from syncd.disk import Disk, disk_error
from syncd.errors import SourceLost
from syncd.model.names import printable
from syncd.pin import filesystems
from syncd.pin.leases import LeaseTable
from syncd.pin.place import Pin, Place

_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class PinReader:
    """Reads one pin. Used inside a lane, by one thread at a time; `close` may be repeated."""

    def __init__(self, disk: Disk, table: LeaseTable, pin: Pin) -> None:
        self._disk = disk
        self._table = table
        self._pin = pin
        self._fd = -1
        self._place: Place | None = None

    @property
    def size(self) -> int:
        """Bytes the file had when it was pinned."""
        return self._pin.size

    def read_at(self, offset: int, view: memoryview) -> int:
        """Fill `view` from `offset` of the pinned bytes; return how many, fewer only at the end.

        Raises:
            SourceLost: nothing vouches for the bytes any more; `view` may hold others then and must not be used.
            LocalDisk: no descriptor or memory is left: the same read may do later.
        """
        pin = self._pin
        want = view[: max(0, min(len(view), pin.size - offset))]
        while True:
            place = pin.place
            if pin.lost:
                raise lost(pin, pin.lost)
            if offset < place.start and len(want):
                raise lost(pin, "bytes stored before a rescue were asked for again")
            try:
                self._open(place)
                got = self._disk.read_at(self._fd, place.offset + offset, want)
                vouched = got == len(want) and self._vouched(place)
            except OSError as error:
                if pin.place is not place:
                    continue
                if error.errno in _PASSING:
                    raise disk_error(error, "cannot read what was logged", pin.source) from error
                raise unreadable(pin, error) from error
            if pin.place is place:
                if pin.lost or not vouched:
                    raise lost(pin, pin.lost or "it was changed while nothing guarded it")
                return got

    def close(self) -> None:
        """Close what is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._place = None

    def _open(self, place: Place) -> None:
        if self._place is place:
            return
        self.close()
        if place.way == "lease":
            self._fd = self._table.duplicate(self._pin.pin)
        if self._fd < 0:
            self._fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self._place = place

    def _vouched(self, place: Place) -> bool:
        """Whether what was just read were the pinned bytes."""
        pin = self._pin
        if place.way not in ("lease", "none"):
            return True  # in our spool, under a name nobody else has
        if place.way == "lease":
            held = self._table.get(pin.pin)
            if held is not None:
                return self._table.vouches(held, self._fd)
            if not filesystems.of_fd(self._fd).local_disk:
                return False  # a memory map changes bytes on tmpfs without the mtime
        # Never guarded, or not since the daemon was started: unchanged means the bytes are right.
        facts = os.fstat(self._fd)
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (pin.ino, pin.size, pin.mtime_ns)


def unreadable(pin: Pin, error: OSError) -> SourceLost:
    """Return the error for a pin the kernel does not let us read."""
    if error.errno != errno.EACCES:
        return lost(pin, f"it cannot be read: {error.strerror}")
    return SourceLost(
        f"the logged bytes of {printable(pin.source)} cannot be read",
        "their owner took the right to read away, and the daemon was started again since",
        "chmod u+r the file and log it again",
    )


def lost(pin: Pin, why: str) -> SourceLost:
    """Return the error for a pin whose bytes are gone."""
    return SourceLost(
        f"the logged bytes of {printable(pin.source)} are lost",
        why,
        "log the artifact again from the files as they are",
    )
