"""Trying what a remote can: the verdict, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from syncd.errors import RemoteUnavailable
from syncd.model.buffer import Buffer
from syncd.repo.init import probe
from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from tests.kit.stores import FlakyStore, Recording, flip_bit, nth, on, refuse


async def left(store: Store) -> list[str]:
    return [info.key async for info in store.list("")]


async def test_a_store_that_keeps_its_word_has_no_problems() -> None:
    store = MemoryStore()
    assert await probe(store, random.Random(1)) == []
    assert await left(store) == []


async def test_a_store_that_returns_other_bytes_is_found_out() -> None:
    store = MemoryStore()
    assert await probe(FlakyStore(store, on("get", "", flip_bit(9))), random.Random(1)) != []
    assert await left(store) == []


@pytest.mark.parametrize("plan", [nth("create", 3, refuse()), nth("get", 2, refuse()), nth("create", 11, refuse())])
async def test_a_probe_that_fails_in_the_middle_leaves_no_key(plan: Any) -> None:
    store = MemoryStore()
    with pytest.raises(RemoteUnavailable):
        await probe(FlakyStore(store, plan), random.Random(1))
    assert await left(store) == []


async def test_a_slow_writer_of_a_probe_that_fails_has_ended_before_its_key_is_removed() -> None:
    class Slow(Recording):
        async def create(self, key: str, data: Buffer) -> None:
            await super().create(key, data)
            if len(self.calls) == 1:
                raise RemoteUnavailable("injected: no connection")
            for _ in range(5):
                await asyncio.sleep(0)
            await self._store.put(key, [data])

    store = MemoryStore()
    with pytest.raises(RemoteUnavailable):
        await probe(Slow(store), random.Random(1))
    for _ in range(20):
        await asyncio.sleep(0)
    assert await left(store) == []


async def test_what_cannot_be_removed_does_not_hide_why_the_probe_failed() -> None:
    def plan(call: Any) -> Any:
        faults = {"get": "injected: the first failure", "delete": "injected: the second"}
        return refuse(RemoteUnavailable(faults[call.op])) if call.op in faults else None

    with pytest.raises(RemoteUnavailable, match="the first failure"):
        await probe(FlakyStore(MemoryStore(), plan), random.Random(1))
