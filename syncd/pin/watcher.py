"""The thread that notices waiting writers.

It waits for a signal, at most a second, then asks the kernel about *all* held leases (4 ms for 5,000). A signal only
wakes it: under a full queue most never arrive, and another watcher in the same process may have taken ours.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Protocol

from syncd.clock import Clock, hold_thread
from syncd.lanes import Sentinel
from syncd.pin import leases
from syncd.pin.leases import Held, LeaseTable

LONGEST_WAIT = 1.0
LONGEST_PAUSE = 0.1


class Flag(Protocol):
    """Says when to stop."""

    def is_set(self) -> bool:
        """Whether it is time."""
        ...


class Watcher:
    """Reports broken leases, each once, oldest first, from its own thread."""

    def __init__(self, table: LeaseTable, clock: Clock, report: Callable[[list[Held]], None]) -> None:
        self._table = table
        self._clock = clock
        self._report = report
        self._sentinel = Sentinel("leases", self._watch)
        self._ending = False

    def start(self) -> None:
        """Start watching; once only."""
        self._sentinel.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._sentinel.alive

    def close(self) -> None:
        """End the thread and wait for it. Blocks: called in a lane."""
        self._ending = True
        os.kill(os.getpid(), leases.BREAK_SIGNAL)  # wakes a watcher; if it is another one, ours wakes within a second
        self._sentinel.close()

    def _watch(self, stop: Flag) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, leases.SIGNALS)
        while not (stop.is_set() or self._ending):
            if signal.sigtimedwait(leases.SIGNALS, LONGEST_WAIT) is not None:
                # One look answers for all signals queued so far.
                while signal.sigtimedwait(leases.SIGNALS, 0) is not None:
                    pass
            begin = self._clock.monotonic()
            broken = self._table.newly_broken()
            if broken:
                self._report(broken)
                # Many writers at once: rescue in batches rather than look at every lease for each of them.
                hold_thread(min(LONGEST_PAUSE, 4 * (self._clock.monotonic() - begin)))
