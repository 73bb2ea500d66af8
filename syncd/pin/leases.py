"""Read leases: the kernel holds a writer's open() for us until we have saved the bytes.

What has to be got right, each learnt by trying: F_SETSIG before *every* F_SETLEASE (a release resets it, and then SIGIO
comes, whose default action kills); both signals blocked in every thread; a signal is only a wake-up, never counted,
because the queue overflows; the truth is F_GETLEASE of every held lease.

What may be believed. A lease seen intact was never broken, so all that was read before that look is right, for good.
One seen broken was broken at some time after the last look that saw it intact, and the kernel lets nobody in for the
break time after that: what was read by then is right too. When the break was *noticed* says nothing: a stopped process
notices late. The kernel counts the break time in ticks, which stand still while the machine sleeps, as the monotonic
clock does. Later only an untouched file vouches for itself: size, mtime and ctime are those of the pin. Not on tmpfs,
where a memory map changes bytes without any of them.

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

from syncd.clock import Clock
from syncd.pin import filesystems
from syncd.pin.place import Pin
from syncd.pin.spool import Spool

BREAK_SIGNAL = signal.SIGRTMIN + 1
SIGNALS = frozenset((BREAK_SIGNAL, int(signal.SIGIO)))
MARGIN = 1.0  # seconds of the break time that are not counted on: a tick is rounded, a thread waits for its turn


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

    `seen` is a moment at which the lease is known to have been intact: taken before the question (monotonic; any
    thread may write a later one, and each is true). `ctime_ns`: the file's, once it was linked. `broken_at` is when a
    waiting writer was noticed: for the order of rescues and for people. `told`: the pin's row is written or being
    written, so a new place has to be journalled.
    """

    fd: int
    pin: Pin
    refuge: Spool
    seen: float
    ctime_ns: int
    broken_at: float | None = None
    told: bool = False

    def untouched(self, fd: int) -> bool:
        """Whether the file open at `fd` is the one leased, and nothing at all was done to it since."""
        facts = os.fstat(fd)
        pin = self.pin
        mine = (pin.ino, pin.size, pin.mtime_ns, self.ctime_ns)
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns) == mine


class LeaseTable:
    """All leases held, by pin id. Every verb may be called from any thread."""

    def __init__(self, break_time: float, clock: Clock) -> None:
        self._break_time = break_time
        self._clock = clock
        self._held: dict[int, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def now(self) -> float:
        """Return what goes into `Held.seen`; asked *before* the lease is taken."""
        return self._clock.monotonic()

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

    def in_force(self, held: Held) -> bool:
        """Whether nobody can have been let in before this call: no break, or one younger than the kernel's patience."""
        now = self._clock.monotonic()
        if self.intact(held.pin.pin):
            held.seen = now
            return True
        return now - held.seen < self._break_time - MARGIN

    def vouches(self, held: Held, fd: int) -> bool:
        """Whether all that was read of a leased file before this call were the pinned bytes. `fd`: the file, open."""
        return self.in_force(held) or (filesystems.of_fd(fd).local_disk and held.untouched(fd))

    def duplicate(self, pin: int) -> int:
        """Return a new descriptor of a leased file, whatever became of its name and mode; -1 when no lease is held.

        Raises:
            OSError: there is no descriptor left.
        """
        held = self._held.get(pin)
        if held is None:
            return -1
        try:
            fd = os.dup(held.fd)
        except OSError as error:
            if error.errno == errno.EBADF:  # let go a moment ago
                return -1
            raise
        if self._held.get(pin) is held:  # then the number was ours when it was duplicated
            return fd
        os.close(fd)
        return -1

    def newly_broken(self) -> list[Held]:
        """Return leases a writer waits for, each once; note of the others that they were seen intact."""
        found = []
        now = self._clock.monotonic()
        for held in list(self._held.values()):
            if held.broken_at is not None:
                continue
            if unbroken(held.fd):
                if self._held.get(held.pin.pin) is held:
                    held.seen = now
            elif self._held.get(held.pin.pin) is held:
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
