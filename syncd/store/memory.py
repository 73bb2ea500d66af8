"""A remote in this process's memory: the shortest thing that keeps the contract, for tests and for reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from syncd.clock import Clock, SystemClock
from syncd.errors import Conflict, NotFound
from syncd.model.buffer import Buffer
from syncd.store.base import Capabilities, ObjectInfo, check_key, check_prefix, cut_range


class MemoryStore:
    """Objects in a dict. Outlives `close`, so that several daemons of one test share it.

    Args:
        clock: gives the objects their times.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.capabilities = Capabilities(kind="memory")
        self._clock = clock or SystemClock()
        self._objects: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Store."""
        data, _ = self._find(key)
        start, count = cut_range(len(data), offset, length)
        return data[start : start + count]

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """See Store."""
        check_key(key)
        self._objects[key] = (b"".join(parts), self._clock.now())

    async def create(self, key: str, data: Buffer) -> None:
        """See Store."""
        check_key(key)
        if key in self._objects:
            raise Conflict(f"there is an object already: {key}")
        self._objects[key] = (bytes(data), self._clock.now())

    async def stat(self, key: str) -> ObjectInfo:
        """See Store."""
        data, modified = self._find(key)
        return ObjectInfo(key, len(data), modified)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See Store."""
        check_prefix(prefix)
        for key in sorted(key for key in self._objects if key.startswith(prefix)):
            if key in self._objects:
                data, modified = self._objects[key]
                yield ObjectInfo(key, len(data), modified)

    async def delete(self, key: str) -> None:
        """See Store."""
        check_key(key)
        self._objects.pop(key, None)

    async def close(self) -> None:
        """Nothing to release; the objects stay."""

    def _find(self, key: str) -> tuple[bytes, float]:
        check_key(key)
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(f"no such object: {key}") from None
