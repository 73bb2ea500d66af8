"""The bus never waits for a listener and never withholds the newest event from one."""

from __future__ import annotations

import asyncio

from syncd.events import Bus, JobChanged


async def test_every_listener_hears_everything_published_while_it_listens():
    bus = Bus()
    bus.publish(JobChanged("before"))
    with bus.listen() as one, bus.listen() as two:
        bus.publish(JobChanged("a"))
        bus.publish(JobChanged("b"))
        for listener in (one, two):
            assert [await listener.next(), await listener.next()] == [JobChanged("a"), JobChanged("b")]


async def test_a_slow_listener_gets_one_event_a_job_in_the_order_of_waiting():
    bus = Bus()
    with bus.listen() as slow:
        for _ in range(1000):
            bus.publish(JobChanged("a"))
            bus.publish(JobChanged("b"))
        assert [(await slow.next()).job, (await slow.next()).job] == ["a", "b"]
        waiting = asyncio.ensure_future(slow.next())
        await asyncio.wait([waiting], timeout=0.01)
        assert not waiting.done()
        bus.publish(JobChanged("c"))
        assert (await waiting).job == "c"


async def test_listening_goes_on_in_a_loop_until_the_context_ends():
    bus = Bus()
    heard = []
    with bus.listen() as listener:
        bus.publish(JobChanged("a"))
        bus.publish(JobChanged("b"))
        async for event in listener:
            heard.append(event.job)
            if event.job == "b":
                break
    bus.publish(JobChanged("late"))
    late = asyncio.ensure_future(listener.next())
    await asyncio.wait([late], timeout=0.01)
    assert heard == ["a", "b"]
    assert not late.done()
    late.cancel()


async def test_a_cancelled_wait_loses_no_event():
    bus = Bus()
    with bus.listen() as listener:
        waiting = asyncio.ensure_future(listener.next())
        await asyncio.wait([waiting], timeout=0.01)
        waiting.cancel()
        bus.publish(JobChanged("a"))
        await asyncio.wait([waiting])
        assert (await listener.next()).job == "a"
