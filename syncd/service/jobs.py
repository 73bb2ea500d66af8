"""Verbs on jobs: show, list, wait, cancel; and how a job row looks to a person."""

from __future__ import annotations

import asyncio

from syncd.engine import Engine
from syncd.errors import Aborted, SyncdError, TimedOut
from syncd.events import Bus
from syncd.jobs.states import State
from syncd.journal.jobs import DownloadSpec, Failure, JobRow, JobRows, UploadSpec
from syncd.model.views import ErrorView, JobView
from syncd.service.groups import GroupVerbs, is_contribution

_STUCK_TRIES = 3
_NEEDS_A_PERSON = frozenset({"remote_refused", "corrupt"})
_PAGE_LIMIT = 500


class JobVerbs:
    """What can be said about jobs.

    Args:
        rows: the journal's jobs.
        engine: runs them.
        bus: tells when one changes.
        groups: knows when what ranks contributed to is complete.
    """

    def __init__(self, rows: JobRows, engine: Engine, bus: Bus, groups: GroupVerbs) -> None:
        self._groups = groups
        self._rows = rows
        self._engine = engine
        self._bus = bus

    async def show(self, job: str) -> JobView:
        """Return one job, named by its id or a beginning of it; NotFound, InvalidInput where several begin so."""
        return self.view(await self._rows.named(job))

    async def page(self, open_only: bool, after: str, limit: int) -> tuple[list[JobView], str]:
        """Return a page of jobs, newest first, behind the job `after`, and where the next page begins."""
        size = max(1, min(limit, _PAGE_LIMIT))
        rows = await self._rows.page(open_only, after, size + 1)
        return [self.view(row) for row in rows[:size]], rows[size - 1].job if len(rows) > size else ""

    async def cancel(self, job: str) -> JobView:
        """Stop a job, named as in `show`, and let go what it holds; NotFound, InvalidInput, Conflict."""
        return self.view(await self._engine.cancel((await self._rows.named(job)).job))

    async def full_ids(self, jobs: list[str]) -> list[str]:
        """Return the ids of jobs named as in `show`, each once; NotFound, InvalidInput."""
        return list(dict.fromkeys([(await self._rows.named(job)).job for job in jobs]))

    async def open_ids(self) -> list[str]:
        """Return the ids of all jobs that have not ended, oldest first."""
        return [row.job for row in await self._rows.open_jobs()]

    async def wait(self, jobs: list[str], timeout: float | None) -> list[JobView]:
        """Return the jobs once all have ended or cannot go on without a person; a rank's when its version exists.

        Raises:
            NotFound: one does not exist.
            TimedOut: `timeout` seconds have passed; the jobs go on. Names the ranks that are missing.
        """
        try:
            async with asyncio.timeout(timeout):
                return [await self._until_settled(job) for job in jobs]
        except TimeoutError as error:
            missing = [await self._groups.who_is_missing(row) for row in await self._contributions(jobs)]
            why = "; ".join(dict.fromkeys(filter(None, missing))) or "the work goes on in the daemon"
            raise TimedOut(f"not done after {timeout:g} seconds", why, "syncctl wait") from error

    async def _contributions(self, jobs: list[str]) -> list[JobRow]:
        return [row for row in [await self._rows.get(job) for job in jobs] if is_contribution(row)]

    async def _until_settled(self, job: str) -> JobView:
        with self._bus.listen() as changes:
            while True:
                row = await self._rows.get(job)
                if is_contribution(row):
                    row = await self._groups.outcome(row)
                if row.state.ended or is_stuck(row):
                    return self.view(row)
                while (await changes.next()).job != job:
                    pass

    def view(self, row: JobRow) -> JobView:
        """Return a row as a person sees it, with the progress of a running job."""
        progress = self._engine.progress(row.job)
        result, spec = row.result, row.spec
        ended = row.state in (State.DONE, State.COMMITTED)
        error = row.error if row.state is not State.DONE else _aborted(row)
        rank = spec if isinstance(spec, UploadSpec) else UploadSpec("", "")
        return JobView(
            job=row.job,
            kind=row.kind.value,
            state=State.FAILED.value if row.state is State.DONE and error else row.state.value,
            project=row.project,
            name=row.name,
            type=spec.type if isinstance(spec, UploadSpec) else "",
            version=result.version if result else spec.version if isinstance(spec, DownloadSpec) else None,
            new_version=result.new_version if result else True,
            digest=result.digest.hex() if result else "",
            bytes_total=spec.bytes,
            bytes_done=spec.bytes if ended else min(progress.bytes_done, spec.bytes) if progress else 0,
            bytes_stored=result.bytes_stored if result else progress.bytes_stored if progress else 0,
            files_total=spec.files,
            files_done=spec.files if ended else min(progress.files_done, spec.files) if progress else 0,
            attempt=row.attempt,
            created=row.created,
            updated=row.updated,
            root=spec.root if isinstance(spec, DownloadSpec) else b"",
            warnings=list(result.warnings) if result else [],
            error=error_view(error) if error else None,
            group=rank.group,
            rank=rank.rank,
            world_size=rank.world_size,
        )


def is_stuck(row: JobRow) -> bool:
    """Whether whoever waits should be told now: it is tried again and again, and somebody should look."""
    if row.state is not State.WAITING or row.error is None:
        return False
    return row.attempt >= _STUCK_TRIES or row.error.code in _NEEDS_A_PERSON


def _aborted(row: JobRow) -> Failure | None:
    """Return why a rank's contribution, which is in the log, will never be a version."""
    if row.result is None or not row.result.aborted:
        return None
    spec = row.spec
    name = spec.group if isinstance(spec, UploadSpec) else ""
    what = f"the group {name} of {row.project}/{row.name} was aborted"
    return Failure(Aborted.code, what, row.result.aborted, "a new attempt needs another group name")


def error_view(failure: Failure) -> ErrorView:
    """Return a journalled failure as a view."""
    return ErrorView(failure.code, failure.what, failure.why, failure.hint, failure.retry)


def failure_error(failure: Failure) -> SyncdError:
    """Return a journalled failure as the error it was."""
    for kind in _all_kinds(SyncdError):
        if kind.code == failure.code:
            return kind(failure.what, failure.why, failure.hint)
    return SyncdError(failure.what, failure.why, failure.hint)


def _all_kinds(root: type[SyncdError]) -> list[type[SyncdError]]:
    return [root, *(kind for below in root.__subclasses__() for kind in _all_kinds(below))]
