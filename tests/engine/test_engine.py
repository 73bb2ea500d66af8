"""Jobs from acceptance to their end: order, trying again, cancelling, restarts, and a journal that will not write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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
from syncd.jobs.backoff import retry_delay
from syncd.jobs.states import Kind, State
from syncd.journal.jobs import JobResult
from tests.kit.engine_kit import Script, world
from tests.kit.pinning import until


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


async def test_downloads_into_one_directory_take_turns_whatever_they_restore(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        gate = w.script.hold("fetch j1")
        await w.submit("j1", kind=Kind.DOWNLOAD, name="data")
        await w.script.reached("fetch j1")
        await w.submit("j2", kind=Kind.DOWNLOAD, name="other", created=2.0)
        await w.submit("j3", kind=Kind.DOWNLOAD, name="data", created=3.0, root=b"/elsewhere")
        assert (await w.ended("j3")).state is State.DONE, "another directory does not wait"
        assert "fetch j2" not in w.script.steps
        gate.set()
        assert [(await w.ended(job)).state for job in ("j1", "j2")] == [State.DONE, State.DONE]


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
        assert "release j1" not in w.script.steps


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
        await until(lambda: "discard bad" in w.script.steps)
        w.script.fail("fetch away", *(RemoteUnavailable("away") for _ in range(9)))
        await w.submit("away", kind=Kind.DOWNLOAD)
        for _ in range(4):
            await w.clock.sleeping()
            w.clock.skip()
        assert (await w.ended("away")).state is State.FAILED
        assert w.script.steps.count("fetch away") == 5
        await until(lambda: "discard away" in w.script.steps)
        assert await w.rows.failed_count() == 0, "it holds nothing, and who waited was told"
        assert (await w.ended(await w.submit("good", kind=Kind.DOWNLOAD))).state is State.DONE


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
        await until(lambda: w.engine.progress("j1") is None)


async def test_a_waiting_job_says_when_it_tries_again_and_at_most_a_minute_passes(tmp_path: Path) -> None:
    """The remote is away for hours: tried about once a minute. It comes back: the job goes on within one."""
    async with world(tmp_path) as w:
        w.script.fail("store", *[RemoteUnavailable("away")] * 200)
        await w.submit("j1")
        for _ in range(200):
            async with asyncio.timeout(5):
                await w.clock.sleeping()
            pause = w.engine.next_try("j1") - w.clock.now()
            assert 0.0 < pause <= 60.0
            assert w.clock.skip() == pytest.approx(pause)
        assert (await w.ended("j1")).state is State.DONE
        later = w.clock.slept[10:]
        assert min(later) >= 30.0
        assert len(set(later)) > 150, "nodes that failed together come back apart"
        assert w.engine.next_try("j1") == 0.0
