"""Manners: so many requests at once, so many bytes a second.

The rate holds on average, by whole objects: an object that comes when the line is free goes at full speed and the next
one waits until it has been paid for. Log entries (`create`) are paid for too but never wait: they are small, and a
commit that waits for somebody else's pack helps nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from syncd.clock import Clock
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store, size_of


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

    async def take(self, size: int) -> None:
        """Wait for a turn to send `size` bytes. A turn given up by cancellation costs nothing."""
        owed = self.charge(size)
        try:
            if owed:
                await self._clock.sleep(owed)
        except asyncio.CancelledError:
            self._paid_at -= size / self._rate
            raise


class Limit:
    """A Store with manners.

    Args:
        concurrent: requests at once, of all verbs together.
        bytes_per_second: of puts and gets together; None for no limit.
    """

    def __init__(self, store: Store, clock: Clock, concurrent: int, bytes_per_second: float | None) -> None:
        self.capabilities = store.capabilities
        self._store = store
        self._slots = asyncio.Semaphore(concurrent)
        self._bucket = TokenBucket(clock, bytes_per_second) if bytes_per_second else None

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        # How much it will be is known afterwards: wait for what was taken before, pay for this one later.
        await self._wait(0)
        async with self._slots:
            data = await self._store.get(key, offset, length)
        self._pay(len(data))
        return data

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        await self._wait(size_of(parts))
        async with self._slots:
            await self._store.put(key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        """See Store."""
        self._pay(size_of([data]))
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

    async def _wait(self, size: int) -> None:
        if self._bucket:
            await self._bucket.take(size)

    def _pay(self, size: int) -> None:
        if self._bucket:
            self._bucket.charge(size)
