"""Drafts: who keeps them, when they go; what is logged stands; what a run used becomes lineage."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from syncd.format.log import Commit
from syncd.journal.jobs import RunFacts
from syncd.model.names import ArtifactKey
from syncd.service import holders
from syncd.store.memory import MemoryStore
from syncd_client.wire import messages as m
from tests.kit.clocks import ManualClock
from tests.kit.service_kit import Room, service_room
from tests.kit.stores import FlakyStore, refuse


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"some bytes")
    return path


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with service_room(tmp_path / "home", MemoryStore()) as made:
        yield made


async def no_clients(room: Room) -> None:
    async with asyncio.timeout(5):
        while room.service.clients:
            await asyncio.sleep(0.005)


async def test_a_draft_is_dropped_ten_minutes_after_the_last_client_of_its_process_is_gone(
    tmp_path: Path, file: Path
) -> None:
    clock = ManualClock()
    async with service_room(tmp_path / "home", MemoryStore(), clock, run_engine=False) as room:
        janitor = asyncio.ensure_future(room.service.drafts.run_janitor())

        async def pass_minutes(minutes: int) -> None:
            for _ in range(minutes * 2):
                await clock.sleeping()
                clock.advance(30.0)
            await clock.sleeping()

        first, second = await room.connect(), await room.connect()
        await first.add("d1", file)
        first.close()
        await pass_minutes(15)
        assert await room.pins.draft_count() == 1, "another client of the process is connected"
        second.close()
        await no_clients(room)
        await pass_minutes(9)
        assert await room.pins.draft_count() == 1
        await pass_minutes(2)
        assert await room.pins.draft_count() == 0
        assert (await room.pins.usage()).bytes == 0
        late = await room.connect()
        facts = file.stat()
        request = m.AddFile("d1", bytes(file), b"more", facts.st_dev, facts.st_ino, facts.st_size)
        assert await late.refused(request) == "not_found", "half a draft must not be logged as a whole one"
        assert await late.refused(m.Log("d1", "data", "dataset")) == "not_found"
        janitor.cancel()


@pytest.mark.parametrize("alive", [True, False])
async def test_after_a_restart_a_draft_is_kept_while_its_process_lives(tmp_path: Path, file: Path, alive: bool) -> None:
    clock, store = ManualClock(), MemoryStore()
    async with service_room(tmp_path / "home", store, clock, run_engine=False) as room:
        await (await room.connect()).add("d1", file)
        mine = await room.pins.holder("d1")
        assert holders.lives(mine)
        assert not holders.lives(f"{mine}1"), "a later process with the same number is another"
    (tmp_path / "home/s").unlink()
    async with service_room(tmp_path / "home", store, clock, run_engine=False) as room:
        assert await room.pins.holder("d1") == mine, "the daemon stopped, its client did not leave"
        if not alive:
            await room.pins.note_holder("d1", f"{mine}1")
        janitor = asyncio.ensure_future(room.service.drafts.run_janitor())
        for _ in range(30):
            await clock.sleeping()
            clock.advance(30.0)
        await clock.sleeping()
        janitor.cancel()
        assert await room.pins.draft_count() == int(alive)


async def test_a_draft_logged_twice_is_one_job(room: Room, file: Path) -> None:
    client = await room.connect()
    await client.add("d1", file)
    jobs = [await client.call(m.Log("d1", "data", "dataset")) for _ in range(3)]
    assert len({job.job for job in jobs}) == 1
    await client.call(m.Wait([jobs[0].job], 20.0))
    assert len((await client.call(m.ListVersions("data"))).versions) == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (m.Log("d1", "bad name!", "dataset"), "invalid"),
        (m.Log("d1", "data", "job"), "invalid"),
        (m.Log("d1", "data", "dataset", aliases=["v3"]), "invalid"),
        (m.Log("d1", "data", "dataset", description="x" * 70_000), "invalid"),
        (m.Log("d1", "data", "dataset", metadata={"a": ["x" * 600_000, "y" * 300_000]}), "ok"),
        (m.Log("d1", "data", "dataset", run=m.RunInfo("r" * 500)), "invalid"),
        (m.Log("d1", "data", "dataset", run=m.RunInfo("r1", "bad/project")), "invalid"),
        (m.Log("nothing", "data", "dataset"), "not_found"),
        (m.Log("bad id!", "data", "dataset"), "invalid"),
        (m.DropDraft("d1"), "ok"),
    ],
)
async def test_what_no_log_entry_can_hold_is_refused_at_once(
    room: Room, file: Path, request_: m.Request, code: str
) -> None:
    client = await room.connect()
    await client.add("d1", file)
    kind, body = await client.ask(request_)
    assert (body["code"] if kind == "error" else kind) == code


@pytest.mark.parametrize("project", ["\N{SNOWMAN}" * 23, "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 34])
async def test_a_project_that_no_key_can_hold_is_refused_before_anything_is_promised(
    room: Room, file: Path, project: str
) -> None:
    """Short enough as text, too long in a key, where each of its bytes takes three."""
    client = await room.connect()
    await client.add("d1", file)
    assert await client.refused(m.Log("d1", "data", "dataset", project=project)) == "invalid"
    assert (await client.call(m.ListJobs())).jobs == []
    job = await client.call(m.Log("d1", "data", "dataset", project=project[:22]))  # the draft is still there
    assert (await client.call(m.Wait([job.job], 20.0))).jobs[0].state == "done"


async def test_what_a_run_used_is_what_its_versions_are_made_from(room: Room, file: Path) -> None:
    client = await room.connect()
    run = m.RunInfo("run1")
    await client.add("d1", file)
    await client.call(m.Wait([(await client.call(m.Log("d1", "data", "dataset"))).job], 20.0))
    for _ in range(2):
        assert (await client.call(m.Use("data", "latest", run=run))).warnings == []
    await client.add("d2", file)
    job = await client.call(m.Log("d2", "model", "model", run=run))
    await client.call(m.Wait([job.job], 20.0))
    repository = await room.service._parts.remote.repository()
    commit = repository.artifact_log(ArtifactKey("proj", "model")).slots[-1].entry
    assert isinstance(commit, Commit)
    assert (commit.run, commit.run_project, commit.inputs) == ("run1", "proj", ("proj/data:v0",))
    assert RunFacts("run1").project == ""


async def test_using_a_name_waits_for_its_upload_and_times_out_typed(tmp_path: Path, file: Path) -> None:
    async with service_room(tmp_path / "home", MemoryStore(), run_engine=False) as room:
        client = await room.connect()
        await client.add("d1", file)
        await client.call(m.Log("d1", "data", "dataset"))
        assert await client.refused(m.Use("data", "latest", timeout=0.05)) == "timeout"
        running = asyncio.ensure_future(room.engine.run())
        assert (await client.call(m.Use("data", "latest", timeout=20.0))).version == 0
        assert await client.refused(m.Use("data", "latest", type="model", timeout=20.0)) == "conflict"
        running.cancel()
        await asyncio.wait([running])


async def test_versions_are_removed_and_restored_and_lists_come_in_pages(room: Room, file: Path) -> None:
    client = await room.connect()
    for number in range(5):
        file.write_bytes(b"%d" % number)
        await client.add(f"d{number}", file)
        job = await client.call(m.Log(f"d{number}", "data", "dataset", aliases=["best"]))
        await client.call(m.Wait([job.job], 20.0))
    assert await client.refused(m.Remove("data", "v4")) == "conflict", "it has an alias"
    assert (await client.call(m.Show("data", "best"))).version == 4
    assert (await client.call(m.Remove("data", "v3"))).state == "DELETED", "latest is no alias, and no other is there"
    assert (await client.call(m.Restore("data", "v3"))).state == "COMMITTED"
    assert (await client.call(m.Remove("data", "best", delete_aliases=True))).state == "DELETED"
    assert (await client.call(m.Show("data"))).version == 3
    assert await client.refused(m.Show("data", "best")) == "not_found"
    assert await client.refused(m.Restore("data", "best")) == "invalid"
    assert (await client.call(m.Restore("data", "v4"))).aliases == ["latest"]
    seen, after = [], ""
    while page := await client.call(m.ListJobs(after=after, limit=2)):
        seen += [job.job for job in page.jobs]
        after = page.next
        if not after:
            break
    assert len(seen) == len(set(seen)) == 5
    assert (await client.call(m.ListJobs(limit=5))).next == ""
    first = await client.call(m.ListVersions("data", limit=3))
    rest = await client.call(m.ListVersions("data", limit=3, after=first.next))
    assert [v.version for v in (*first.versions, *rest.versions)] == [4, 3, 2, 1, 0]
    assert rest.next == ""


async def test_another_type_is_refused_at_log_from_what_this_node_has_read(tmp_path: Path, file: Path) -> None:
    store = FlakyStore(MemoryStore())
    async with service_room(tmp_path / "home", store) as room:
        client = await room.connect()
        await client.add("d1", file)
        await client.call(m.Wait([(await client.call(m.Log("d1", "data", "dataset"))).job], 20.0))
        store.plan = lambda call: refuse(AssertionError("the caller waits: the remote must not be asked"))
        await client.add("d2", file)
        kind, body = await client.ask(m.Log("d2", "data", "model"))
        assert (kind, body["code"]) == ("error", "conflict")
        assert "already exists with type 'dataset'" in body["what"]
        assert await room.pins.draft_count() == 1, "it can still be logged as what it is"
        assert await client.refused(m.AddWatch(bytes(tmp_path), "data", "model")) == "conflict"
        store.plan = lambda call: None
        assert (await client.call(m.Log("d2", "data", "dataset"))).kind == "upload"
        await client.add("d4", file)
        key, nothing = ArtifactKey("proj", "data"), {"aliases": [], "tags": [], "run": None, "empty": False}
        watched = await room.service.drafts.log("d4", key, "model", description="", metadata={}, **nothing)
        (ended,) = (await client.call(m.Wait([watched.job], 20.0))).jobs
        assert ended.state == "failed", "where nobody waits who could act, the job fails where it is seen, pins kept"
    async with service_room(tmp_path / "other", store) as room:  # a node that has read nothing of it
        client = await room.connect()
        await client.add("d3", file)
        job = await client.call(m.Log("d3", "data", "model"))
        (ended,) = (await client.call(m.Wait([job.job], 20.0))).jobs
        assert (ended.state, ended.error.code) == ("failed", "conflict")
        assert (await client.call(m.Status())).failed == 1
        await client.call(m.Cancel(job.job[:4]))
        assert (await client.call(m.Status())).failed == 0


async def test_a_file_system_that_does_not_answer_stops_one_request_and_not_the_loop(
    room: Room, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await room.connect()
    await client.add("d1", file)
    await client.call(m.Wait([(await client.call(m.Log("d1", "data", "dataset"))).job], 20.0))
    loop, asked, answers, real = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), os.path.realpath
    target = os.fsencode(tmp_path / "out")

    def hang(path: bytes) -> bytes:
        loop.call_soon_threadsafe(asked.set)
        return real(path) if answers.wait(5) else b"the loop stood still"

    monkeypatch.setattr("syncd.service.drafts.os.path.realpath", hang)
    request = client.send(m.Get("data", target))
    await asked.wait()
    answers.set()
    _, job = await client.answer(request)
    assert job["root"] == target


async def test_a_job_is_named_by_any_beginning_that_no_other_has(room: Room, file: Path) -> None:
    client = await room.connect()
    jobs = []
    for number in range(20):  # of 20 random ids, two begin with the same letter of sixteen
        await client.add(f"d{number}", file)
        jobs.append((await client.call(m.Log(f"d{number}", "data", "dataset"))).job)
    assert all(job.state == "done" for job in (await client.call(m.Wait(jobs, 20.0))).jobs)
    for job in jobs:
        short = next(job[:n] for n in range(1, 33) if sum(one.startswith(job[:n]) for one in jobs) == 1)
        assert (await client.call(m.ShowJob(short))).job == job
        assert [one.job for one in (await client.call(m.Wait([short, job], 20.0))).jobs] == [job]
    shared = next(job[0] for job in jobs if sum(one.startswith(job[0]) for one in jobs) > 1)
    for request in (m.ShowJob(shared), m.Wait([shared]), m.Cancel(shared)):
        assert await client.refused(request) == "invalid"
    for unknown in ("", "%", "zz"):
        assert await client.refused(m.Cancel(unknown)) == "not_found"
    assert await client.refused(m.Cancel(jobs[0])) == "conflict", "it is done, and the id was understood"
