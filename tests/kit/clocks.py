"""Time moved by hand: a test says when it passes, so that what waits on a Clock never really sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TypeVar

T = TypeVar("T")


class ManualClock:
    """A Clock whose `sleep` returns when the test has moved time far enough.

    `advance` moves time; `sleeping(n)` waits until at least n tasks sleep; `run_until` does both until a task is done.
    `slept` remembers every pause asked for, in order.
    """

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._start = start
        self._passed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self.slept: list[float] = []

    def now(self) -> float:
        """Seconds since the epoch: the start handed in plus what has passed."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds that have passed by hand."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait until time has been moved by `seconds`."""
        self.slept.append(seconds)
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._passed + max(0.0, seconds), next(self._numbers), wake)
        heapq.heappush(self._sleepers, entry)
        self._changed.set()
        try:
            await wake
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass; who is due by then wakes, in the order of being due."""
        self._passed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._passed + 1e-9:
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)

    async def sleeping(self, tasks: int = 1) -> None:
        """Return as soon as at least this many tasks sleep."""
        while len(self._sleepers) < tasks:
            self._changed.clear()
            await self._changed.wait()

    def skip(self) -> float:
        """Move time to where the first sleeper is due; return by how many seconds."""
        seconds = max(0.0, self._sleepers[0][0] - self._passed)
        self.advance(seconds)
        return seconds

    async def run_until(self, task: asyncio.Task[T]) -> T:
        """Skip from sleeper to sleeper until `task` is done; return what it returned."""
        while not task.done():
            nap = asyncio.ensure_future(self.sleeping())
            await asyncio.wait([nap, task], return_when=asyncio.FIRST_COMPLETED)
            if nap.done():
                self.skip()
            else:
                nap.cancel()
        return task.result()
