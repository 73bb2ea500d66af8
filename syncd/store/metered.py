"""Counting what is asked of a remote. Innermost of the wrappers, so that every try counts and no waiting does.

Counters: `remote_requests` by remote, op and outcome ("ok", an error's code, "cancelled"); `put_bytes` and `get_bytes`
by remote, of requests that went well. Times: `remote_request_seconds` by remote and op.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.meter import Meter
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store, size_of


class Metered:
    """A Store that counts.

    Args:
        remote: the remote's name, the label people will see.
    """

    def __init__(self, store: Store, meter: Meter, clock: Clock, remote: str) -> None:
        self.capabilities = store.capabilities
        self._store = store
        self._meter = meter
        self._clock = clock
        self._remote = remote

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        with self._request("get"):
            data = await self._store.get(key, offset, length)
        self._meter.add("get_bytes", len(data), remote=self._remote)
        return data

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        with self._request("put"):
            await self._store.put(key, parts)
        self._meter.add("put_bytes", size_of(parts), remote=self._remote)

    async def create(self, key: str, data: Buffer) -> None:
        """See Store."""
        with self._request("create"):
            await self._store.create(key, data)
        self._meter.add("put_bytes", size_of([data]), remote=self._remote)

    async def stat(self, key: str) -> ObjectInfo:
        """See Store."""
        with self._request("stat"):
            return await self._store.stat(key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store. One request; the time is that to the first key, the listener's own pace is not the remote's."""
        listing = self._store.list(prefix)
        with self._request("list"):
            first = await anext(listing, None)
        if first is not None:
            yield first
            async for info in listing:
                yield info

    async def delete(self, key: str) -> None:
        """See Store."""
        with self._request("delete"):
            await self._store.delete(key)

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    @contextmanager
    def _request(self, op: str) -> Iterator[None]:
        begun = self._clock.monotonic()
        outcome = "ok"
        try:
            yield
        except SyncdError as error:
            outcome = error.code
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._meter.observe("remote_request_seconds", self._clock.monotonic() - begun, remote=self._remote, op=op)
            self._meter.add("remote_requests", remote=self._remote, op=op, outcome=outcome)
