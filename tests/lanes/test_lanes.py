"""A lane never abandons a thread, breeds no more than allowed, and says so when it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from syncd.errors import Refused
from syncd.lanes import Lane, Sentinel


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test-lane", 2)
    yield lane
    lane.close()


class Gate:
    """A blocking call that says when it began and ends when told to."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.left = False

    def __call__(self) -> str:
        self.entered.set()
        assert self.go_on.wait(30)
        self.left = True
        return "done"

    async def begun(self) -> None:
        """Wait, on a thread of the loop's own, until the call runs."""
        assert await asyncio.get_running_loop().run_in_executor(None, self.entered.wait, 30)


async def test_a_call_returns_and_raises_as_itself(lane: Lane):
    assert await lane.run(int, "ff", base=16) == 255
    with pytest.raises(ValueError, match="invalid literal"):
        await lane.run(int, "x")


async def test_threads_carry_the_name_of_their_lane(lane: Lane):
    name = await lane.run(lambda: threading.current_thread().name)
    assert name.startswith("syncd-test-lane_")


async def test_what_uses_a_lane_several_times_ends_before_its_cancelled_caller_goes_on(lane: Lane):
    first, second = Gate(), Gate()

    async def both() -> str:
        return await lane.run(first) + await lane.run(second)

    caller = asyncio.ensure_future(lane.attend(both()))
    await first.begun()
    caller.cancel()
    first.go_on.set()
    await second.begun()
    caller.cancel()
    await asyncio.wait([caller], timeout=0.01)
    assert not caller.done()
    second.go_on.set()
    await asyncio.wait([caller], timeout=30)
    assert caller.cancelled()
    assert second.left


async def test_what_attended_work_returns_and_raises_is_its_callers(lane: Lane):
    async def number(text: str) -> int:
        return await lane.run(int, text)

    assert await lane.attend(number("7")) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await lane.attend(number("x"))


async def test_a_cancelled_caller_waits_for_its_thread_however_often_it_is_cancelled(lane: Lane):
    gate = Gate()
    caller = asyncio.ensure_future(lane.run(gate))
    await gate.begun()
    for _ in range(3):
        caller.cancel()
        await asyncio.wait([caller], timeout=0.01)
        assert not caller.done()
    gate.go_on.set()
    await asyncio.wait([caller], timeout=30)
    assert caller.cancelled()
    assert gate.left


async def test_cancellation_outranks_what_the_call_raised(lane: Lane):
    gate = Gate()

    def fails() -> None:
        gate()
        raise OSError("nobody will hear of it")

    caller = asyncio.ensure_future(lane.run(fails))
    await gate.begun()
    caller.cancel()
    gate.go_on.set()
    await asyncio.wait([caller], timeout=30)
    assert caller.cancelled()


async def test_a_call_cancelled_while_it_queues_never_runs():
    lane, gate, ran = Lane("test-one", 1), Gate(), []
    busy = asyncio.ensure_future(lane.run(gate))
    await gate.begun()
    queued = asyncio.ensure_future(lane.run(ran.append, 1))
    await asyncio.wait([queued], timeout=0.01)
    queued.cancel()
    await asyncio.wait([queued], timeout=30)
    assert queued.cancelled()
    gate.go_on.set()
    assert await busy == "done"
    await lane.run(int)  # the one thread has passed the queue by now
    lane.close()
    assert ran == []


async def test_no_more_calls_run_at_once_than_threads(lane: Lane):
    lock, busy, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def call() -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        both.wait(30)
        with lock:
            busy -= 1

    await asyncio.gather(*(lane.run(call) for _ in range(10)))
    assert most == 2


async def test_a_closed_lane_refuses_instead_of_cancelling_its_caller():
    lane, gate = Lane("test-closed", 1), Gate()
    busy = asyncio.ensure_future(lane.run(gate))
    await gate.begun()
    queued = asyncio.ensure_future(lane.run(int))
    await asyncio.wait([queued], timeout=0.01)
    closing = asyncio.get_running_loop().run_in_executor(None, lane.close)
    with pytest.raises(Refused, match="test-closed"):
        await queued
    gate.go_on.set()
    await closing
    assert await busy == "done"
    with pytest.raises(Refused, match="test-closed"):
        await lane.run(int)
    lane.close()


def test_a_sentinel_runs_until_it_is_closed():
    seen = threading.Event()

    def loop(stop: threading.Event) -> None:
        seen.set()
        assert threading.current_thread().name == "syncd-test-sentinel"
        assert stop.wait(30)

    sentinel = Sentinel("test-sentinel", loop)
    assert not sentinel.alive
    sentinel.start()
    assert seen.wait(30)
    assert sentinel.alive
    sentinel.close()
    assert not sentinel.alive
    sentinel.close()


def test_a_sentinel_that_was_never_started_closes():
    Sentinel("test-sentinel", lambda stop: None).close()
