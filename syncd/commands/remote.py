"""The remote as a verb outside the daemon sees it: opened for one errand, closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from syncd.clock import Chance, SystemClock, random_hex
from syncd.disk import Disk
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.store.base import Store
from syncd.store.open import LimitParams, StoreParts, credentials_of, open_store, parse_remote
from syncd.store.retry import RetryParams

_AT_ONCE = 64  # racing writers must really race


def credentials(url: str) -> str:
    """Return in words which credentials a remote is asked with, "" where none are needed; never one of them."""
    return credentials_of(parse_remote(url))


@asynccontextmanager
async def opened(url: str, rng: Chance, *, create: bool) -> AsyncIterator[Store]:
    """Open the remote at `url` for the time of the context; `create` makes a missing directory.

    A fault is told at once: a person is waiting.
    """
    lane = Lane("remote", 4)
    try:
        writer = f"command-{random_hex(rng, 6)}"
        parts = StoreParts(
            Disk(), lane, SystemClock(), rng, Meter(nullcontext()), writer,
            limits=LimitParams(concurrent=_AT_ONCE), retry=RetryParams(tries=1),
        )  # fmt: skip
        store = await open_store(parse_remote(url), parts, create=create)
        try:
            yield store
        finally:
            await store.close()
    finally:
        lane.close()
