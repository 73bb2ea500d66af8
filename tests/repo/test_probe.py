"""Trying what a remote can: the verdict, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from syncd.clock import SystemClock
from syncd.errors import RemoteRefused, RemoteUnavailable
from syncd.model.buffer import Buffer
from syncd.repo.probe import Report
from syncd.repo.probe import probe as look
from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from tests.kit.stores import FlakyStore, Recording, flip_bit, nth, on, refuse


async def probe(store: Store, rng: random.Random) -> Report:
    return await look(store, rng, SystemClock())


async def left(store: Store) -> list[str]:
    return [info.key async for info in store.list("")]


async def test_a_store_that_keeps_its_word_has_no_problems() -> None:
    store = MemoryStore()
    assert (await probe(store, random.Random(1))).verdict == "ok"
    assert await left(store) == []


async def test_a_store_that_returns_other_bytes_is_found_out() -> None:
    store = MemoryStore()
    assert (await probe(FlakyStore(store, on("get", "", flip_bit(9))), random.Random(1))).verdict == "refused"
    assert await left(store) == []


DENIED = refuse(RemoteRefused("injected: no right"))


@pytest.mark.parametrize("plan", [nth("create", 3, DENIED), nth("get", 2, refuse()), nth("create", 11, DENIED)])
async def test_a_probe_that_fails_in_the_middle_leaves_no_key(plan: Any) -> None:
    store = MemoryStore()
    with pytest.raises((RemoteUnavailable, RemoteRefused)):
        await probe(FlakyStore(store, plan), random.Random(1))
    assert await left(store) == []


async def test_a_store_busy_with_one_key_may_turn_racers_away_but_not_all() -> None:
    """Google's takes about one write a second of one object; who is turned away was not told that it won."""
    store = MemoryStore()
    found = await probe(
        FlakyStore(store, lambda call: refuse() if call.op == "create" and call.number % 3 else None), random.Random(1)
    )
    assert found.verdict == "ok"
    with pytest.raises(RemoteUnavailable):
        await probe(FlakyStore(store, on("create", "", refuse())), random.Random(1))
    assert await left(store) == []


async def test_a_slow_writer_of_a_probe_that_fails_has_ended_before_its_key_is_removed() -> None:
    class Slow(Recording):
        async def create(self, key: str, data: Buffer) -> None:
            await super().create(key, data)
            if len(self.calls) == 1:
                raise RemoteRefused("injected: no right")
            for _ in range(5):
                await asyncio.sleep(0)
            await self._store.put(key, [data])

    store = MemoryStore()
    with pytest.raises(RemoteRefused):
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
