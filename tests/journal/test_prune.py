"""What is forgotten of jobs that ended long ago, and what never is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.errors import NotFound
from syncd.jobs.states import ENDED, Kind, State
from syncd.journal import packs, pins
from syncd.journal.core import Journal, open_journal
from syncd.journal.jobs import JobRow, JobRows, UploadSpec
from syncd.journal.prune import PruneRule, prune_jobs
from syncd.lanes import Lane

DAY = 86400.0
TABLES = ("jobs", "drafts", "files", "chunks", "packs", "prepared", "pins")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    lane = Lane("journal-test")
    journal = await open_journal(str(tmp_path / "journal.db"), lane)
    yield journal
    await journal.close()
    lane.close()


async def job(journal: Journal, name: str, at: float, state: State = State.DONE, pinned: bool = False) -> None:
    """An upload with every row one can have; `pinned` ones hold bytes."""
    draft = f"draft-{name}"
    file = pins.FileRow(draft, b"f", "file", 0o644, 1, pin=int(at * 10))
    pin = pins.PinRow(int(at * 10), draft, "copy", b"/spool/x", 0, 0, 1, 1, 1, 1, b"/x", "boot")
    await pins.add(journal, draft, at, [pin] if pinned else [], [file], False)
    spec = UploadSpec(name, "t")
    row = JobRow(name, Kind.UPLOAD, State.ACCEPTED, "repo", draft, "p", "data", spec, at, at)
    await JobRows(journal).accept(row)
    chunk = packs.ChunkRow(b"f", 0, 1, b"h" * 32)
    await packs.record_stored(journal, "repo", name, draft, [packs.StoredPack(name.encode(), 9, ())], [chunk])
    await packs.record_prepared(journal, name, packs.PreparedRow("m", b"", 1, b"", 1, 1, 1))
    await JobRows(journal).move(name, state, resume=None, attempt=0, updated=at)


async def left(journal: Journal) -> list[str]:
    return [row.job for row in reversed(await JobRows(journal).page(limit=10_000))]


async def rows(journal: Journal) -> dict[str, int]:
    return {
        table: await journal.read(lambda db, t=table: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0])  # type: ignore[misc]
        for table in TABLES
    }


async def test_the_newest_stay_and_all_rows_of_the_others_go(journal: Journal) -> None:
    for number in range(10):
        await job(journal, f"j{number}", float(number + 1))
    assert await prune_jobs(journal, PruneRule(newest=3)) == 7
    assert await left(journal) == ["j7", "j8", "j9"]
    assert await rows(journal) == {**dict.fromkeys(TABLES, 3), "pins": 0}
    with pytest.raises(NotFound, match="j0") as refused:
        await JobRows(journal).get("j0")
    assert "forgotten" in refused.value.why
    assert await prune_jobs(journal, PruneRule(newest=3)) == 0


async def test_a_clock_that_jumps_makes_nobody_forget_what_just_ended(journal: Journal) -> None:
    await job(journal, "from a far future", 10_000 * DAY)
    for number in range(4):
        await job(journal, f"j{number}", float(number + 1))
    assert await prune_jobs(journal, PruneRule(newest=3)) == 2
    assert await left(journal) == ["j2", "j3", "from a far future"]


async def test_a_job_accepted_long_ago_that_ended_just_now_stays(journal: Journal) -> None:
    await job(journal, "long", 1.0)
    for number in range(4):
        await job(journal, f"j{number}", float(number + 2))
    await JobRows(journal).move("long", State.DONE, resume=None, attempt=0, updated=100.0)
    assert await prune_jobs(journal, PruneRule(newest=2)) == 2
    assert await left(journal) == ["long", "j2", "j3"]


async def test_a_batch_is_bounded_and_the_oldest_go_first(journal: Journal) -> None:
    for number in range(10):
        await job(journal, f"j{number}", float(number + 1))
    rule = PruneRule(newest=1, batch=4)
    assert await prune_jobs(journal, rule) == 4
    assert await left(journal) == ["j4", "j5", "j6", "j7", "j8", "j9"]
    assert [await prune_jobs(journal, rule), await prune_jobs(journal, rule)] == [4, 1]


@pytest.mark.parametrize("state", sorted(set(State) - ENDED))
async def test_an_open_job_is_never_forgotten(journal: Journal, state: State) -> None:
    await job(journal, "open", 1.0, state)
    await job(journal, "new", 100 * DAY)
    assert await prune_jobs(journal, PruneRule(newest=0)) == 1
    assert await left(journal) == ["open"]
    assert (await rows(journal))["chunks"] == 1


@pytest.mark.parametrize("state", sorted(ENDED))
async def test_a_job_that_still_holds_pins_is_never_forgotten(journal: Journal, state: State) -> None:
    await job(journal, "held", 1.0, state, pinned=True)
    await job(journal, "new", 100 * DAY)
    assert await prune_jobs(journal, PruneRule(newest=0)) == 1
    assert await left(journal) == ["held"]
    await pins.drop(journal, "draft-held", logged=True)
    assert await prune_jobs(journal, PruneRule(newest=0)) == 1


async def test_drafts_that_were_not_logged_are_no_ones_business_here(journal: Journal) -> None:
    await pins.begin(journal, "a draft", 0.0)
    assert await prune_jobs(journal, PruneRule(newest=0)) == 0
    await job(journal, "old", 1.0)
    await prune_jobs(journal, PruneRule(newest=0))
    assert (await rows(journal))["drafts"] == 1
