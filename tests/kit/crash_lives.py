"""Lives of a daemon without its door: composed, given one job as a client would, watched until it ends.

Each function is one life of one process (see entry_forks.py). `upload` and `download` may be made to die; `survey_*`
are the lives after that: they do what the client does that reconnects, wait, and return what is wrong, in words.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

from syncd.daemon.compose import Rooms, compose
from syncd.errors import Conflict
from syncd.format.keys import artifact_log
from syncd.format.log import Commit, Part, decode_entry
from syncd.journal.jobs import RankFacts
from syncd.model.names import ArtifactKey
from syncd.model.views import JobView
from syncd.settings import load
from tests.kit.dying import Fate, Record, Traffic, seams

KEY = ArtifactKey("crash", "data")
PATIENCE = 20.0


@asynccontextmanager
async def alive(home: Path, remote: Path, settings: dict[str, str], fate: Fate) -> AsyncIterator[Rooms]:
    """A daemon with its state below `home`, its engine running."""
    home.mkdir(exist_ok=True)
    environ = {
        "HOME": str(home),
        "SYNCD_STATE_DIR": str(home / "state"),
        "SYNCD_SOCKET": str(home / "s"),
        "SYNCD_CACHE_DIR": str(home / "cache"),
        "SYNCD_REMOTE": f"file://{remote}",
        **settings,
    }
    (home / "state").mkdir(exist_ok=True)
    async with (
        compose(load({}, environ), lambda: None, seams(fate)) as rooms,
        asyncio.TaskGroup() as tasks,
    ):
        engine = tasks.create_task(rooms.engine.run())
        try:
            yield rooms
        finally:
            engine.cancel()


async def upload(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Log the directory `data` and wait for its version."""
    async with alive(work / "one", work / "one/state/remote", settings, fate) as rooms:
        job = await _logged(rooms, work / "data", "d0")
        return {"state": job.state, "count": fate.count}


async def survey_upload(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Go on with an upload; then log the same content again, then restore it on another node."""
    remote = work / "one/state/remote"
    problems: list[str] = []
    async with alive(work / "one", remote, settings, fate) as rooms:
        job = await _logged(rooms, work / "data", "d0")
        problems += [] if (job.state, job.version, job.new_version) == ("done", 0, True) else [f"it ended as {job}"]
        problems += await _unconverged(rooms, work / "one", remote)
        sent = Traffic.of(work / "record").puts
        again = await _logged(rooms, work / "data", "d1")
        if (again.version, again.new_version, again.bytes_stored) != (0, False, 0):
            problems.append(f"the same content again gave {again}")
        packs = len(list((remote / "packs").rglob("?" * 64)))
        problems += _sent_again(work / "record", sent)
        versions, _ = await rooms.service.history.versions(KEY, True, "", 100)
        problems += [] if len(versions) == 1 else [f"there are {len(versions)} versions"]
        problems += _transactions(remote)
        problems += await _unconverged(rooms, work / "one", remote)
    async with alive(work / "two", remote, settings, Fate(Record(work / "record-two"))) as rooms:
        restored = await _restored(rooms, work / "out")
        problems += [] if restored.state == "done" else [f"another node restored it as {restored}"]
    return {"problems": problems, "packs": packs}


async def first_part(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Contribute rank 0 of three, from a node of its own."""
    async with alive(work / "zero", work / "zero/state/remote", settings, fate) as rooms:
        await _contributed(rooms, work, (0,))
        return {}


async def last_parts(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Contribute ranks 1 and 2, which complete the group, and wait for the version."""
    async with alive(work / "one", work / "zero/state/remote", settings, fate) as rooms:
        ended = await _contributed(rooms, work, (1, 2))
        return {"versions": [job.version for job in ended], "count": fate.count}


async def survey_parts(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Go on with the ranks; then restore the version on the first node."""
    remote = work / "zero/state/remote"
    async with alive(work / "one", remote, settings, fate) as rooms:
        ended = await _contributed(rooms, work, (1, 2))
        problems = [f"it ended as {job}" for job in ended if (job.state, job.version) != ("done", 0)]
        problems += await _unconverged(rooms, work / "one", remote)
    entries = [decode_entry(path.read_bytes()) for path in sorted((remote / artifact_log(KEY)).iterdir())]
    ranks = sorted(rank for entry in entries if isinstance(entry, Part) for rank in entry.ranks)
    problems += [] if ranks == [0, 1, 2] else [f"the log has parts of the ranks {ranks}"]
    async with alive(work / "two", remote, settings, Fate(Record(work / "record-two"))) as rooms:
        job = (await rooms.service.get(KEY, "latest", os.fsencode(work / "out"))).job
        (restored,) = await rooms.service.jobs.wait([job], PATIENCE)
        problems += [] if restored.state == "done" else [f"another node restored it as {restored}"]
    return {"problems": problems}


async def _contributed(rooms: Rooms, work: Path, ranks: tuple[int, ...]) -> list[JobView]:
    """Hand the directories of some ranks over as in `_logged`; wait for the version, of rank 0 for its part alone."""
    service = rooms.service
    jobs = []
    for rank in ranks:
        data, draft = work / f"data-{rank}", f"d{rank}"
        job = await service.logged(draft)
        if job is None:
            facts = data.stat()
            await service.drafts.add_dir(
                draft, os.fsencode(data), b"", dev=facts.st_dev, ino=facts.st_ino, policy="mutable", merge=False
            )
            row = await service.drafts.log(
                draft, KEY, "dataset", description="", metadata={}, aliases=[], tags=[], run=None, empty=False,
                ranks=RankFacts("g", rank, 3, len(ranks)),
            )  # fmt: skip
            job = row.job
        jobs.append(job)
    if ranks == (0,):
        while (await service.jobs.show(jobs[0])).state != "done":
            await asyncio.sleep(0.002)  # polling; the life has a deadline
        return []
    return await service.jobs.wait(jobs, PATIENCE)


async def download(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Restore the version in `remote` into `out`."""
    async with alive(work / "two", work / "remote", settings, fate) as rooms:
        job = await _restored(rooms, work / "out")
        return {"state": job.state, "count": fate.count}


async def survey_download(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Go on with a download; then ask for the same again."""
    problems: list[str] = []
    async with alive(work / "two", work / "remote", settings, fate) as rooms:
        job = await _restored(rooms, work / "out")
        problems += [] if job.state == "done" else [f"it ended as {job}"]
        problems += await _unconverged(rooms, work / "two", work / "remote")
        problems += [f"{path.name} is left" for path in (work / "out").glob(".syncd-*")]
        wrote = (work / "record").read_text().count('"wrote"')
        again = await rooms.service.get(KEY, "latest", os.fsencode(work / "out"))
        (ended,) = await rooms.service.jobs.wait([again.job], PATIENCE)
        if ended.state != "done" or (work / "record").read_text().count('"wrote"') != wrote:
            problems.append(f"the same download again fetched something: {ended}")
    return {"problems": problems}


async def cancel_download(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Ask for the version, and give the download up as soon as it has written something."""
    async with alive(work / "two", work / "remote", settings, fate) as rooms:
        job = (await rooms.service.get(KEY, "best", os.fsencode(work / "out"))).job
        while b'"wrote"' not in (work / "record").read_bytes():
            await asyncio.sleep(0.002)  # polling; the job itself has a deadline
        with suppress(Conflict):  # it was quicker
            await rooms.service.jobs.cancel(job)
        (ended,) = await rooms.service.jobs.wait([job], PATIENCE)
        return {"state": ended.state, "count": fate.count}


async def survey_cancelled(work: Path, settings: dict[str, str], fate: Fate) -> dict[str, Any]:
    """Whatever became of the job, nothing half done is left in the target."""
    async with alive(work / "two", work / "remote", settings, fate) as rooms:
        open_jobs = await rooms.service.jobs.open_ids()
        ended = await rooms.service.jobs.wait(open_jobs, PATIENCE)
        problems = [f"it went on and ended as {job}" for job in ended if job.state != "done"]
        problems += await _unconverged(rooms, work / "two", work / "remote")
        problems += [f"{path.name} is left" for path in (work / "out").glob(".syncd-*")]
    return {"problems": problems}


async def _logged(rooms: Rooms, data: Path, draft: str) -> JobView:
    """Hand a directory over as a client does that does not know how far an earlier try came; wait for the end."""
    service = rooms.service
    job = await service.logged(draft)
    if job is None:
        facts = data.stat()
        path = os.fsencode(data)
        await service.drafts.add_dir(
            draft, path, b"", dev=facts.st_dev, ino=facts.st_ino, policy="mutable", merge=False
        )
        row = await service.drafts.log(
            draft, KEY, "dataset", description="", metadata={}, aliases=["best"], tags=[], run=None, empty=False
        )
        job = row.job
    (ended,) = await service.jobs.wait([job], PATIENCE)
    return ended


async def _restored(rooms: Rooms, root: Path) -> JobView:
    """Ask for the version unless an earlier life was asked already; wait for the end."""
    page, _ = await rooms.service.jobs.page(False, "", 10)
    jobs = [job.job for job in page]
    if not jobs:
        jobs = [(await rooms.service.get(KEY, "best", os.fsencode(root))).job]
    (ended,) = await rooms.service.jobs.wait(jobs, PATIENCE)
    return ended


async def _unconverged(rooms: Rooms, home: Path, remote: Path) -> list[str]:
    """Return what keeps a node from being converged: open jobs, pins, files in its spools or the remote's `.tmp`."""
    problems = [f"job {job} is open" for job in await rooms.service.jobs.open_ids()]
    status = await rooms.service.status()
    if status.spool_bytes or status.pins or status.drafts:
        problems.append(f"{status.drafts} drafts, {status.spool_bytes} bytes in the spool, pins {status.pins}")
    for place in [*_spools(home), remote / ".tmp"]:
        problems += [f"{path} is left" for path in place.rglob("*") if path.is_file()]
    return problems


def _spools(home: Path) -> list[Path]:
    """Return every place where this daemon may have a spool, journalled or not."""
    with closing(sqlite3.connect(home / "state" / "journal.db")) as db:
        names = [row[0] for row in db.execute("SELECT value FROM meta WHERE key = 'spool_id'")]
    assert names, "the journal does not know the spool's name"
    own = f".syncd-spool-{os.geteuid()}"
    return [home / "state" / "spool", *(top / own / name for top in home.parents for name in names)]


def _sent_again(record: Path, before: int) -> list[str]:
    """The manifest of the second try is put; no pack may be."""
    puts = [fact for fact in map(json.loads, record.read_text().splitlines()) if fact["what"] == "put"][before:]
    return [f"the same content again sent {fact['key']}" for fact in puts if fact["key"].startswith("packs/")]


def _transactions(remote: Path) -> list[str]:
    """Every transaction id stands once in the log."""
    slots = sorted((remote / artifact_log(KEY)).iterdir())
    entries = [decode_entry(path.read_bytes()) for path in slots]
    txns = [entry.txn for entry in entries]
    problems = [f"transaction {txn} is in the log {txns.count(txn)} times" for txn in set(txns) if txns.count(txn) > 1]
    commits = [entry for entry in entries if isinstance(entry, Commit)]
    return problems + ([] if len(commits) == 2 else [f"{len(commits)} commits in the log, two were asked for"])


LIVES = {
    "first_part": first_part, "last_parts": last_parts, "survey_parts": survey_parts,
    "upload": upload, "survey_upload": survey_upload, "download": download, "survey_download": survey_download,
    "cancel_download": cancel_download, "survey_cancelled": survey_cancelled,
}  # fmt: skip
