"""Manners: so many requests at once, so many bytes a second.

The rate holds on average, by whole objects: an object that comes when the line is free goes at full speed and the next
one waits until it has been paid for. What is small (log entries, manifests, a look at an object, up to 64 KiB of a
pack) goes ahead of what is queued: it is paid for too, by whoever comes after it, and somebody who lists versions does
not wait for somebody else's packs. So that the rate still holds, small ones may be a few MiB ahead of it and no more;
and some of the slots are theirs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from syncd.clock import Clock
from syncd.format.keys import PACKS
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store, size_of

_SMALL = 64 << 10
_AHEAD = 4 << 20
"""How many bytes of small requests may go before the rate allows them."""
_RESERVED = 2


class TokenBucket:
    """Bytes a second, without bursts: `take` waits until everything taken before has been paid for."""

    def __init__(self, clock: Clock, bytes_per_second: float) -> None:
        self._clock = clock
        self._rate = bytes_per_second
        self._paid_at = clock.monotonic()

    def charge(self, size: int) -> float:
        """Note bytes that go now; return how many seconds were owed before them."""
        now = self._clock.monotonic()
        owed = max(0.0, self._paid_at - now)
        self._paid_at = now + owed + size / self._rate
        return owed

    async def take(self, size: int, ahead: int = 0) -> None:
        """Wait for a turn to send `size` bytes, which may come `ahead` bytes before everything is paid for.

        A turn given up by cancellation costs nothing.
        """
        owed = self.charge(size) - ahead / self._rate
        try:
            if owed > 0:
                await self._clock.sleep(owed)
        except asyncio.CancelledError:
            self._paid_at -= size / self._rate
            raise


class Limit:
    """A Store with manners.

    Args:
        concurrent: requests at once, of all verbs together; of two or more, some are kept for small ones.
        bytes_per_second: of puts and gets together; None for no limit.
    """

    def __init__(self, store: Store, clock: Clock, concurrent: int, bytes_per_second: float | None) -> None:
        self.capabilities = store.capabilities
        self._store = store
        self._slots = asyncio.Semaphore(concurrent)
        self._bulk_slots = asyncio.Semaphore(max(1, concurrent - min(_RESERVED, -(-concurrent // 4))))
        self._bucket = TokenBucket(clock, bytes_per_second) if bytes_per_second else None
        self._small_bucket = TokenBucket(clock, bytes_per_second) if bytes_per_second else None

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        # How much it will be is known afterwards: wait for what was taken before, pay for this one later.
        # Outside of packs everything is small as a rule, and what is asked for is only the most it may be.
        bulk = key.startswith(PACKS) and (length is None or length > _SMALL)
        await self._wait(0, bulk)
        async with self._slot(bulk):
            data = await self._store.get(key, offset, length)
        self._pay(len(data), bulk)
        return data

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        size = size_of(parts)
        await self._wait(size, size > _SMALL)
        async with self._slot(size > _SMALL):
            await self._store.put(key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        """See Store."""
        self._pay(size_of([data]), bulk=False)
        async with self._slots:
            await self._store.create(key, data)

    async def stat(self, key: str) -> ObjectInfo:
        """See Store."""
        async with self._slots:
            return await self._store.stat(key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store. Between two keys it holds no slot: the listener may use the store."""
        listing = self._store.list(prefix)
        while True:
            async with self._slots:
                info = await anext(listing, None)
            if info is None:
                return
            yield info

    async def delete(self, key: str) -> None:
        """See Store."""
        async with self._slots:
            await self._store.delete(key)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    @asynccontextmanager
    async def _slot(self, bulk: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as held:
            if bulk:
                await held.enter_async_context(self._bulk_slots)
            await held.enter_async_context(self._slots)
            yield

    async def _wait(self, size: int, bulk: bool) -> None:
        if self._bucket is None or self._small_bucket is None:
            return
        if bulk:
            await self._bucket.take(size)
        else:
            await self._small_bucket.take(size, _AHEAD)
            self._bucket.charge(size)

    def _pay(self, size: int, bulk: bool) -> None:
        for bucket in (self._bucket, None if bulk else self._small_bucket):
            if bucket:
                bucket.charge(size)
