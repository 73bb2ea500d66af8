"""Read leases: the kernel holds a writer's open() for us until we have saved the bytes.

What has to be got right, each learnt by trying: F_SETSIG before *every* F_SETLEASE (a release resets it, and then SIGIO
comes, whose default action kills); both signals blocked in every thread; a signal is only a wake-up, never counted,
because the queue overflows; the truth is F_GETLEASE of every held lease.

Threads: a lease belongs to whoever took its `Held` out of the table. Taking out is one atomic dict operation and comes
before the descriptor is closed, so a number that another file reuses is never asked in the old one's name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import FrameType

from syncd.pin.place import Pin
from syncd.pin.spool import Spool

BREAK_SIGNAL = signal.SIGRTMIN + 1
SIGNALS = frozenset((BREAK_SIGNAL, int(signal.SIGIO)))
NOTICE_TIME = 3.0  # seconds a break can be older than the moment it was noticed, generously


class Answer(Enum):
    """What the kernel says to a request for a read lease."""

    GRANTED = "granted"
    WRITER = "writer"  # somebody has the file open for writing, or is just being let in
    REFUSED = "refused"  # another owner's file, or a file system without leases


def mask_signals() -> None:
    """Block both signals in this thread and all it starts from now on: the first line of main.

    A thread that slipped through would be killed with the whole process; a handler that does nothing prevents that.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with suppress(ValueError):  # not the main thread: the handlers were set there, or the mask must do
        for number in SIGNALS:
            signal.signal(number, _nothing)


def unmask_signals() -> None:
    """Undo the mask: for a child process, before it becomes another program."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Be there, so that a stray signal does not kill."""


def take(fd: int) -> Answer:
    """Ask for a read lease on a file opened for reading only."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, BREAK_SIGNAL)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Answer.WRITER if error.errno == errno.EAGAIN else Answer.REFUSED
    return Answer.GRANTED


def release(fd: int) -> bool:
    """Give a lease back; return whether it was still in force (no writer has got in before this moment)."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def unbroken(fd: int) -> bool:
    """Whether the lease stands and nobody waits for its end."""
    try:
        return fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    except OSError:
        return False


def probe(fd: int) -> bool | None:
    """Is anybody writing the file open at `fd`? None: the kernel would not say (other owner, no leases there).

    The caller knows whether leases can be trusted on that file system (`filesystems.of_fd`).
    Nothing is held afterwards.
    """
    answer = take(fd)
    if answer is Answer.GRANTED:
        release(fd)
        return False
    return True if answer is Answer.WRITER else None


def raise_descriptor_limit(share: float) -> int:
    """Raise the limit of open files to the hard limit; return how many leases may be held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a container may forbid it: then the soft limit counts
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0] * share)


@dataclass(slots=True, eq=False)
class Held:
    """One lease in force: its descriptor and pin; `refuge` has room promised for a rescue.

    `broken_at` is when a waiting writer was noticed (monotonic). `told`: the pin's row is written or being
    written, so a new place has to be journalled.
    """

    fd: int
    pin: Pin
    refuge: Spool
    broken_at: float | None = None
    told: bool = False


class LeaseTable:
    """All leases held, by pin id. Every verb may be called from any thread."""

    def __init__(self, break_time: float) -> None:
        self._break_time = break_time
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: Held) -> None:
        """Put a lease under watch."""
        self._held[held.pin.pin] = held

    def get(self, pin: int) -> Held | None:
        """Return a pin's lease if it is held."""
        return self._held.get(pin)

    def intact(self, pin: int) -> bool:
        """Whether a pin's lease has been in force without a break up to this moment."""
        held = self._held.get(pin)
        # Still in the table after the question: then the descriptor was ours while it was asked.
        return held is not None and unbroken(held.fd) and self._held.get(pin) is held

    def in_force(self, held: Held, now: float) -> bool:
        """Whether nobody can have been let in by `now`: no break, or one younger than the kernel's patience."""
        if held.broken_at is None:
            return self.intact(held.pin.pin)
        return now - held.broken_at < self._break_time - NOTICE_TIME

    def newly_broken(self, now: float) -> list[Held]:
        """Return leases a writer waits for, each once."""
        found = []
        for held in list(self._held.values()):
            if held.broken_at is None and not unbroken(held.fd) and self._held.get(held.pin.pin) is held:
                held.broken_at = now
                found.append(held)
        return found

    def let_go(self, pin: int) -> Held | None:
        """Release a pin's lease and close its descriptor; None when somebody else did."""
        held = self._held.pop(pin, None)
        if held is not None:
            release(held.fd)
            os.close(held.fd)
        return held
