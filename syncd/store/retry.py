"""Trying one request again, for seconds; above, law L4 settles a slot (repo/log.py) and the engine tries jobs again.

Only errors that say `retry` are tried again, and only verbs that may be repeated: never `create`, whose failed tries
mean something that only law L4 can read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from syncd.clock import Chance, Clock
from syncd.errors import SyncdError
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryParams:
    """How long to insist before the engine is told.

    Attributes:
        tries: of one verb, the first one included.
        first_s: longest pause after the first failure; it doubles from one failure to the next.
        longest_s: where the doubling ends.
    """

    tries: int = 5
    first_s: float = 0.2
    longest_s: float = 10.0


class Retry:
    """A Store that insists a little. A pause is drawn from the upper half of its bound, so that daemons spread out."""

    def __init__(self, store: Store, clock: Clock, chance: Chance, params: RetryParams) -> None:
        self.capabilities = store.capabilities
        self._store = store
        self._clock = clock
        self._chance = chance
        self._params = params

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        return await self._insist(lambda: self._store.get(key, offset, length))

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        await self._insist(lambda: self._store.put(key, parts))

    async def create(self, key: str, data: Buffer) -> None:
        """See Store. Tried once: law L4 decides what a failure means."""
        await self._store.create(key, data)

    async def stat(self, key: str) -> ObjectInfo:
        """See Store."""
        return await self._insist(lambda: self._store.stat(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store. A listing that breaks goes on behind the last key it gave; every key given earns new tries."""
        last = ""
        failures = 0
        while True:
            try:
                async for info in self._store.list(prefix):
                    if info.key > last:
                        last, failures = info.key, 0
                        yield info
                return
            except SyncdError as error:
                failures += 1
                await self._pause(error, failures)

    async def delete(self, key: str) -> None:
        """See Store."""
        await self._insist(lambda: self._store.delete(key))

    async def close(self) -> None:
        """See Store."""
        await self._store.close()

    async def _insist(self, verb: Callable[[], Awaitable[T]]) -> T:
        failures = 0
        while True:
            try:
                return await verb()
            except SyncdError as error:
                failures += 1
                await self._pause(error, failures)

    async def _pause(self, error: SyncdError, failures: int) -> None:
        """Wait after this many failures in a row, or raise the last one."""
        if not error.retry or failures >= self._params.tries:
            raise error
        bound = min(self._params.longest_s, self._params.first_s * 2.0 ** (failures - 1))
        await self._clock.sleep(bound * (0.5 + self._chance.random() / 2))
