"""The one bucket: objects, the store's own clock, what it looked like before (for stale lists), and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from syncd.errors import Conflict, NotFound
from syncd.model.buffer import Buffer
from syncd.store.base import Capabilities, ObjectInfo, check_key, cut_range
from tests.sim.virtual import EPOCH

Watch = Callable[[str, str, bytes | None, bytes], None]
"""Told every change: op ("create", "put", "delete"), key, the bytes before (None: there were none), the bytes now."""


class Bucket:
    """Objects with put-if-absent; every key is linearisable, lists are as old as asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.watch: Watch = lambda op, key, before, now: None
        self.requests = 0
        self._changes: list[tuple[float, str, ObjectInfo | None]] = []

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        data, _ = self._find(key)
        start, count = cut_range(len(data), offset, length)
        return data[start : start + count]

    def stat(self, key: str) -> ObjectInfo:
        data, at = self._find(key)
        return ObjectInfo(key, len(data), at)

    def put(self, key: str, data: bytes) -> None:
        check_key(key)
        self._change("put", key, data)

    def create(self, key: str, data: bytes) -> None:
        check_key(key)
        if key in self.objects:
            raise Conflict(f"412: there is an object already: {key}")
        self._change("create", key, data)

    def delete(self, key: str) -> None:
        if key in self.objects:
            before, _ = self.objects.pop(key)
            self._changes.append((self._now(), key, None))
            self.watch("delete", key, before, b"")

    def list(self, prefix: str, age: float = 0.0) -> list[ObjectInfo]:
        """Return what a list showed `age` seconds ago."""
        seen: dict[str, ObjectInfo] = {}
        for at, key, info in self._changes:
            if at > self._now() - age:
                break
            if info is None:
                seen.pop(key, None)
            elif key.startswith(prefix):
                seen[key] = info
        return [seen[key] for key in sorted(seen)]

    def _change(self, op: str, key: str, data: bytes) -> None:
        before = self.objects.get(key)
        self.objects[key] = (data, self._now())
        self._changes.append((self._now(), key, self.stat(key)))
        self.watch(op, key, before[0] if before else None, data)

    def _find(self, key: str) -> tuple[bytes, float]:
        check_key(key)
        if key not in self.objects:
            raise NotFound(f"404: no such object: {key}")
        return self.objects[key]

    @staticmethod
    def _now() -> float:
        return EPOCH + asyncio.get_running_loop().time()


class Direct:
    """A Store straight on the bucket: no network, no time, no faults. What the checker and late readers use."""

    capabilities = Capabilities(kind="direct")

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._bucket.get(key, offset, length)

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        self._bucket.put(key, b"".join(parts))

    async def create(self, key: str, data: Buffer) -> None:
        self._bucket.create(key, bytes(data))

    async def stat(self, key: str) -> ObjectInfo:
        return self._bucket.stat(key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for info in self._bucket.list(prefix):
            yield info

    async def delete(self, key: str) -> None:
        self._bucket.delete(key)

    async def close(self) -> None:
        pass
