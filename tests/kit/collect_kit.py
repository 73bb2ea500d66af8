"""Collections in tests: without ages, on a node of flow_kit, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from syncd.collect.params import CollectParams
from syncd.collect.run import Collected, Collector
from syncd.format.log import LogEntry
from syncd.model.buffer import Buffer
from syncd.model.names import ArtifactKey
from syncd.repo.history import Version
from syncd.store.base import ObjectInfo, Store
from tests.kit.flow_kit import Files, Node, node, tree
from tests.kit.stores import Recording

T = TypeVar("T")

AT_ONCE = CollectParams(min_age=0, grace=0)
KEY = ArtifactKey("p", "data")


_SEEDS = itertools.count()


def collector(at: Node) -> Collector:
    """Return a collector on a node; no two draw the same chances."""
    return Collector(at.repository, at.lane, at.clock, random.Random(next(_SEEDS)), at.name)


async def collect(at: Node, params: CollectParams = AT_ONCE, **changes: Any) -> Collected:
    """Collect once, at the worst moment: nothing is too young, nothing has any grace."""
    return await collector(at).collect(replace(params, **changes))


async def keys_of(store: Store, prefix: str) -> list[str]:
    """Return what lies below a prefix."""
    return [info.key async for info in store.list(prefix)]


async def add(at: Node, kind: type, key: ArtifactKey = KEY, **facts: Any) -> None:
    """Append an entry as whatever verb writes it would."""
    txn = f"t-{random.SystemRandom().getrandbits(64):x}"

    def build(_: object, prev: bytes) -> LogEntry:
        return kind(txn=txn, prev=prev, **facts)  # type: ignore[no-any-return]

    await at.repository.artifact_log(key).append(txn, build)


def content(version: Version, entries: int) -> dict[str, Any]:
    """Return what an entry says of content that a version has already."""
    return {
        "manifest": version.manifest, "manifest_hash": version.manifest_hash, "manifest_size": version.manifest_size,
        "digest": version.digest, "entries": entries, "files": version.files, "size": version.size,
    }  # fmt: skip


async def readable(at: Node, root: Path, number: int, name: str = "data") -> Files:
    """Return a version's files as a download gives them, into a fresh directory."""
    target = root / f"{name}-{number}-{len(list(root.iterdir())) if root.exists() else 0}"
    target.parent.mkdir(parents=True, exist_ok=True)
    await at.download(target, name, number)
    return tree(target)


@asynccontextmanager
async def fresh(store: Store, state: Path) -> AsyncIterator[Node]:
    """A node that has seen nothing yet."""
    async with node(state, store) as made:
        yield made


class Stalled(Recording):
    """A store whose caller stalls at its n-th call, before or after it, while something else happens to the remote.

    Calls are counted from `begin` on; all calls of other tasks wait meanwhile, as those of a stopped process do.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._at = 0
        self._after = False
        self._count = 0
        self._meanwhile: Callable[[], Awaitable[None]] | None = None
        self._going = asyncio.Event()
        self._going.set()

    def begin(self, at: int, meanwhile: Callable[[], Awaitable[None]], after: bool = False) -> None:
        """Stall at the call number `at` from now on."""
        self._at, self._meanwhile, self._after, self._count = at, meanwhile, after, 0

    @property
    def count(self) -> int:
        """Calls since `begin`."""
        return self._count

    async def _stall(self, number: int, after: bool) -> None:
        if self._meanwhile is not None and (number, after) == (self._at, self._after):
            meanwhile, self._meanwhile = self._meanwhile, None
            self._going.clear()
            try:
                await meanwhile()
            finally:
                self._going.set()
        await self._going.wait()

    async def _around(self, work: Awaitable[T]) -> T:
        await self._going.wait()
        self._count += 1
        number = self._count
        await self._stall(number, False)
        try:
            return await work
        finally:
            await self._stall(number, True)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._around(super().get(key, offset, length))

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        await self._around(super().put(key, parts))

    async def create(self, key: str, data: Buffer) -> None:
        await self._around(super().create(key, data))

    async def stat(self, key: str) -> ObjectInfo:
        return await self._around(super().stat(key))

    async def delete(self, key: str) -> None:
        await self._around(super().delete(key))
