"""Readers of packs beside each other."""

from __future__ import annotations

import asyncio

import pytest

from syncd.errors import RemoteUnavailable
from syncd.format.codec import RAW
from syncd.format.digest import hash_bytes
from syncd.format.keys import pack_key
from syncd.format.pack import PackBuilder
from syncd.lanes import Lane
from syncd.repo.packs import Packs
from syncd.store.base import ObjectInfo
from syncd.store.memory import MemoryStore
from tests.kit.stores import FlakyStore, Recording, nth, refuse


class Gated(Recording):
    """Holds every stat until the gate opens; tells when the first has come."""

    def __init__(self, store: MemoryStore | FlakyStore) -> None:
        super().__init__(store)
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()

    async def stat(self, key: str) -> ObjectInfo:
        self.arrived.set()
        await self.gate.wait()
        return await super().stat(key)


async def stored(store: MemoryStore) -> bytes:
    builder = PackBuilder(bytes(16))
    builder.add(hash_bytes(b"abc"), 3, RAW, b"abc")
    sealed = builder.seal()
    await store.put(pack_key(sealed.pack), sealed.parts)
    return sealed.pack


async def test_who_goes_away_while_an_index_is_read_takes_nobody_along() -> None:
    memory, lane = MemoryStore(), Lane("work")
    pack, store = await stored(memory), Gated(memory)
    packs = Packs(store, lane)
    first = asyncio.ensure_future(packs.index(pack))
    await store.arrived.wait()
    others = [asyncio.ensure_future(packs.chunk(pack, 0)) for _ in range(3)]
    await asyncio.sleep(0)  # they stand in line now
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.gate.set()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*others) == [b"abc"] * 3
    assert len(store.of("stat")) == 1, "one of them read it, for all"
    lane.close()


async def test_a_failure_to_read_an_index_is_the_first_readers_alone() -> None:
    memory, lane = MemoryStore(), Lane("work")
    pack = await stored(memory)
    store = Gated(FlakyStore(memory, nth("stat", 1, refuse())))
    store.gate.set()
    packs = Packs(store, lane)
    answers = await asyncio.gather(*(packs.chunk(pack, 0) for _ in range(3)), return_exceptions=True)
    assert isinstance(answers[0], RemoteUnavailable)
    assert answers[1:] == [b"abc"] * 2
    lane.close()
