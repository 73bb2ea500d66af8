"""Stores that misbehave on purpose, and one that remembers. Each is a Store around a Store.

FlakyStore(MemoryStore(), nth("put", 2, lose_reply()))       # the second put takes effect, but its answer is lost
FlakyStore(inner, seeded(random.Random(7), 0.1, [refuse(), lose_reply()]))
FlakyStore(inner, on("get", "packs/", flip_bit(100)))
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from syncd.errors import RemoteUnavailable
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store, size_of


@dataclass(frozen=True, slots=True)
class Call:
    """One verb asked for: `number` counts the calls of this op from 1, `size` is of the bytes going in."""

    op: str
    key: str
    number: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call.

    Attributes:
        before: raised instead of the effect.
        after: raised after the effect: the reply was lost.
        change: what becomes of the bytes: those returned by a get, those stored by a put or create.
    """

    before: BaseException | None = None
    after: BaseException | None = None
    change: Callable[[bytes], bytes] | None = None


Plan = Callable[[Call], Fault | None]


def refuse(error: BaseException | None = None) -> Fault:
    """Fail without any effect."""
    return Fault(before=error or RemoteUnavailable("injected: no connection"))


def lose_reply(error: BaseException | None = None) -> Fault:
    """Do it, then fail."""
    return Fault(after=error or RemoteUnavailable("injected: the connection broke before the answer"))


def flip_bit(bit: int) -> Fault:
    """Turn one bit of the bytes (counted modulo their length; nothing to turn in an empty object)."""

    def change(data: bytes) -> bytes:
        if not data:
            return data
        byte = bit // 8 % len(data)
        return data[:byte] + bytes([data[byte] ^ 1 << bit % 8]) + data[byte + 1 :]

    return Fault(change=change)


def truncate(length: int) -> Fault:
    """Keep only the first `length` bytes; negative: all but so many."""
    return Fault(change=lambda data: data[:length])


def nth(op: str, number: int, fault: Fault) -> Plan:
    """Fault the number-th call of an op, counted from 1."""
    return lambda call: fault if (call.op, call.number) == (op, number) else None


def on(op: str, prefix: str, fault: Fault) -> Plan:
    """Fault every call of an op on keys with this prefix."""
    return lambda call: fault if call.op == op and call.key.startswith(prefix) else None


def seeded(rng: random.Random, rate: float, faults: Sequence[Fault]) -> Plan:
    """Fault each call with probability `rate`, the kind drawn from `faults`."""
    return lambda call: rng.choice(list(faults)) if rng.random() < rate else None


class FlakyStore:
    """A store whose calls go wrong as the plan says. `plan` may be changed at any time."""

    def __init__(self, store: Store, plan: Plan = lambda call: None) -> None:
        self.capabilities = store.capabilities
        self.plan = plan
        self._store = store
        self._numbers: dict[str, int] = {}

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        fault = self._begin("get", key)
        data = await self._store.get(key, offset, length)
        _finish(fault)
        return fault.change(data) if fault.change else data

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        fault = self._begin("put", key, size_of(parts))
        await self._store.put(key, [fault.change(b"".join(parts))] if fault.change else parts)
        _finish(fault)

    async def create(self, key: str, data: Buffer) -> None:
        fault = self._begin("create", key, size_of([data]))
        await self._store.create(key, fault.change(bytes(data)) if fault.change else data)
        _finish(fault)

    async def stat(self, key: str) -> ObjectInfo:
        fault = self._begin("stat", key)
        info = await self._store.stat(key)
        _finish(fault)
        return info

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """`after` breaks the listing behind its first key."""
        fault = self._begin("list", prefix)
        async for info in self._store.list(prefix):
            yield info
            _finish(fault)
        _finish(fault)

    async def delete(self, key: str) -> None:
        fault = self._begin("delete", key)
        await self._store.delete(key)
        _finish(fault)

    async def close(self) -> None:
        await self._store.close()

    def _begin(self, op: str, key: str, size: int = 0) -> Fault:
        number = self._numbers[op] = self._numbers.get(op, 0) + 1
        fault = self.plan(Call(op, key, number, size)) or Fault()
        if fault.before:
            raise fault.before
        return fault


def _finish(fault: Fault) -> None:
    if fault.after:
        raise fault.after


class Recording:
    """A store that remembers what was asked of it, in `calls`, before doing it."""

    def __init__(self, store: Store) -> None:
        self.capabilities = store.capabilities
        self.calls: list[Call] = []
        self._store = store

    def of(self, op: str) -> list[Call]:
        """Return the calls of one op."""
        return [call for call in self.calls if call.op == op]

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self._note("get", key)
        return await self._store.get(key, offset, length)

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        self._note("put", key, size_of(parts))
        await self._store.put(key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        self._note("create", key, size_of([data]))
        await self._store.create(key, data)

    async def stat(self, key: str) -> ObjectInfo:
        self._note("stat", key)
        return await self._store.stat(key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        self._note("list", prefix)
        async for info in self._store.list(prefix):
            yield info

    async def delete(self, key: str) -> None:
        self._note("delete", key)
        await self._store.delete(key)

    async def close(self) -> None:
        await self._store.close()

    def _note(self, op: str, key: str, size: int = 0) -> None:
        self.calls.append(Call(op, key, len(self.of(op)) + 1, size))


class Held(Recording):
    """A store that holds its puts and creates at the door until `let_go()`; `arrived` is set by the first of them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()

    def let_go(self) -> None:
        """Let everything pass from now on."""
        self._open.set()

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        self.arrived.set()
        await self._open.wait()
        await super().put(key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        self.arrived.set()
        await self._open.wait()
        await super().create(key, data)
