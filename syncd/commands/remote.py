"""The remote as a verb outside the daemon sees it: opened for one errand, closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from syncd.clock import Chance, SystemClock, random_hex
from syncd.disk import Disk
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.store.base import Store
from syncd.store.open import StoreParts, open_store, parse_remote
from syncd.store.retry import RetryParams


@asynccontextmanager
async def opened(url: str, rng: Chance, *, create: bool) -> AsyncIterator[Store]:
    """Open the remote at `url` for the time of the context; `create` makes a missing directory.

    A fault is told at once: a person is waiting.
    """
    lane = Lane("remote", 4)
    try:
        writer = f"command-{random_hex(rng, 6)}"
        parts = StoreParts(Disk(), lane, SystemClock(), rng, Meter(nullcontext()), writer, retry=RetryParams(tries=1))
        store = await open_store(parse_remote(url), parts, create=create)
        try:
            yield store
        finally:
            await store.close()
    finally:
        lane.close()
