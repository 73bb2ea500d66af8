"""Copies that are of one moment: nobody wrote while the bytes were read, or we say so.

With a lease the kernel vouches for it: the lease was in force from before the first byte to after the last. Without
one, size and mtime must be the same before and after, and the mtime must be older than a clock tick before we start:
two writes within one tick leave the same mtime.
"""

from __future__ import annotations

import os

from syncd.clock import Clock, hold_thread
from syncd.disk import Disk
from syncd.errors import Conflict
from syncd.model.names import printable
from syncd.pin import leases

TRIES = 4
TICK = 0.02  # seconds; twice the coarsest kernel clock (100 Hz)


def same_content(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether nothing was written between two looks at one file (ctime is no help: links change it)."""
    return one.st_size == other.st_size and one.st_mtime_ns == other.st_mtime_ns


class Copier:
    """Reads files of one moment. Blocks: called in lanes."""

    def __init__(self, disk: Disk, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock

    def copy(self, fd: int, target: bytes, source: bytes, leasable: bool, closed_only: bool = False) -> os.stat_result:
        """Copy an open file to `target` (new); return what it looked like at that moment.

        Raises:
            Conflict: it changes all the time; or somebody has it open for writing and `closed_only` forbids that.
            OSError: of reading or writing; no half copy is left.
        """
        for _ in range(TRIES):
            leased = leasable and _guard(fd, source, closed_only)
            still = False
            try:
                before = os.fstat(fd) if leased else self._settled(fd)
                if before is not None:
                    copied = self._disk.copy(fd, target, before.st_size)
                    still = copied == before.st_size and same_content(before, os.fstat(fd))
            finally:
                unbroken = leases.release(fd) if leased else True
            if before is not None and still and unbroken:
                return before
            self._disk.remove(target)
        raise changing(source)

    def read(
        self, fd: int, source: bytes, limit: int, leasable: bool, closed_only: bool = False
    ) -> tuple[os.stat_result, bytes]:
        """Read a small open file whole; return what it looked like and its bytes. Raises Conflict, OSError."""
        for _ in range(TRIES):
            leased = leasable and _guard(fd, source, closed_only)
            still = False
            try:
                before = os.fstat(fd) if leased else self._settled(fd)
                if before is not None and before.st_size <= limit:
                    data = os.pread(fd, before.st_size + 1, 0)
                    still = len(data) == before.st_size and (leased or same_content(before, os.fstat(fd)))
            finally:
                unbroken = leases.release(fd) if leased else True
            if before is not None and still and unbroken:
                return before, data
        raise changing(source)

    def _settled(self, fd: int) -> os.stat_result | None:
        """Return the facts of a file not written within the last tick, waiting one tick for it; None if it goes on."""
        facts = os.fstat(fd)
        age = self._clock.now() - facts.st_mtime_ns / 1e9
        if not 0 <= age < TICK:
            return facts
        hold_thread(TICK)
        again = os.fstat(fd)
        return again if same_content(facts, again) else None


def _guard(fd: int, source: bytes, closed_only: bool) -> bool:
    answer = leases.take(fd)
    if closed_only and answer is leases.Answer.WRITER:
        raise open_for_writing(source)
    return answer is leases.Answer.GRANTED


def open_for_writing(source: bytes) -> Conflict:
    """Return the error for a file that is not finished, where only finished ones were asked for."""
    return Conflict(
        f"{printable(source)} is open for writing",
        "only finished files were asked for",
        "wait for its writer to close it",
    )


def changing(source: bytes) -> Conflict:
    """Return the error for a file that somebody keeps writing."""
    return Conflict(
        f"{printable(source)} is being written",
        "it changed each time it was copied",
        "add it when its writer has finished",
    )
