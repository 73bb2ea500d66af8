"""Waiting for a version of several ranks: the log is read ever less often, and not at all for what is known here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.clock import Clock
from syncd.errors import Conflict, InvalidInput, NotFound
from syncd.events import Bus, JobChanged
from syncd.format.log import Abort
from syncd.jobs.states import State
from syncd.journal.jobs import JobResult, JobRow, JobRows
from syncd.model.names import ArtifactKey
from syncd.repo.repository import Repository
from syncd.service.groups import FIRST_PAUSE, LONGEST_PAUSE, GroupVerbs
from syncd.store.memory import MemoryStore
from tests.kit.clocks import ManualClock
from tests.kit.flow_kit import Node, node, upload_job

KEY = ArtifactKey("p", "data")


@dataclass
class World:
    mine: Node
    other: Node
    verbs: GroupVerbs
    rows: JobRows
    bus: Bus
    clock: ManualClock

    async def contributed(self, rank: int = 0) -> JobRow:
        """Contribute a rank through the first node; return its job as the engine leaves it."""
        result = await self.mine.upload({b"%d" % rank: b"x" * 99}, group="g", rank=rank, world_size=2, txn=f"t{rank}")
        row = upload_job(f"t{rank}", group="g", rank=rank, world_size=2)
        draft = (row.draft,)
        await self.mine.journal.write(lambda db: db.execute("INSERT INTO drafts (draft, touched) VALUES (?, 0)", draft))
        await self.rows.accept(row)
        return await self.rows.move(row.job, State.DONE, resume=None, attempt=0, updated=0, result=result)


@asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store, clock, bus = MemoryStore(), ManualClock(), Bus()
    async with node(tmp_path / "a", store) as mine, node(tmp_path / "b", store) as other:
        rows = JobRows(mine.journal)

        async def repository() -> Repository:
            return mine.repository

        yield World(mine, other, _verbs(repository, rows, bus, clock), rows, bus, clock)


def _verbs(repository: object, rows: JobRows, bus: Bus, clock: Clock) -> GroupVerbs:
    ids = (f"txn-{number}" for number in range(99))
    return GroupVerbs(repository, rows, bus, clock, random.Random(1), "n", lambda: next(ids))  # type: ignore[arg-type]


async def test_the_log_is_read_at_growing_pauses_until_the_version_is_there(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        row = await w.contributed()
        waiting = asyncio.ensure_future(w.verbs.outcome(row))
        for _ in range(14):
            await w.clock.sleeping()
            w.clock.skip()
        await w.clock.sleeping()
        assert w.clock.slept[0] == FIRST_PAUSE and w.clock.slept[-1] == LONGEST_PAUSE
        assert w.clock.slept == sorted(w.clock.slept)
        assert await w.verbs.who_is_missing(row) == "group g: 1 of 2 ranks are missing: rank 1"
        await w.other.upload({b"1": b"y"}, group="g", rank=1, world_size=2)
        assert not waiting.done()
        ended = await w.clock.run_until(waiting)
        assert ended.result is not None and ended.result.version == 0
        assert (await w.rows.get(row.job)).result == ended.result


async def test_a_version_that_this_daemon_completes_is_known_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        row = await w.contributed()
        waiting = asyncio.ensure_future(w.verbs.outcome(row))
        await w.clock.sleeping()
        last = await w.contributed(1)
        w.bus.publish(JobChanged(last.job))
        async with asyncio.timeout(10):
            ended = await waiting
        assert ended.result is not None and ended.result.version == 0


async def test_an_abort_is_noted_and_told(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        row = await w.contributed()
        log = w.other.repository.artifact_log(KEY)
        await log.append("a", lambda _, prev: Abort(txn="a", prev=prev, group="g", reason="out of disk"))
        ended = await w.verbs.outcome(row)
        assert ended.result == JobResult(
            digest=row.result.digest, bytes_stored=row.result.bytes_stored, files=1, bytes=99, aborted="out of disk"  # type: ignore[union-attr]
        )  # fmt: skip


async def test_groups_are_paged_youngest_first_and_aborted_by_name(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number in range(5):
            await w.other.upload({b"f": b"%d" % number}, group=f"g{number}", rank=0, world_size=2)
        first, after = await w.verbs.page(KEY, False, "", 3)
        rest, end = await w.verbs.page(KEY, False, after, 3)
        assert [group.group for group in (*first, *rest)] == ["g4", "g3", "g2", "g1", "g0"] and end == ""
        ((ended,), _) = await w.verbs.abort(KEY, "g2", "", None)
        assert (ended.state, ended.reason) == ("aborted", "aborted by hand")
        assert (await w.verbs.abort(KEY, "g2", "again", None))[0][0].reason == "aborted by hand"
        await w.other.upload({b"g": b"z"}, group="g3", rank=1, world_size=2)
        with pytest.raises(Conflict, match="is complete"):
            await w.verbs.abort(KEY, "g3", "", None)
        with pytest.raises(NotFound):
            await w.verbs.abort(KEY, "none", "", None)
        with pytest.raises(InvalidInput):
            await w.verbs.abort(KEY, "", "", None)
        complete = (await w.verbs.page(KEY, True, "", 100))[0]
        assert [group.version for group in complete if group.state == "complete"] == [0]
