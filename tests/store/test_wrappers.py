"""Retry, Metered and Limit keep the contract and add one thing each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from syncd.clock import SystemClock
from syncd.errors import Conflict, NotFound, RemoteRefused, RemoteUnavailable
from syncd.lanes import new_lock
from syncd.meter import Meter
from syncd.store.base import Store
from syncd.store.limit import Limit
from syncd.store.memory import MemoryStore
from syncd.store.metered import Metered
from syncd.store.retry import Retry, RetryParams
from tests.kit.clocks import ManualClock
from tests.kit.stores import FlakyStore, Held, Recording, lose_reply, nth, on, refuse
from tests.store.conformance import StoreContract, keys


def meter() -> Meter:
    return Meter(new_lock())


class TestRetry(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Retry(MemoryStore(), SystemClock(), random.Random(1), RetryParams())


class TestRetryOverALostReplyNowAndThen(StoreContract):
    """Every third get, put, stat, delete and list loses its reply; the contract holds all the same."""

    @pytest.fixture
    def store(self) -> Store:
        flaky = FlakyStore(
            MemoryStore(), lambda call: lose_reply() if call.op != "create" and call.number % 3 == 0 else None
        )
        return Retry(flaky, SystemClock(), random.Random(1), RetryParams(first_s=0.0))


class TestMetered(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Metered(MemoryStore(), meter(), SystemClock(), "here")


class TestLimit(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return Limit(MemoryStore(), SystemClock(), concurrent=1, bytes_per_second=1e12)


BULK = 100_000
"""The size of something that is not small."""
PARAMS = RetryParams(tries=4, first_s=1.0, longest_s=3.0)


async def test_a_verb_is_tried_again_with_growing_pauses_and_then_given_up():
    clock = ManualClock()
    recording = Recording(FlakyStore(MemoryStore(), on("put", "", refuse())))
    store = Retry(recording, clock, random.Random(1), PARAMS)
    with pytest.raises(RemoteUnavailable):
        await clock.run_until(asyncio.ensure_future(store.put("k", [b"x"])))
    assert len(recording.calls) == 4
    assert len(clock.slept) == 3
    for pause, bound in zip(clock.slept, (1.0, 2.0, 3.0), strict=True):
        assert bound / 2 <= pause <= bound


async def test_a_put_that_fails_once_succeeds():
    clock = ManualClock()
    inner = MemoryStore()
    store = Retry(FlakyStore(inner, nth("put", 1, refuse())), clock, random.Random(1), PARAMS)
    await clock.run_until(asyncio.ensure_future(store.put("k", [b"x"])))
    assert await inner.get("k") == b"x"


async def test_a_create_is_never_tried_again():
    recording = Recording(FlakyStore(MemoryStore(), on("create", "", lose_reply())))
    store = Retry(recording, ManualClock(), random.Random(1), PARAMS)
    with pytest.raises(RemoteUnavailable):
        await store.create("k", b"x")
    assert len(recording.calls) == 1
    assert await store.get("k") == b"x"


@pytest.mark.parametrize("error", [NotFound("no"), RemoteRefused("no"), Conflict("no"), OSError("a bug")])
async def test_what_will_not_change_is_not_tried_again(error: Exception):
    recording = Recording(FlakyStore(MemoryStore(), on("get", "", refuse(error))))
    with pytest.raises(type(error)):
        await Retry(recording, ManualClock(), random.Random(1), PARAMS).get("k")
    assert len(recording.calls) == 1


async def test_a_listing_that_breaks_goes_on_without_repeating_a_key():
    inner = MemoryStore()
    for n in range(6):
        await inner.put(f"k/{n}", [b""])
    clock = ManualClock()

    class BreaksBehindTwo(Recording):
        async def list(self, prefix: str) -> AsyncIterator:
            self._note("list", prefix)
            count = 0
            async for info in inner.list(prefix):
                yield info
                count += 1
                if count == 2 * len(self.calls):
                    raise RemoteUnavailable("injected: broke in the middle")

    store = Retry(BreaksBehindTwo(inner), clock, random.Random(1), RetryParams(tries=2))
    found = await clock.run_until(asyncio.ensure_future(keys(store, "k/")))
    assert found == [f"k/{n}" for n in range(6)]


async def test_every_try_is_counted_by_op_and_outcome():
    counted, clock = meter(), ManualClock()
    store = Metered(FlakyStore(MemoryStore(), nth("get", 2, refuse())), counted, clock, "here")
    await store.put("a", [b"123", b"45"])
    await store.create("b", b"67")
    with pytest.raises(Conflict):
        await store.create("b", b"89")
    await store.get("a", 1, 3)
    with pytest.raises(RemoteUnavailable):
        await store.get("a")
    with pytest.raises(NotFound):
        await store.get("c")
    assert await keys(store, "") == ["a", "b"]

    def requests(op: str, outcome: str) -> float:
        return counted.count("remote_requests", remote="here", op=op, outcome=outcome)

    assert (requests("put", "ok"), requests("create", "ok"), requests("create", "conflict")) == (1, 1, 1)
    assert (requests("get", "ok"), requests("get", "remote_unavailable"), requests("get", "not_found")) == (1, 1, 1)
    assert requests("list", "ok") == 1
    assert (counted.count("put_bytes", remote="here"), counted.count("get_bytes", remote="here")) == (7, 3)


async def test_the_time_of_a_request_is_kept_also_when_it_is_cancelled():
    counted, clock = meter(), ManualClock()
    held = Held(MemoryStore())
    task = asyncio.ensure_future(Metered(held, counted, clock, "here").put("a", [b"x"]))
    await held.arrived.wait()
    clock.advance(2.5)
    task.cancel()
    await asyncio.wait([task])
    assert counted.count("remote_requests", remote="here", op="put", outcome="cancelled") == 1
    assert counted.count("put_bytes") == 0
    times = counted.snapshot().times
    assert times["remote_request_seconds", (("op", "put"), ("remote", "here"))] == (1, 2.5)


async def test_no_more_requests_at_once_than_allowed():
    most = busy = 0
    open_door = asyncio.Event()

    class Counting(Recording):
        async def put(self, key: str, parts) -> None:
            nonlocal most, busy
            busy += 1
            most = max(most, busy)
            if busy == 3:
                open_door.set()
            await open_door.wait()
            await super().put(key, parts)
            busy -= 1

    store = Limit(Counting(MemoryStore()), ManualClock(), concurrent=3, bytes_per_second=None)
    async with asyncio.TaskGroup() as group:
        for n in range(20):
            group.create_task(store.put(f"k/{n}", [b"x"]))
    assert most == 3


async def test_bytes_go_no_faster_than_allowed_on_average():
    clock = ManualClock()
    store = Limit(MemoryStore(), clock, concurrent=4, bytes_per_second=2 * BULK)
    await clock.run_until(asyncio.ensure_future(_put_and_get(store)))
    assert clock.monotonic() == pytest.approx(4.5)  # 5 x 1/2 s put + 5 x 1/2 s got; the last one is not waited for


async def _put_and_get(store: Store) -> None:
    for n in range(5):
        await store.put(f"packs/{n}", [bytes(BULK)])
    for n in range(5):
        await store.get(f"packs/{n}")


async def test_a_log_entry_does_not_wait_for_the_rate_but_is_paid_for():
    clock = ManualClock()
    store = Limit(MemoryStore(), clock, concurrent=4, bytes_per_second=1000)
    await store.put("pack", [bytes(BULK)])
    await store.create("log/0", bytes(1000))
    assert clock.monotonic() == 0
    await clock.run_until(asyncio.ensure_future(store.put("pack2", [bytes(BULK)])))
    assert clock.monotonic() == pytest.approx(101)


async def test_what_is_small_goes_ahead_of_packs_that_are_queued_and_is_paid_for_by_the_next():
    clock = ManualClock()
    store = Limit(MemoryStore(), clock, concurrent=4, bytes_per_second=BULK)
    await store.put("packs/0", [bytes(32 * BULK)])
    queued = asyncio.ensure_future(store.put("packs/1", [bytes(BULK)]))
    await clock.sleeping()
    await store.put("manifests/m", [bytes(BULK // 2)])
    assert await store.get("manifests/m", 0, 1 << 20) == bytes(BULK // 2)
    assert await store.get("packs/0", 5, 16) == bytes(16)
    assert [info.key async for info in store.list("manifests/")] == ["manifests/m"]
    assert (clock.monotonic(), queued.done()) == (0, False)
    await clock.run_until(queued)
    await clock.run_until(asyncio.ensure_future(store.put("packs/2", [bytes(BULK)])))
    assert clock.monotonic() == pytest.approx(34, abs=0.01)


async def test_small_requests_alone_keep_the_rate():
    clock = ManualClock()
    store = Limit(MemoryStore(), clock, concurrent=4, bytes_per_second=1 << 20)

    async def flood() -> None:
        for n in range(1000):
            await store.put(f"manifests/{n}", [bytes(32 << 10)])

    await clock.run_until(asyncio.ensure_future(flood()))
    assert clock.monotonic() == pytest.approx(1000 / 32 - 4, abs=0.1)  # 4 MiB are ahead


async def test_what_is_small_finds_a_slot_while_packs_hold_theirs():
    inner = MemoryStore()
    await inner.put("manifests/m", [b"x"])
    held = Held(inner)
    store = Limit(held, ManualClock(), concurrent=4, bytes_per_second=None)
    packs = [asyncio.ensure_future(store.put(f"packs/{n}", [bytes(BULK)])) for n in range(9)]
    await held.arrived.wait()
    async with asyncio.timeout(5):
        assert (await store.stat("manifests/m")).size == 1
        assert await store.get("manifests/m") == b"x"
    held.let_go()
    await asyncio.gather(*packs)


async def test_a_turn_given_up_costs_nothing():
    clock = ManualClock()
    store = Limit(MemoryStore(), clock, concurrent=4, bytes_per_second=1000)
    await store.put("a", [bytes(BULK)])
    waiting = asyncio.ensure_future(store.put("b", [bytes(100_000)]))
    await clock.sleeping()
    waiting.cancel()
    await asyncio.wait([waiting])
    await clock.run_until(asyncio.ensure_future(store.put("c", [bytes(BULK)])))
    assert clock.monotonic() == pytest.approx(100)
