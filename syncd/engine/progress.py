"""What the engine knows of a job while it has a task: how far it is, what its last work gave."""

from __future__ import annotations

import asyncio

from syncd.clock import Clock
from syncd.events import Bus, JobChanged
from syncd.jobs.states import Event
from syncd.journal.jobs import Failure, JobResult

_PUBLISH_SECONDS = 0.1


class JobProgress:
    """How far a running job is. Plain counters of the loop; publishing is throttled."""

    def __init__(self, job: str, bus: Bus, clock: Clock) -> None:
        self._job = job
        self._bus = bus
        self._clock = clock
        self._told = clock.monotonic()
        self.restart()

    def restart(self) -> None:
        """Count from the start again: a new try begins."""
        self.bytes_done = 0
        self.bytes_stored = 0
        self.files_done = 0

    def read(self, size: int) -> None:
        """So many more bytes are dealt with."""
        self.bytes_done += size
        self._tell()

    def stored(self, size: int) -> None:
        """So many more bytes went over the wire."""
        self.bytes_stored += size
        self._tell()

    def file_done(self) -> None:
        """One more file is through."""
        self.files_done += 1
        self._tell()

    def _tell(self) -> None:
        now = self._clock.monotonic()
        if now - self._told >= _PUBLISH_SECONDS:
            self._told = now
            self._bus.publish(JobChanged(self._job))


class Live:
    """A job that has a task: its progress, what its last work gave, and how to interrupt it.

    `begun` once it has its turn; before that nothing happens to it but `dropped`: it was cancelled while it waited.
    `next_try` is when its pause between two tries ends (Clock.now), 0 outside of one.
    """

    def __init__(self, progress: JobProgress) -> None:
        self.progress = progress
        self.begun = False
        self.dropped = False
        self.next_try = 0.0
        self.warnings: tuple[str, ...] = ()
        self.result: JobResult | None = None
        self.fault: Failure | None = None
        self.work: asyncio.Task[Event] | None = None
        self.cancel_asked: asyncio.Future[None] | None = None
