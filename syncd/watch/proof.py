"""Has its writer finished? Ask the kernel for a read lease on every file. Blocks; runs in a lane."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from syncd.pin.filesystems import of_fd
from syncd.pin.leases import probe
from syncd.watch.scan import Look

Prober = Callable[[int], bool | None]
"""Given an open descriptor: True, somebody has the file open for writing; False, nobody has (a lease was granted and
given back); None, this file system (or the file's owner) does not let us know."""


def kernel_prober(fd: int) -> bool | None:
    """The daemon's `Prober`: a lease asked for and given back, believed to be free only where leases hold."""
    answer = probe(fd)
    return answer if answer or of_fd(fd).lease else None


MARKER = "marker"
LEASES = "leases"
UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Proof:
    """What asking showed: how sure we are (`leases` or `unproven`), and a file still open for writing, if any."""

    how: str
    open_file: bytes = b""

    @property
    def busy(self) -> bool:
        """Whether somebody is writing."""
        return bool(self.open_file)


def ask(path: bytes, look: Look, prober: Prober) -> Proof:
    """Ask for a lease on every regular file below `path`, the newest first: an open one is likely among those.

    Raises:
        OSError: a file vanished or cannot be opened.
    """
    how = LEASES
    for entry in sorted((seen for seen in look.entries if seen.regular), key=lambda seen: -seen.mtime_ns):
        answer = _ask_one(os.path.join(path, entry.path), entry.ino, prober)
        if answer:
            return Proof(how, entry.path)
        if answer is None:
            how = UNPROVEN
    return Proof(how)


def _ask_one(path: bytes, ino: int, prober: Prober) -> bool | None:
    # O_NONBLOCK: should the file have become a FIFO since, opening it must not hang the lane.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_ino != ino:
            return True  # replaced since the look: somebody is at work here
        return prober(fd)
    finally:
        os.close(fd)
