"""Bytes in flight: never more than allowed, and nobody who could go on is left waiting."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.upload.budget import Budget, Hold


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.booleans()), min_size=1, max_size=25),
    st.randoms(use_true_random=False),
)
def test_never_over_the_limit_and_nobody_waits_in_vain(
    limit: int, wishes: list[tuple[int, int, bool]], rng: random.Random
) -> None:
    """Takers of any size, some cancelled while they wait or just as they are served; the rest must all be served."""

    async def scene() -> None:
        budget = Budget(limit)
        served: list[int] = []

        async def taker(number: int, size: int, turns: int) -> None:
            hold = await budget.take(size)
            try:
                alone = budget.used == size
                assert budget.used <= limit or alone, "over the limit beside others"
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                hold.release()
            served.append(number)

        tasks = [asyncio.ensure_future(taker(n, size, turns)) for n, (size, turns, _) in enumerate(wishes)]
        doomed = [task for task, (*_, cancelled) in zip(tasks, wishes, strict=True) if cancelled]
        while doomed:
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
            doomed.pop(rng.randrange(len(doomed))).cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        wanted = {n for n, (*_, cancelled) in enumerate(wishes) if not cancelled}
        assert wanted <= set(served)
        assert budget.used == 0

    asyncio.run(scene())


async def test_those_behind_a_large_wish_that_was_given_up_are_served() -> None:
    budget = Budget(10)
    held = await budget.take(5)
    large = asyncio.ensure_future(budget.take(10))
    small = asyncio.ensure_future(budget.take(3))
    await asyncio.sleep(0)
    large.cancel()
    async with asyncio.timeout(5):
        assert isinstance(await small, Hold)
    held.release()
    with pytest.raises(asyncio.CancelledError):
        await large


async def test_a_wish_beyond_the_limit_is_granted_alone() -> None:
    budget = Budget(10)
    first = await budget.take(4)
    huge = asyncio.ensure_future(budget.take(50))
    await asyncio.sleep(0)
    assert not huge.done()
    first.release()
    hold = await huge
    assert budget.used == 50
    assert not budget.fits(1)
    hold.release()
    assert budget.used == 0


async def test_the_last_keeper_gives_back() -> None:
    budget = Budget(10)
    hold = await budget.take(8)
    hold.keep()
    hold.release()
    assert budget.used == 8
    hold.shrink(3)
    assert budget.used == 3
    hold.shrink(9)
    assert budget.used == 3
    hold.release()
    assert budget.used == 0
