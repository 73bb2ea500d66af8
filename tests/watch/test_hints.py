import asyncio
import os
import shutil
from contextlib import asynccontextmanager

import pytest

from syncd.clock import SystemClock
from syncd.watch.hints import Hints
from tests.kit.watch_kit import Bench, HandClock


@asynccontextmanager
async def listening(clock, roots):
    woken: asyncio.Queue[set[bytes]] = asyncio.Queue()
    hints = Hints(clock, woken.put_nowait)
    async with asyncio.TaskGroup() as group:
        group.create_task(hints.run())
        hints.listen_to((os.fsencode(root), os.stat(root).st_ino) for root in roots)
        try:
            yield hints, woken
        finally:
            hints.stop()
    await hints.close()


async def heard(woken, act):
    """Act until it was heard: nobody says from when on the kernel listens."""
    async with asyncio.timeout(20):
        count = 0
        while True:
            act(count)
            count += 1
            try:
                async with asyncio.timeout(0.4):
                    return await woken.get()
            except TimeoutError:
                continue


async def test_a_new_sub_directory_of_any_root_is_heard(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with listening(SystemClock(), [tmp_path / "a", tmp_path / "b"]) as (hints, woken):
        paths = await heard(woken, lambda n: (tmp_path / "a" / f"x{n}").mkdir())
        assert os.path.dirname(next(iter(paths))) == os.fsencode(tmp_path / "a")
        paths = await heard(woken, lambda n: (tmp_path / "b" / f"y{n}").mkdir())
        assert hints.problem == ""


async def test_a_root_added_later_is_heard(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with listening(SystemClock(), [tmp_path / "a"]) as (hints, woken):
        hints.listen_to((os.fsencode(tmp_path / n), os.stat(tmp_path / n).st_ino) for n in ("a", "b"))
        await heard(woken, lambda n: (tmp_path / "b" / f"y{n}").mkdir())


async def test_where_no_notices_can_be_had_the_problem_is_said_and_listening_is_tried_again(tmp_path):
    (tmp_path / "a").mkdir()
    clock = HandClock()
    woken: asyncio.Queue[set[bytes]] = asyncio.Queue()
    hints = Hints(clock, woken.put_nowait)
    async with asyncio.TaskGroup() as group:
        group.create_task(hints.run())
        hints.listen_to([(os.fsencode(tmp_path / "gone"), 1)])
        async with asyncio.timeout(10):
            assert await woken.get() == set()
        assert "scanning alone" in hints.problem
        (tmp_path / "gone").mkdir()
        await clock.until_asleep()
        clock.advance(61)
        await heard(woken, lambda n: (tmp_path / "gone" / f"y{n}").mkdir())
        hints.stop()
    await hints.close()


async def test_a_running_watcher_takes_a_new_sub_directory_when_hinted_and_stops_when_cancelled(tmp_path):
    bench = Bench(tmp_path)
    watcher = await bench.start()
    await bench.watch(settle=0.0)
    async with asyncio.timeout(30):
        task = asyncio.get_running_loop().create_task(watcher.run())
        count = 0
        while not bench.versions.arrived.is_set():  # the clock stands still: only a hint can wake the scan
            bench.sub(f"step{count}", w=b"1")
            count += 1
            try:
                async with asyncio.timeout(0.4):
                    await bench.versions.arrived.wait()
            except TimeoutError:
                continue
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert bench.versions.taken[0] == {b"w": b"1"}
    shutil.rmtree(bench.directory)
    await bench.stop()
