"""Rows of jobs: accepted once, moved by verbs, listed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncd.errors import Corrupt, NotFound
from syncd.jobs.states import Kind, State
from syncd.journal import pins
from syncd.journal.core import Journal, open_journal
from syncd.journal.jobs import DownloadSpec, Failure, JobResult, JobRow, JobRows, RunFacts, UploadSpec
from syncd.lanes import Lane


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    lane = Lane("journal-test")
    journal = await open_journal(str(tmp_path / "journal.db"), lane)
    yield journal
    await journal.close()
    lane.close()


@pytest.fixture
def jobs(journal: Journal) -> JobRows:
    return JobRows(journal)


def upload(job: str, created: float = 1.0, **fields: Any) -> JobRow:
    spec = UploadSpec(
        txn=f"txn-{job}",
        type="dataset",
        metadata={"loss": 0.1, "tags": ["a", None]},
        aliases=("best",),
        run=RunFacts("r1", project="p"),
        gaps=("a gap",),
    )
    row = JobRow(job, Kind.UPLOAD, State.ACCEPTED, "repo", f"draft-{job}", "p", "data", spec, created, created)
    return msgspec.structs.replace(row, **fields)


def download(job: str, created: float = 1.0, **fields: Any) -> JobRow:
    spec = DownloadSpec(txn=f"txn-{job}", ref="latest", version=3, root=b"/out/\xff")
    row = JobRow(job, Kind.DOWNLOAD, State.ACCEPTED, "repo", None, "p", "data", spec, created, created)
    return msgspec.structs.replace(row, **fields)


async def draft(journal: Journal, *drafts: str) -> None:
    await journal.write(
        lambda db: db.executemany("INSERT INTO drafts (draft, touched) VALUES (?, 0)", [(d,) for d in drafts])
    )


async def accept(journal: Journal, jobs: JobRows, *rows: JobRow) -> None:
    for row in rows:
        if row.draft is not None:
            await draft(journal, row.draft)
        await jobs.accept(row)


async def test_a_job_comes_back_as_it_was_accepted(journal: Journal, jobs: JobRows) -> None:
    rows = [upload("u1"), download("d1")]
    await accept(journal, jobs, *rows)
    assert [await jobs.get(row.job) for row in rows] == rows


async def test_what_a_job_promises_is_what_its_draft_held_when_it_was_accepted(journal: Journal, jobs: JobRows) -> None:
    await draft(journal, "draft-u1")
    pin = pins.PinRow(1, "draft-u1", "copy", b"/spool/x", 0, 0, 5, 1, 1, 1, b"/x", "boot")
    file = pins.FileRow("draft-u1", b"late", "file", 0o644, 5, pin=1)
    await pins.add(journal, "draft-u1", 1.0, [pin], [file], False)  # after the caller had built the row
    spec = (await jobs.accept(upload("u1"))).spec
    assert isinstance(spec, UploadSpec)
    assert (spec.files, spec.bytes, spec.ways) == (1, 5, {"copy": 1})


async def test_logging_a_draft_twice_gives_the_first_job(journal: Journal, jobs: JobRows) -> None:
    await accept(journal, jobs, upload("u1"))
    again = await jobs.accept(upload("u2", draft="draft-u1"))
    assert again.job == "u1"
    assert [row.job for row in await jobs.page()] == ["u1"]


async def test_a_draft_that_was_dropped_cannot_be_logged(jobs: JobRows) -> None:
    with pytest.raises(NotFound, match="draft-u1"):
        await jobs.accept(upload("u1"))
    assert await jobs.page() == []


async def test_accepting_marks_the_draft_and_is_durable(journal: Journal, jobs: JobRows) -> None:
    await accept(journal, jobs, upload("u1"))
    marked = await journal.read(lambda db: db.execute("SELECT draft, job FROM drafts").fetchall())
    assert marked == [("draft-u1", "u1")]
    level = await journal.read(lambda db: db.execute("PRAGMA synchronous").fetchone()[0])
    assert level == 2  # FULL, as the last transaction left it


async def test_a_draft_finds_its_job(journal: Journal, jobs: JobRows) -> None:
    await accept(journal, jobs, upload("u1"))
    found = await jobs.of_draft("draft-u1")
    assert found is not None
    assert found.job == "u1"
    assert await jobs.of_draft("other") is None


async def test_moves_keep_the_result_and_clear_the_error(journal: Journal, jobs: JobRows) -> None:
    await accept(journal, jobs, upload("u1"))
    fault = Failure("remote_unavailable", "no answer", retry=True)
    waiting = await jobs.move(
        "u1", State.WAITING, resume=State.COMMITTING, attempt=2, updated=5.0, error=fault, durable=True
    )
    assert (waiting.state, waiting.resume, waiting.attempt, waiting.error) == (
        State.WAITING,
        State.COMMITTING,
        2,
        fault,
    )
    result = JobResult(version=7, new_version=False, digest=b"\x01" * 32, warnings=("identical",))
    await jobs.move("u1", State.COMMITTED, resume=None, attempt=0, updated=6.0, result=result)
    done = await jobs.move("u1", State.DONE, resume=None, attempt=0, updated=7.0)
    assert (done.result, done.error, done.resume, done.updated) == (result, None, None, 7.0)
    assert await jobs.get("u1") == done


async def test_a_job_nobody_accepted_is_not_found(jobs: JobRows) -> None:
    with pytest.raises(NotFound):
        await jobs.get("nope")
    with pytest.raises(NotFound):
        await jobs.move("nope", State.DONE, resume=None, attempt=0, updated=0.0)
    with pytest.raises(NotFound):
        await jobs.page(after="nope")


async def test_pages_run_from_new_to_old_without_gap_or_repeat(journal: Journal, jobs: JobRows) -> None:
    times = [3.0, 1.0, 2.0, 2.0, 2.0]
    await accept(journal, jobs, *(download(f"d{n}", created) for n, created in enumerate(times)))
    seen: list[str] = []
    while page := await jobs.page(after=seen[-1] if seen else "", limit=2):
        seen += [row.job for row in page]
    assert seen == ["d0", "d4", "d3", "d2", "d1"]


async def test_open_jobs_are_told_from_ended_ones(journal: Journal, jobs: JobRows) -> None:
    states = [State.DONE, State.SENDING, State.FAILED, State.WAITING, State.CANCELLED, State.ACCEPTED]
    await accept(journal, jobs, *(upload(f"u{n}", float(n), state=state) for n, state in enumerate(states)))
    await accept(journal, jobs, download("d1", 9.0), upload("other", 9.0, name="other"))
    assert [row.job for row in await jobs.open_jobs()] == ["u1", "u3", "u5", "d1", "other"]
    assert [row.job for row in await jobs.page(open_only=True)] == ["other", "d1", "u5", "u3", "u1"]
    assert [row.job for row in await jobs.page(failed_only=True)] == ["u2"]
    assert [row.job for row in await jobs.of_artifact("p", "data")] == ["u1", "u3", "u5"]


async def test_a_cancelled_job_that_still_holds_pins_is_found_again(journal: Journal, jobs: JobRows) -> None:
    await accept(journal, jobs, upload("u1", state=State.CANCELLED), upload("u2", state=State.CANCELLED))
    await journal.write(lambda db: db.execute("DELETE FROM drafts WHERE draft = 'draft-u2'"))
    assert [row.job for row in await jobs.undiscarded()] == ["u1"]


async def test_fields_of_a_newer_syncd_are_ignored_and_missing_ones_have_defaults(
    journal: Journal, jobs: JobRows
) -> None:
    await accept(journal, jobs, upload("u1"))
    body = msgspec.msgpack.encode({"txn": "t", "type": "model", "sparkle": True})
    await journal.write(lambda db: db.execute("UPDATE jobs SET spec = ?", (body,)))
    assert (await jobs.get("u1")).spec == UploadSpec("t", "model")


@pytest.mark.parametrize("change", ["spec = x'c1'", "state = 'dancing'", "spec = x'80'"])
async def test_a_damaged_row_is_corrupt_and_names_the_job(journal: Journal, jobs: JobRows, change: str) -> None:
    await accept(journal, jobs, upload("u1"))
    await journal.write(lambda db: db.execute(f"UPDATE jobs SET {change}"))
    with pytest.raises(Corrupt, match="u1"):
        await jobs.get("u1")
