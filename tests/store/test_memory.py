"""The memory store keeps the contract."""

import pytest

from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from tests.kit.clocks import ManualClock
from tests.store.conformance import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


async def test_objects_carry_the_time_of_the_clock_handed_in():
    clock = ManualClock(5000.0)
    store = MemoryStore(clock)
    await store.put("a", [b""])
    clock.advance(60)
    await store.create("b", b"")
    assert ((await store.stat("a")).modified, (await store.stat("b")).modified) == (5000.0, 5060.0)


async def test_the_bytes_are_those_of_the_moment_of_the_call():
    store = MemoryStore()
    buffer = bytearray(b"then")
    await store.put("a", [buffer])
    await store.create("b", buffer)
    buffer[:] = b"now!"
    assert await store.get("a") == await store.get("b") == b"then"
