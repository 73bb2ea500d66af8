"""Jobs from acceptance to their end: order, trying again, cancelling, restarts, and a journal that will not write."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from syncd.engine import Engine, EngineParams, Flows
from syncd.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    LocalDisk,
    NotFound,
    Refused,
    RemoteRefused,
    RemoteUnavailable,
    SourceLost,
    SyncdError,
)
from syncd.events import Bus
from syncd.jobs.backoff import retry_delay
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

    async def drop(self, draft: str) -> None:
        await self.step("drop", draft.removeprefix("draft-"))

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

    async def accept(self, job: str, kind: Kind = Kind.UPLOAD, name: str = "data", created: float = 1.0) -> str:
        draft = f"draft-{job}" if kind is Kind.UPLOAD else None
        spec = UploadSpec(job, "t") if draft else DownloadSpec(job, "latest", 3, b"/out")
        if draft:
            await self.ledger.journal.write(lambda db: db.execute("INSERT INTO drafts VALUES (?, 0, NULL)", (draft,)))
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


async def test_an_upload_stores_commits_and_only_then_releases(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        done = await w.ended(await w.submit("j1"))
        assert [s for s in w.script.steps if "remote" not in s] == ["store j1", "commit j1", "release j1"]
        assert (done.state, done.result) == (State.DONE, JobResult(0, warnings=("a warning",)))
        assert w.heard[-1] == "ok"


async def test_pins_are_released_only_after_the_committed_row_is_on_record(tmp_path: Path) -> None:
    """Law L7: while the row cannot be written, the pins stay, and the job goes on once it can."""
    async with world(tmp_path) as w:
        gate = w.script.hold("commit j1")
        await w.submit("j1")
        await w.script.reached("commit j1")
        w.ledger.failures = [LocalDisk("the disk is full")] * 3
        gate.set()
        for _ in range(3):
            await w.clock.sleeping()
            assert "release j1" not in w.script.steps
            assert (await w.rows.get("j1")).state is State.COMMITTING
            w.clock.skip()
        assert (await w.ended("j1")).state is State.DONE


async def test_versions_of_one_artifact_come_in_the_order_their_jobs_were_accepted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("store j0")
        for number in range(5):
            await w.submit(f"j{number}", created=number)
        await w.submit("other", name="other")
        assert (await w.ended("other")).state is State.DONE, "another artifact does not wait"
        assert "store j1" not in w.script.steps
        gate.set()
        rows = [await w.ended(f"j{number}") for number in range(5)]
        assert [row.result.version for row in rows if row.result] == [0, 1, 2, 3, 4]


async def test_a_passing_failure_is_tried_again_with_growing_pauses_and_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", *(RemoteUnavailable(f"away {n}") for n in range(4)))
        await w.submit("j1")
        for attempt in range(1, 5):
            await w.clock.sleeping()
            row = await w.rows.get("j1")
            assert (row.state, row.attempt, row.resume) == (State.WAITING, attempt, State.SENDING)
            assert row.error is not None
            assert (row.error.what, row.error.retry) == (f"away {attempt - 1}", True)
            w.clock.skip()
        assert (await w.ended("j1")).error is None
        low, high = ([retry_delay(n, chance) for n in range(1, 5)] for chance in (0.0, 1.0))
        assert all(a <= pause <= b for a, pause, b in zip(low, w.clock.slept, high, strict=True))
        assert w.heard[:2] == ["away 0", "away 1"]


@pytest.mark.parametrize("error", [Conflict("type"), InvalidInput("name"), SourceLost("file f"), NotFound("no pin")])
async def test_an_upload_nobody_can_mend_fails_and_keeps_its_pins(tmp_path: Path, error: SyncdError) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", error)
        row = await w.ended(await w.submit("j1"))
        assert row.state is State.FAILED
        assert row.error is not None
        assert (row.error.code, row.error.what) == (error.code, error.what)
        assert not {"drop j1", "release j1"} & set(w.script.steps)


@pytest.mark.parametrize(
    "error",
    [
        RemoteRefused("read-only"),
        Corrupt("slot"),
        LocalDisk("full"),
        Refused("stopping"),
        OSError(5, "io"),
        KeyError("bug"),
    ],
)
async def test_any_other_trouble_of_an_upload_is_tried_again(tmp_path: Path, error: Exception) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", error)
        await w.submit("j1")
        row = await w.until("j1", State.WAITING)
        assert row.error is not None
        await w.clock.sleeping()
        w.clock.skip()
        assert (await w.ended("j1")).state is State.DONE


async def test_a_commit_whose_outcome_is_unknown_is_asked_again_and_not_stored_again(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("commit", RemoteUnavailable("unknown"))
        await w.submit("j1")
        assert (await w.until("j1", State.WAITING)).resume is State.COMMITTING
        await w.clock.sleeping()
        w.clock.skip()
        await w.ended("j1")
        assert [s for s in w.script.steps if "remote" not in s] == ["store j1", "commit j1", "commit j1", "release j1"]


async def test_a_download_fails_at_once_or_after_a_few_tries(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("fetch bad", Corrupt("packs/ab/cd"))
        assert (await w.ended(await w.submit("bad", kind=Kind.DOWNLOAD))).state is State.FAILED
        w.script.fail("fetch away", *(RemoteUnavailable("away") for _ in range(9)))
        await w.submit("away", kind=Kind.DOWNLOAD)
        for _ in range(4):
            await w.clock.sleeping()
            w.clock.skip()
        assert (await w.ended("away")).state is State.FAILED
        assert w.script.steps.count("fetch away") == 5
        assert (await w.ended(await w.submit("good", kind=Kind.DOWNLOAD))).state is State.DONE


@pytest.mark.parametrize("kind", [Kind.UPLOAD, Kind.DOWNLOAD])
async def test_a_running_job_is_interrupted_and_lets_go_what_it_held(tmp_path: Path, kind: Kind) -> None:
    verb, undo = ("store j1", "drop j1") if kind is Kind.UPLOAD else ("fetch j1", "discard j1")
    async with world(tmp_path) as w:
        w.script.hold(verb)
        await w.submit("j1", kind=kind)
        await w.script.reached(verb)
        async with asyncio.timeout(5):
            assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert undo in w.script.steps
        with pytest.raises(Conflict, match="cannot be cancelled"):
            await w.engine.cancel("j1")


async def test_a_waiting_job_is_cancelled_without_waiting(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", RemoteUnavailable("away"))
        await w.submit("j1")
        await w.until("j1", State.WAITING)
        await w.clock.sleeping()
        assert (await w.engine.cancel("j1")).state is State.CANCELLED


async def test_a_job_that_waits_for_its_turn_is_cancelled_at_once_and_never_begins(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("store j0")
        await w.submit("j0")
        await w.script.reached("store j0")
        await w.submit("j1", created=2.0)
        await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            assert (await w.engine.cancel("j1")).state is State.CANCELLED
        gate.set()
        await w.ended("j0")
        assert (await w.ended(await w.submit("j2", created=3.0))).state is State.DONE
        assert "store j1" not in w.script.steps
        assert (await w.rows.get("j1")).state is State.CANCELLED


async def test_a_job_cancelled_before_the_engine_saw_it_stays_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.submit("j1")
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert (await w.ended(await w.submit("j2"))).state is State.DONE
        assert "store j1" not in w.script.steps


async def test_what_may_be_in_the_log_cannot_be_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("commit j1")
        await w.submit("j1")
        await w.script.reached("commit j1")
        with pytest.raises(Conflict, match="cannot be cancelled"):
            await w.engine.cancel("j1")
        gate.set()
        assert (await w.ended("j1")).state is State.DONE


async def test_a_failed_job_may_be_let_go(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.fail("store", SourceLost("f"))
        await w.ended(await w.submit("j1"))
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert "drop j1" in w.script.steps


async def test_what_cannot_be_dropped_harms_nobody_and_is_dropped_at_the_next_start(tmp_path: Path) -> None:
    script = Script()
    script.fail("drop", LocalDisk("read-only"))
    async with world(tmp_path, script) as w:
        script.hold("store j1")
        await w.submit("j1")
        await script.reached("store j1")
        assert (await w.engine.cancel("j1")).state is State.CANCELLED
        assert (await w.ended(await w.submit("j2", name="other"))).state is State.DONE
    async with world(tmp_path, script):
        await script.reached("drop j1")


async def test_an_unknown_job_cannot_be_cancelled(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        with pytest.raises(NotFound):
            await w.engine.cancel("nothing")


@pytest.mark.parametrize(
    ("held", "repeated"), [("store j1", ["store j1", "commit j1"]), ("commit j1", ["commit j1"]), ("release j1", [])]
)
async def test_a_restart_goes_on_where_the_journal_says(tmp_path: Path, held: str, repeated: list[str]) -> None:
    script = Script()
    script.hold(held)
    async with world(tmp_path, script) as w:
        await w.submit("j1")
        await script.reached(held)
    script.gates.clear()
    script.steps.clear()
    async with world(tmp_path, script) as w:
        assert (await w.ended("j1")).state is State.DONE
    assert [s for s in script.steps if "remote" not in s] == [*repeated, "release j1"]


async def test_a_waiting_job_is_tried_at_once_after_a_restart(tmp_path: Path) -> None:
    script = Script()
    script.fail("store", RemoteUnavailable("away"))
    async with world(tmp_path, script) as w:
        await w.submit("j1")
        await w.until("j1", State.WAITING)
    async with world(tmp_path, script) as w:
        assert (await w.ended("j1")).state is State.DONE
        assert w.clock.slept == []


async def test_progress_is_told_while_a_job_runs_and_not_after(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.script.hold("store j1")
        await w.submit("j1")
        await w.script.reached("store j1")
        progress = w.engine.progress("j1")
        assert progress is not None
        with w.bus.listen() as changes:
            progress.read(10)
            w.clock.advance(1.0)
            progress.read(5)
            async with asyncio.timeout(5):
                assert (await changes.next()).job == "j1"
        assert progress.bytes_done == 15
        w.script.gates["store j1"].set()
        await w.ended("j1")
        await asyncio.sleep(0.01)
        assert w.engine.progress("j1") is None
