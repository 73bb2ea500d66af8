"""The watcher on the real pin room: what a version holds is what was pinned."""

import os
import shutil
from contextlib import asynccontextmanager

import pytest

from syncd.pin import mask_signals
from syncd.watch.proof import kernel_prober
from syncd.watch.taking import Taker
from tests.kit.pinning import pin_room
from tests.kit.watch_kit import Bench


class Life:
    """One life of a daemon: a watcher on a pin room, and a log that survives it."""

    def __init__(self, bench, room, jobs):
        self.bench, self.room, self.jobs = bench, room, jobs

    async def logged(self, draft):
        return self.jobs.get(draft)

    async def log(self, taking):
        self.jobs[taking.draft] = f"job{len(self.jobs)}"
        return self.jobs[taking.draft]

    async def versions(self):
        """What each job would upload, read from the pins now."""
        return [
            {
                row.name: self.room.read(row.pin) if row.type == "file" else row.type
                for row in await self.room.pins.entries(draft)
            }
            for draft in self.jobs
        ]


@asynccontextmanager
async def life(tmp_path, bench, jobs):
    async with pin_room(tmp_path / "state") as room:
        alive = Life(bench, room, jobs)
        await bench.start(Taker(room.pins, alive.logged, alive.log))
        yield alive
        await bench.watcher.close()


@pytest.fixture
async def bench(tmp_path):
    mask_signals()
    bench = Bench(tmp_path)
    await bench.start()
    yield bench
    await bench.stop()


async def test_checkpoints_written_slowly_and_rotated_across_a_restart_are_each_one_whole_version(tmp_path, bench):
    jobs, whole = {}, []
    for lives in range(2):
        async with life(tmp_path, bench, jobs) as alive:
            await bench.watch()
            for step in range(3):
                path = bench.sub(f"step{lives}{step}", config=b"{}")
                with open(path / "weights", "wb", buffering=0) as file:
                    for part in range(3):
                        file.write(bytes([part]) * 100_000)
                        await bench.pass_time(12.0)  # longer than the settle time
                        assert len(jobs) == len(whole)
                whole.append({b"config": b"{}", b"weights": b"".join(bytes([n]) * 100_000 for n in range(3))})
                await bench.pass_time(15.0)
                if step:
                    shutil.rmtree(bench.directory / f"step{lives}{step - 1}")
            assert await alive.versions() == whole
    async with life(tmp_path, bench, jobs) as alive:
        await bench.pass_time(60.0)
        assert await alive.versions() == whole
        assert alive.room.lost == []


async def test_a_file_opened_between_the_proof_and_the_pin_is_not_taken(tmp_path, bench):
    jobs = {}
    bench.prober = lambda fd: False
    async with life(tmp_path, bench, jobs) as alive:
        await bench.watch()
        path = bench.sub("step1", small=b"1")
        with open(path / "weights", "wb", buffering=0) as file:
            file.write(b"x" * 200_000)
            await bench.pass_time(30.0)
            assert jobs == {}
            (view,) = bench.watcher.views()
            assert (view.pending, view.error) == (1, "")
            assert (await alive.room.pins.usage()).bytes == 0
        await bench.pass_time(15.0)
        assert await alive.versions() == [{b"small": b"1", b"weights": b"x" * 200_000}]


async def test_a_change_after_it_was_taken_leaves_the_first_version_as_it_was(tmp_path, bench):
    jobs = {}
    async with life(tmp_path, bench, jobs) as alive:
        await bench.watch()
        path = bench.sub("step1", weights=b"x" * 200_000)
        await bench.pass_time(10.0)
        (path / "new").write_bytes(b"")
        os.replace(path / "new", path / "weights")
        await bench.pass_time(40.0)
        assert await alive.versions() == [{b"weights": b"x" * 200_000}, {b"weights": b""}]


async def test_an_unlogged_draft_left_by_a_crash_is_pinned_afresh(tmp_path, bench):
    jobs = {}
    async with life(tmp_path, bench, jobs) as alive:
        path = bench.sub("step1", weights=b"x" * 200_000)
        await bench.watch()
        await bench.pass_time(4.0)
        facts = os.stat(path)

        async def dies(taking):
            await alive.room.pins.add_dir(
                taking.draft, taking.path, b"", dev=facts.st_dev, ino=facts.st_ino, policy="mutable", merge=False
            )
            raise KeyboardInterrupt

        await bench.watcher.close()
        await bench.start(dies)
        with pytest.raises(KeyboardInterrupt):
            await bench.pass_time(10.0)
    async with life(tmp_path, bench, jobs) as alive:
        await bench.pass_time(10.0)
        assert await alive.versions() == [{b"weights": b"x" * 200_000}]
        assert (await alive.room.pins.usage()).bytes == 200_000


def test_the_kernel_tells_a_writer_from_a_reader_and_an_unknown_file_system_from_both(tmp_path):
    mask_signals()
    (tmp_path / "f").write_bytes(b"1")
    reader = os.open(tmp_path / "f", os.O_RDONLY)
    with open(tmp_path / "f", "r+b"):
        assert kernel_prober(reader) is True
    assert kernel_prober(reader) is False
    os.close(reader)
    proc = os.open("/proc/self/status", os.O_RDONLY)
    assert kernel_prober(proc) is None
    os.close(proc)
