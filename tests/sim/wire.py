"""One node's way to the bucket: a Store whose requests take time, get lost, land later, and outlive their sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

from syncd.errors import Conflict, RemoteUnavailable, SyncdError
from syncd.model.buffer import Buffer
from syncd.store.base import Capabilities, ObjectInfo
from tests.sim.bucket import Bucket
from tests.sim.weather import PATIENCE, Fate, Weather

T = TypeVar("T")


class Effects(Protocol):
    """The life that sends requests: it may stall or end at any of them."""

    async def effect(self, what: str) -> None: ...


class Wire:
    """The network between one life of a node and the bucket."""

    capabilities = Capabilities(kind="sim", lists_exactly=False)

    def __init__(self, bucket: Bucket, weather: Weather, life: Effects) -> None:
        self._bucket = bucket
        self._weather = weather
        self._life = life

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._ask("get", key, lambda: self._bucket.get(key, offset, length))

    async def stat(self, key: str) -> ObjectInfo:
        return await self._ask("stat", key, lambda: self._bucket.stat(key))

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        data = b"".join(parts)
        await self._tell("put", key, lambda: self._bucket.put(key, data))

    async def create(self, key: str, data: Buffer) -> None:
        body = bytes(data)
        await self._tell("create", key, lambda: self._bucket.create(key, body))

    async def delete(self, key: str) -> None:
        await self._tell("delete", key, lambda: self._bucket.delete(key))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        stale = self._weather.happens(self._weather.stale, self._now())
        age = self._weather.pause(1.0) if stale else 0.0
        for info in await self._ask("list", prefix, lambda: self._bucket.list(prefix, age)):
            yield info

    async def close(self) -> None:
        pass

    async def _ask(self, op: str, key: str, look: Callable[[], T]) -> T:
        await self._life.effect(f"{op} {key}")
        self._bucket.requests += 1
        await asyncio.sleep(self._weather.trip(op))
        if self._weather.happens(self._weather.faults, self._now()):
            raise RemoteUnavailable(f"{op} {key}: no answer")
        try:
            return look()  # what is seen now may be history when it arrives
        finally:
            await asyncio.sleep(self._weather.trip(op))
            await self._life.effect(f"{op} {key} answered")

    async def _tell(self, op: str, key: str, act: Callable[[], None]) -> None:
        await self._life.effect(f"{op} {key}")
        self._bucket.requests += 1
        fate = self._weather.fate(self._now())
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[SyncdError | None] = loop.create_future()
        there = self._weather.trip(op)
        if fate not in (Fate.NEVER, Fate.BUSY, Fate.CONFLICT, Fate.LATE):
            loop.call_later(there, _land, act, reply, fate, op)
        if fate in (Fate.LATE, Fate.AGAIN):
            loop.call_later(PATIENCE + self._weather.pause(1.0), _land, act, None, fate, op)
        if fate is Fate.BUSY or (fate is Fate.CONFLICT and op != "create"):
            loop.call_later(there, _answer, reply, RemoteUnavailable(f"{op} {key}: 503"))
        elif fate is Fate.CONFLICT:
            loop.call_later(there, _answer, reply, Conflict(f"409: {key}"))
        try:
            async with asyncio.timeout(PATIENCE):
                error = await reply
        except TimeoutError:
            error = RemoteUnavailable(f"{op} {key}: no answer")
        await asyncio.sleep(self._weather.trip(op))
        await self._life.effect(f"{op} {key} answered")
        if error is not None:
            raise error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _land(act: Callable[[], None], reply: asyncio.Future[SyncdError | None] | None, fate: Fate, op: str) -> None:
    error: SyncdError | None = None
    try:
        act()
    except SyncdError as raised:
        error = raised
    if fate is Fate.OWN_RETRY and op == "create":
        error = Conflict("412: there is an object already")
    if reply is not None and fate is not Fate.LOST_REPLY:
        _answer(reply, error)


def _answer(reply: asyncio.Future[SyncdError | None], error: SyncdError | None) -> None:
    if not reply.done():
        reply.set_result(error)
