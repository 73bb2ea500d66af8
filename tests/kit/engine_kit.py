"""An engine on a real journal whose flows do what the test says, in time moved by hand."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from syncd.engine import Engine, EngineParams, Flows
from syncd.errors import (
    SyncdError,
)
from syncd.events import Bus
from syncd.jobs.states import Kind, State
from syncd.journal.core import Journal, open_journal
from syncd.journal.jobs import DownloadSpec, JobResult, JobRow, JobRows, UploadSpec
from syncd.lanes import Lane
from tests.kit.clocks import ManualClock

T = TypeVar("T")


class Script:
    """Flows that do what the test says: `next` errors are raised in turn, `gate` holds them up; all is noted."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.errors: dict[str, list[BaseException]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.versions: dict[str, int] = {}

    def fail(self, step: str, *errors: BaseException) -> None:
        self.errors.setdefault(step, []).extend(errors)

    def hold(self, step: str) -> asyncio.Event:
        return self.gates.setdefault(step, asyncio.Event())

    async def step(self, verb: str, job: str) -> None:
        name = f"{verb} {job}"
        self.steps.append(name)
        self.begun.put_nowait(name)
        if name in self.gates:
            await self.gates[name].wait()
        for key in (name, verb):
            if self.errors.get(key):
                raise self.errors[key].pop(0)

    async def reached(self, name: str) -> None:
        async with asyncio.timeout(5):
            while await self.begun.get() != name:
                pass

    # Uploads, Downloads and Pins at once: each verb is one step.
    async def store(self, row: JobRow, spec: UploadSpec, meter: Any) -> list[str]:
        await self.step("store", row.job)
        return ["a warning"]

    async def commit(self, row: JobRow, spec: UploadSpec, meter: Any) -> JobResult:
        await self.step("commit", row.job)
        self.versions[row.name] = self.versions.get(row.name, -1) + 1
        return JobResult(self.versions[row.name])

    async def fetch(self, row: JobRow, spec: DownloadSpec, meter: Any) -> JobResult:
        await self.step("fetch", row.job)
        return JobResult(3)

    async def release(self, draft: str) -> None:
        await self.step("release", draft.removeprefix("draft-"))

    async def discard(self, row: JobRow) -> None:
        await self.step("discard", row.job)


class Ledger:
    """The journal, with writes that can be made to fail."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.failures: list[SyncdError] = []
        self.durable: list[str] = []

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        if self.failures:
            raise self.failures.pop(0)
        return await self.journal.write(act, durable=durable)

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        return await self.journal.read(act)


@dataclass
class World:
    engine: Engine
    rows: JobRows
    ledger: Ledger
    script: Script
    clock: ManualClock
    bus: Bus
    heard: list[str] = field(default_factory=list)

    async def accept(
        self, job: str, kind: Kind = Kind.UPLOAD, name: str = "data", created: float = 1.0, root: bytes = b"/out"
    ) -> str:
        draft = f"draft-{job}" if kind is Kind.UPLOAD else None
        spec = UploadSpec(job, "t") if draft else DownloadSpec(job, "latest", 3, root)
        if draft:
            await self.ledger.journal.write(
                lambda db: db.execute("INSERT INTO drafts (draft, touched) VALUES (?, 0)", (draft,))
            )
        await self.rows.accept(JobRow(job, kind, State.ACCEPTED, "r", draft, "p", name, spec, created, created))
        return job

    async def submit(self, job: str, **more: Any) -> str:
        self.engine.submit(await self.accept(job, **more))
        return job

    async def until(self, job: str, *states: State) -> JobRow:
        async with asyncio.timeout(5):
            with self.bus.listen() as changes:
                while (row := await self.rows.get(job)).state not in states:
                    await changes.next()
                return row

    async def ended(self, job: str) -> JobRow:
        return await self.until(job, State.DONE, State.FAILED, State.CANCELLED)


@asynccontextmanager
async def world(state: Path, script: Script | None = None, run: bool = True) -> AsyncIterator[World]:
    lane = Lane("journal")
    journal = await open_journal(str(state / "journal.db"), lane)
    script, clock, bus, ledger = script or Script(), ManualClock(), Bus(), Ledger(journal)
    heard: list[str] = []

    async def flows() -> Flows:
        await script.step("open", "remote")
        return Flows(script, script)  # type: ignore[arg-type]

    engine = Engine(
        EngineParams(), ledger, flows, script, script.discard, bus, clock, random.Random(1), heard.append,  # type: ignore[arg-type]
    )  # fmt: skip
    made = World(engine, JobRows(ledger), ledger, script, clock, bus, heard)
    running = asyncio.ensure_future(engine.run()) if run else None
    try:
        yield made
        assert running is None or not running.done(), "the engine died"
    finally:
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        await journal.close()
        lane.close()
