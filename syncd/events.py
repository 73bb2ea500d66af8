"""What flows tell the doors: one small bus of frozen events, never waiting for a listener.

Publishing is a plain call that cannot block or fail: a listener that does not keep up loses the older of two events
about the same thing, never the newest (each listener holds one pending event a key, and its wake-up).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobChanged:
    """Something about a job is new (state or progress); whoever cares asks for the job."""

    job: str


class Listener:
    """One subscriber's view of the bus: the ids that changed since it last looked."""

    def __init__(self) -> None:
        self._pending: dict[str, JobChanged] = {}
        self._wake = asyncio.Event()

    def offer(self, event: JobChanged) -> None:
        """Note an event; an older one about the same job is replaced."""
        self._pending[event.job] = event
        self._wake.set()

    async def next(self) -> JobChanged:
        """Wait for the oldest pending event and take it."""
        while not self._pending:
            self._wake.clear()
            await self._wake.wait()
        return self._pending.pop(next(iter(self._pending)))

    async def __aiter__(self) -> AsyncIterator[JobChanged]:
        while True:
            yield await self.next()


class Bus:
    """Where events are published. Lives in the daemon's one loop; no locks."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def publish(self, event: JobChanged) -> None:
        """Tell every listener; returns at once."""
        for listener in self._listeners:
            listener.offer(event)

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """Hear everything published while the context is open."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
