"""Time and chance, handed in.

The only module that reads a clock, sleeps or draws lots; tests pass a clock they move by hand and a seeded chance.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Where a room gets its time from. No decision about the remote may rest on `now` (law L5)."""

    def now(self) -> float:
        """Seconds since the epoch, for people to read."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`, or raise CancelledError."""
        ...


class Chance(Protocol):
    """Where a room gets its randomness from: a `random.Random`, seeded in tests. Never for secrets."""

    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """Return an integer of `k` random bits."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot, roughly."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(seconds)


def system_chance() -> Chance:
    """Return the machine's own chance: what the daemon and the commands hand to the rooms."""
    return random.SystemRandom()


def hold_thread(seconds: float) -> None:
    """Block the calling thread, never the loop's: for a lane that must outwait the kernel's own clock."""
    time.sleep(seconds)


def random_hex(chance: Chance, size: int) -> str:
    """Return `size` random bytes as hex digits: ids, probe keys."""
    return chance.getrandbits(8 * size).to_bytes(size, "big").hex()
