"""The clock that tests move by hand behaves as the contract of Clock says."""

from __future__ import annotations

import asyncio

from syncd.clock import SystemClock
from tests.kit.clocks import ManualClock


async def test_sleepers_wake_in_the_order_of_being_due():
    clock, woken = ManualClock(100.0), []

    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(nap(seconds))
        await clock.sleeping(3)
        clock.advance(2)
        await clock.sleeping(1)
        await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))])
        assert woken == [1, 2]
        assert clock.skip() == 1
    assert woken == [1, 2, 3]
    assert (clock.now(), clock.monotonic(), clock.slept) == (103.0, 3.0, [3, 1, 2])


async def test_a_cancelled_sleeper_is_forgotten():
    clock = ManualClock()
    sleeper = asyncio.ensure_future(clock.sleep(5))
    await clock.sleeping()
    sleeper.cancel()
    await asyncio.wait([sleeper])
    clock.advance(10)
    assert sleeper.cancelled()


async def test_the_machines_clock_goes_forward():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert clock.now() > 1_600_000_000
