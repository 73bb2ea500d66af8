"""Reading where there are two copies: the primary first, the mirror for what the primary does not give.

For objects that never change and prove themselves (packs, manifests): whoever reads checks the bytes, so it does not
matter who gave them. Logs are not read through this, for a mirror's log may be shorter; and nothing is written.
A primary that was away is left alone for a while, so that not every read waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from syncd.clock import Clock
from syncd.errors import NotFound, Refused, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store

T = TypeVar("T")

AWAY_SECONDS = 30.0


class Fallback:
    """A Store that reads. Closing it closes neither of the two."""

    def __init__(self, primary: Store, mirror: Store, clock: Clock) -> None:
        self.capabilities = primary.capabilities
        self._primary = primary
        self._mirror = mirror
        self._clock = clock
        self._away_until = float("-inf")

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """As Store; the primary's error when neither has it."""
        return await self._either(lambda store: store.get(key, offset, length))

    async def stat(self, key: str) -> ObjectInfo:
        """As Store; the primary's error when neither has it."""
        return await self._either(lambda store: store.stat(key))

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """As the primary lists."""
        return self._primary.list(prefix)

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Refused."""
        raise _reads_only(key)

    async def create(self, key: str, data: Buffer) -> None:
        """Refused."""
        raise _reads_only(key)

    async def delete(self, key: str) -> None:
        """Refused."""
        raise _reads_only(key)

    async def close(self) -> None:
        """Nothing is held."""

    async def _either(self, verb: Callable[[Store], Awaitable[T]]) -> T:
        if self._clock.monotonic() < self._away_until:
            try:
                return await verb(self._mirror)
            except SyncdError:
                return await verb(self._primary)
        try:
            return await verb(self._primary)
        except (NotFound, RemoteRefused, RemoteUnavailable) as error:
            if error.retry:
                self._away_until = self._clock.monotonic() + AWAY_SECONDS
            try:
                return await verb(self._mirror)
            except SyncdError as second:
                raise error from second


def _reads_only(key: str) -> Refused:
    return Refused(f"{key} cannot be written", "two copies are only read together", "")
