"""Bytes in flight: never more than allowed, and nobody who could go on is left waiting."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.budget import Account, Budget, Hold


@pytest.fixture
def budget() -> Budget:
    return Budget(10)


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
            hold = await account.take(size, lend=number % 2 == 0)
            try:
                within(budget, size)
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                hold.release()
            served.append(number)

        with budget.account() as account:
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
            assert (budget.used, account.held) == (0, 0)

    asyncio.run(scene())


def within(budget: Budget, just_taken: int) -> None:
    """What is held, and what waits to be used again, is within the limit, or the one hold that is larger than it."""
    alone = budget.kept == budget.used == just_taken
    assert budget.kept <= budget.limit or alone, f"{budget.kept} of {budget.limit}"


class Upload:
    """What an upload does with the budget, at the pace of chance: read, rest in an open pack, seal, send, give back."""

    def __init__(self, budget: Budget, sizes: list[int], full: int, rng: random.Random) -> None:
        self._budget = budget
        self._sizes = sizes
        self._full = full
        self._rng = rng
        self._open: list[Hold] = []
        self._woken = asyncio.Event()

    async def run(self) -> None:
        with self._budget.account() as account:
            account.on_press = self._woken.set
            async with asyncio.TaskGroup() as tasks:
                line: asyncio.Queue[Hold | None] = asyncio.Queue()
                tasks.create_task(self._read(account, line))
                await self._pack(account, line, tasks)

    async def _read(self, account: Account, line: asyncio.Queue[Hold | None]) -> None:
        for size in self._sizes:
            hold = await account.take(size, lend=size == self._sizes[0])
            within(self._budget, size)
            await self._dawdle()
            await line.put(hold)
            self._woken.set()
        await line.put(None)
        self._woken.set()

    async def _pack(self, account: Account, line: asyncio.Queue[Hold | None], tasks: asyncio.TaskGroup) -> None:
        ended = False
        while not ended:
            await self._woken.wait()
            self._woken.clear()
            while not line.empty():
                hold = line.get_nowait()
                ended = hold is None
                if hold is not None:
                    self._open.append(hold)
                    account.rest(sum(held.size for held in self._open))
                await self._dawdle()
            if account.pressed or ended or account.resting >= self._full:
                sealed, self._open = self._open, []
                account.rest(0)
                tasks.create_task(self._send(sealed))

    async def _send(self, sealed: list[Hold]) -> None:
        await self._dawdle()
        for hold in sealed:
            hold.release()

    async def _dawdle(self) -> None:
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)


async def download(budget: Budget, sizes: list[int], rng: random.Random) -> None:
    with budget.account() as account:

        async def read(size: int) -> None:
            hold = await account.take(size)
            within(budget, size)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            hold.release()

        async with asyncio.TaskGroup() as tasks:
            for size in sizes:
                tasks.create_task(read(size))


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 40),
    st.lists(st.tuples(SIZES, st.integers(1, 60)), max_size=4),
    st.lists(SIZES, max_size=3),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_uploads_and_downloads_that_share_a_budget_all_end(
    limit: int, uploads: list[tuple[list[int], int]], downloads: list[list[int]], rng: random.Random, cancel: bool
) -> None:
    """However large packs, windows and reads are beside the budget, and also when one of the flows is cancelled."""

    async def scene() -> None:
        budget = Budget(limit)
        flows = [Upload(budget, sizes, full, rng).run() for sizes, full in uploads]
        flows += [download(budget, sizes, rng) for sizes in downloads]
        tasks = [asyncio.ensure_future(flow) for flow in flows]
        doomed = rng.choice(tasks) if cancel and tasks else None
        if doomed is not None:
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            doomed.cancel()
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [end for task, end in zip(tasks, ends, strict=True) if end is not None and task is not doomed]
        assert failed == []
        assert (budget.used, budget.kept) == (0, 0)

    asyncio.run(scene())


async def test_those_behind_a_large_wish_that_was_given_up_are_served(budget: Budget) -> None:
    with budget.account() as account:
        held = await account.take(5)
        large = asyncio.ensure_future(account.take(10))
        small = asyncio.ensure_future(account.take(3))
        await asyncio.sleep(0)
        large.cancel()
        async with asyncio.timeout(5):
            assert isinstance(await small, Hold)
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await large


async def test_a_wish_beyond_the_limit_is_granted_alone(budget: Budget) -> None:
    with budget.account() as account:
        first = await account.take(4)
        huge = asyncio.ensure_future(account.take(50))
        small = asyncio.ensure_future(account.take(1))
        await asyncio.sleep(0)
        assert not huge.done()
        first.release()
        hold = await huge
        assert budget.used == 50
        assert not small.done()
        hold.release()
        await small
        assert budget.used == 1


async def test_the_last_keeper_gives_back(budget: Budget) -> None:
    with budget.account() as account:
        hold = await account.take(8)
        hold.keep()
        hold.release()
        assert budget.used == 8
        hold.shrink(3)
        assert budget.used == 3
        hold.shrink(9)
        assert budget.used == 3
        hold.release()
        assert budget.used == 0


async def test_a_flow_that_ends_gives_back_whatever_it_holds_and_nothing_twice(budget: Budget) -> None:
    with budget.account() as other:
        mine = await other.take(2)
        with budget.account() as account:
            left = await account.take(8, lend=True)
            waiting = asyncio.ensure_future(other.take(5))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await waiting
        left.release()
        assert budget.used == 7
        mine.release()
        assert (budget.used, other.held) == (5, 5)


async def test_open_packs_are_sealed_only_when_what_moves_cannot_make_room(budget: Budget) -> None:
    """Two accounts rest; somebody wants more than they leave once everything else has been given back."""
    presses: list[str] = []
    with budget.account() as one, budget.account() as two:
        one.on_press = lambda: presses.append("one")
        two.on_press = lambda: presses.append("two")
        await one.take(3)
        one.rest(3)
        moving = await two.take(6)
        fits = asyncio.ensure_future(two.take(7))
        await asyncio.sleep(0)
        assert presses == [], "what moves will make room"
        two.rest(2)
        assert presses == ["one", "two"]
        one.rest(3)
        assert presses == ["one", "two"], "asked once for each pack"
        one.rest(0)
        assert not one.pressed
        moving.release()
        two.rest(0)
        await fits


async def test_a_buffer_is_lent_again_and_never_stands_in_the_way(budget: Budget) -> None:
    with budget.account() as account:
        first = await account.take(4, lend=True)
        lent = first.buffer
        first.release()
        again = await account.take(4, lend=True)
        assert again.buffer is lent
        again.release()
        assert (budget.used, budget.kept) == (0, 4)
        large = await account.take(8)
        assert budget.kept == 8, "a buffer that waits is dropped for bytes that are held"
        large.release()
    assert budget.kept == 0, "no flow, no buffers"
