"""Rows of the table `jobs`: what was asked, where it is, what came of it.

`spec`, `result` and `error` are msgpack maps of the structs below; a field added later has a default, so rows of an
older syncd stay readable. Accepting a job is a promise and durable; the caller says which moves are.
"""

from __future__ import annotations

import sqlite3
from typing import Any, TypeVar

import msgspec

from syncd.errors import Corrupt, InvalidInput, NotFound
from syncd.jobs.states import ENDED, Kind, State
from syncd.journal.core import Ledger
from syncd.journal.tally import Tally, tally

S = TypeVar("S")
Octets = bytes
"""The type `bytes` for structs with a field of that name, which would hide it when msgspec looks annotations up."""


class RunFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The execution that logs or uses; `started` in seconds since the epoch."""

    id: str
    project: str = ""
    name: str = ""
    job_type: str = ""
    group: str = ""
    host: str = ""
    user: str = ""
    started: float = 0.0


class RankFacts(msgspec.Struct, frozen=True):
    """Which share of a version that several ranks make; see `UploadSpec`."""

    group: str
    rank: int
    world_size: int
    local_world_size: int = 1


class UploadSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an upload shall commit. `txn` is its id in the remote for ever (law L3); the rest as logged.

    `inputs` are the versions ("project/name:vN") that `run` had used through this daemon by then. `files` and `bytes`
    count the draft when it was logged; `ways` and `gaps` repeat the pin's receipt. With a `group` it is the share of
    `rank` of `world_size`; `local_world_size` ranks log through this daemon, as far as the caller knows.
    """

    txn: str
    type: str
    description: str = ""
    metadata: dict[str, Any] = {}
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    run: RunFacts | None = None
    inputs: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0
    ways: dict[str, int] = {}
    gaps: tuple[str, ...] = ()
    group: str = ""
    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1


class DownloadSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a download shall restore: `ref` as asked, the version it meant then, and where to (an absolute path)."""

    txn: str
    ref: str
    version: int
    root: Octets
    files: int = 0
    bytes: int = 0


class JobResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it. `new_version` is false when identical content was there; `bytes_stored` after dedup.

    A rank's contribution has no `version` before the last rank's is there; `aborted` says why it never will.
    """

    version: int | None = None
    new_version: bool = True
    digest: Octets = b""
    bytes_stored: int = 0
    files: int = 0
    bytes: int = 0
    warnings: tuple[str, ...] = ()
    aborted: str = ""


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why the last try failed, in the words of SyncdError."""

    code: str
    what: str
    why: str = ""
    hint: str = ""
    retry: bool = False


class JobRow(msgspec.Struct, frozen=True):
    """One job. `draft` is that of an upload, None for downloads; times in seconds since the epoch, for people."""

    job: str
    kind: Kind
    state: State
    repo: str
    draft: str | None
    project: str
    name: str
    spec: UploadSpec | DownloadSpec
    created: float
    updated: float
    resume: State | None = None
    result: JobResult | None = None
    error: Failure | None = None
    attempt: int = 0


_COLUMNS = "job, kind, state, resume, repo, draft, project, name, spec, result, error, attempt, created, updated"
_OPEN = "state IN ({})".format(", ".join(f"'{state}'" for state in State if state not in ENDED))
"""Said positively: ended jobs are many, and only so the index on `state` passes them by."""
_FAILED = f"state = '{State.FAILED}'"
_NAMED = 3
"""How many of the jobs are named to somebody whose word could mean each of them."""
_ORDER = "ORDER BY created DESC, job DESC"


class JobRows:
    """The verbs on jobs. Stateless but for the ledger; every verb is one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def accept(self, row: JobRow) -> JobRow:
        """Promise a job: insert it and, for an upload, mark its draft as logged, durably. Returns what is stored.

        May be repeated: a draft that was logged before gives the job it became, and nothing is written.
        What an upload's spec says of files, bytes and ways is what its draft holds in this very transaction.

        Raises:
            NotFound: the draft does not exist (any more); its pins are gone, so the files must be added again.
        """
        return await self._ledger.write(lambda db: _accept(db, row), durable=True)

    async def get(self, job: str) -> JobRow:
        """Return one job.

        Raises:
            NotFound: there is none of that id.
        """
        row = await self._ledger.read(lambda db: _one(db, "job = ?", job))
        if row is None:
            raise _no_job(job)
        return row

    async def named(self, start: str) -> JobRow:
        """Return the one job whose id is, or begins with, `start`.

        Raises:
            NotFound: there is none.
            InvalidInput: several ids begin so; some of them are named.
        """
        found = await self._ledger.read(lambda db: _starting(db, start))
        if not found:
            raise _no_job(start)
        if len(found) > 1 and found[0].job != start:
            names = ", ".join(row.job for row in found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
            raise InvalidInput(f"more than one job begins with {start}", names, "type more of its id")
        return found[0]

    async def failed_count(self) -> int:
        """Return how many uploads failed and were not cancelled since: their bytes are held until somebody acts.

        A download that failed holds nothing, and who asked for it was told.
        """
        query = f"SELECT count(*) FROM jobs WHERE {_FAILED} AND kind = '{Kind.UPLOAD}'"
        return await self._ledger.read(lambda db: int(db.execute(query).fetchone()[0]))

    async def of_draft(self, draft: str) -> JobRow | None:
        """Return the job that a draft became, None while it is a draft."""
        return await self._ledger.read(lambda db: _one(db, "draft = ?", draft))

    async def page(
        self, open_only: bool = False, after: str = "", limit: int = 200, failed_only: bool = False
    ) -> list[JobRow]:
        """Return up to `limit` jobs, newest first, that follow the job `after` in that order ("": from the newest).

        `open_only` leaves out those that ended, `failed_only` all but those that failed.

        Raises:
            NotFound: there is no job `after`.
        """
        where = f"{_OPEN if open_only else '1'} AND {_FAILED if failed_only else '1'}"
        return await self._ledger.read(lambda db: _page(db, where, after, limit))

    async def open_jobs(self) -> list[JobRow]:
        """Return every job that has not ended, oldest first: what a restart picks up."""
        return await self._ledger.read(lambda db: _many(db, f"{_OPEN} ORDER BY created, job"))

    async def undiscarded(self) -> list[JobRow]:
        """Return cancelled uploads whose draft still has rows: a crash came between the word and the deed."""
        where = (
            "state = 'cancelled' AND draft IS NOT NULL AND (draft IN (SELECT draft FROM drafts)"
            " OR draft IN (SELECT draft FROM pins) OR draft IN (SELECT draft FROM files)) ORDER BY created, job"
        )
        return await self._ledger.read(lambda db: _many(db, where))

    async def downloads(self) -> list[JobRow]:
        """Return every download that is or was, the newest first."""
        return await self._ledger.read(lambda db: _many(db, f"kind = '{Kind.DOWNLOAD}' {_ORDER}"))

    async def of_artifact(self, project: str, name: str) -> list[JobRow]:
        """Return the open uploads to one artifact, oldest first."""
        where = f"project = ? AND name = ? AND kind = 'upload' AND {_OPEN} ORDER BY created, job"
        return await self._ledger.read(lambda db: _many(db, where, project, name))

    async def move(
        self,
        job: str,
        state: State,
        *,
        resume: State | None,
        attempt: int,
        updated: float,
        error: Failure | None = None,
        result: JobResult | None = None,
        durable: bool = False,
    ) -> JobRow:
        """Note a job's new state and return the row. `error` None clears it; `result` None keeps what is there.

        Raises:
            NotFound: there is no such job.
        """
        values = (state, resume or "", attempt, updated, _pack(error), _pack(result), job)
        return await self._ledger.write(lambda db: _move(db, values, job), durable=durable)


def _accept(db: sqlite3.Connection, row: JobRow) -> JobRow:
    if row.draft is not None:
        before = _one(db, "draft = ?", row.draft)
        if before is not None:
            return before
        if db.execute("UPDATE drafts SET job = ? WHERE draft = ?", (row.job, row.draft)).rowcount != 1:
            raise NotFound(
                f"there is no draft {row.draft}",
                "it was dropped, or its client was gone for too long",
                "add the files again",
            )
        row = _counted(row, tally(db, row.draft))
    values = (
        row.job, row.kind, row.state, row.resume or "", row.repo, row.draft, row.project, row.name,
        _pack(row.spec), _pack(row.result), _pack(row.error), row.attempt, row.created, row.updated,
    )  # fmt: skip
    db.execute(f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
    return row


def _counted(row: JobRow, held: Tally) -> JobRow:
    """Return the row of an upload with what its draft holds now: nothing is added to a draft that became a job."""
    assert isinstance(row.spec, UploadSpec)
    spec = msgspec.structs.replace(row.spec, files=held.files, bytes=held.bytes, ways=held.ways)
    return msgspec.structs.replace(row, spec=spec)


def _move(db: sqlite3.Connection, values: tuple[object, ...], job: str) -> JobRow:
    db.execute(
        "UPDATE jobs SET state = ?, resume = ?, attempt = ?, updated = ?, error = ?,"
        " result = coalesce(?, result) WHERE job = ?",
        values,
    )
    row = _one(db, "job = ?", job)
    if row is None:
        raise _no_job(job)
    return row


def _page(db: sqlite3.Connection, where: str, after: str, limit: int) -> list[JobRow]:
    if not after:
        return _many(db, f"{where} {_ORDER} LIMIT ?", limit)
    cursor = db.execute("SELECT created, job FROM jobs WHERE job = ?", (after,)).fetchone()
    if cursor is None:
        raise _no_job(after)
    return _many(db, f"{where} AND (created, job) < (?, ?) {_ORDER} LIMIT ?", *cursor, limit)


def _starting(db: sqlite3.Connection, start: str) -> list[JobRow]:
    """Return some jobs whose ids begin so, the shortest first; no text, no job."""
    if not start:
        return []
    return _many(db, "job >= ? AND substr(job, 1, ?) = ? ORDER BY job LIMIT ?", start, len(start), start, _NAMED + 1)


def _one(db: sqlite3.Connection, where: str, *values: object) -> JobRow | None:
    rows = _many(db, where, *values)
    return rows[0] if rows else None


def _many(db: sqlite3.Connection, where: str, *values: object) -> list[JobRow]:
    return [_row(*columns) for columns in db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE {where}", values)]


def _row(
    job: str, kind: str, state: str, resume: str, repo: str, draft: str | None, project: str, name: str,
    spec: bytes, result: bytes | None, error: bytes | None, attempt: int, created: float, updated: float,
) -> JobRow:  # fmt: skip
    try:
        return JobRow(
            job=job,
            kind=Kind(kind),
            state=State(state),
            resume=State(resume) if resume else None,
            repo=repo,
            draft=draft,
            project=project,
            name=name,
            spec=_decode(spec, UploadSpec) if kind == Kind.UPLOAD else _decode(spec, DownloadSpec),
            result=None if result is None else _decode(result, JobResult),
            error=None if error is None else _decode(error, Failure),
            attempt=attempt,
            created=created,
            updated=updated,
        )
    except ValueError as cause:  # an unknown word; msgspec's own errors are ValueErrors too
        raise Corrupt(f"the journal's row of job {job} is damaged", str(cause), "see `syncd doctor`") from cause


def _pack(value: msgspec.Struct | None) -> bytes | None:
    return None if value is None else msgspec.msgpack.encode(value)


def _decode(data: bytes, shape: type[S]) -> S:
    return msgspec.msgpack.decode(data, type=shape)


def _no_job(job: str) -> NotFound:
    return NotFound(f"there is no job {job}", "it never was, or ended long ago and is forgotten", "see `syncctl jobs`")
