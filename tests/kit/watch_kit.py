"""What watcher tests need: a clock moved by hand, a real journal, a take that remembers, a prober on real leases."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from syncd.errors import SyncdError
from syncd.journal.core import Journal, open_journal
from syncd.lanes import Lane
from syncd.watch.proof import kernel_prober
from syncd.watch.taking import Take, Taking
from syncd.watch.watcher import Watcher, WatchParams


class HandClock:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return 1_700_000_000.0 + self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, future))
        await future

    async def until_asleep(self) -> None:
        """Return once somebody sleeps on this clock."""
        async with asyncio.timeout(10):
            while not self._sleepers:
                await asyncio.sleep(0.01)

    def advance(self, seconds: float) -> None:
        self.time += seconds
        due = [future for at, future in self._sleepers if at <= self.time]
        self._sleepers = [each for each in self._sleepers if each[0] > self.time]
        for future in due:
            if not future.done():
                future.set_result(None)


def no_leases(_fd: int) -> bool | None:
    return None


@dataclass
class Versions:
    """A `take` that reads the files as they are: what a version would hold."""

    taken: list[dict[bytes, bytes]] = field(default_factory=list)
    takings: list[Taking] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    refuse: SyncdError | None = None
    meddle: Callable[[], None] = lambda: None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, taking: Taking) -> str:
        if self.refuse is not None:
            raise self.refuse
        if taking.draft in self.jobs:
            return self.jobs[taking.draft]
        files = {
            os.path.relpath(os.path.join(at, name), taking.path): Path(os.fsdecode(os.path.join(at, name))).read_bytes()
            for at, _, names in os.walk(taking.path)
            for name in names
        }
        self.meddle()
        if not await taking.unchanged():
            from syncd.errors import Conflict

            raise Conflict("changed")
        self.taken.append(files)
        self.takings.append(taking)
        self.jobs[taking.draft] = f"job{len(self.jobs)}"
        self.arrived.set()
        return self.jobs[taking.draft]


class Bench:
    """A watcher on a real directory and journal, scanned by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "watched"
        self.directory.mkdir()
        self.clock = HandClock()
        self.versions = Versions()
        self.lane = Lane("scan", 1)
        self.journal_lane = Lane("journal", 1)
        self.journal: Journal | None = None
        self.prober: Callable[[int], bool | None] = kernel_prober

    async def start(self, take: Take | None = None) -> Watcher:
        """A daemon's start: everything but the files and the journal is new."""
        if self.journal is None:
            self.journal = await open_journal(str(self.root / "journal.db"), self.journal_lane)
        self.watcher = Watcher(WatchParams(), self.journal, self.lane, self.clock, self.prober, take or self.versions)
        await self.watcher.open()
        return self.watcher

    async def watch(self, **other: object) -> None:
        settings = {"name": "ckpt", "type": "model", "project": "p", "settle": 5.0, "done_marker": ""} | other
        await self.watcher.add(os.fsencode(self.directory), **settings)  # type: ignore[arg-type]

    async def pass_time(self, seconds: float) -> None:
        """Scan whenever the watcher asks for it, for so long."""
        end = self.clock.time + seconds
        while True:
            pause = await self.watcher.scan()
            if self.clock.time + pause > end:
                self.clock.time = end
                return
            self.clock.advance(pause)

    def sub(self, name: str, **files: bytes) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        for file, data in files.items():
            (path / file).write_bytes(data)
        return path

    async def stop(self) -> None:
        await self.watcher.close()
        assert self.journal is not None
        await self.journal.close()
        self.lane.close()
        self.journal_lane.close()
