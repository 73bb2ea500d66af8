"""Runs jobs: asks the table what comes next, starts the flow, journals the outcome, and asks again.

One task a job, from acceptance to its end or the daemon's. The journal row is written before the work it stands for
begins, so a restart finds every open job at the place where it was. Uploads to one artifact run one after the other
in the order they were accepted: that is the order of their versions.

What becomes of an error is decided here and nowhere else. An upload gives up only what nobody can mend (another type
under the name, lost source bytes): everything else is tried again for ever, with growing pauses, and seen in `status`.
A download fails at once unless the remote may come back, and then after a few tries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec.structs import replace

from syncd.clock import Chance, Clock
from syncd.download.run import Downloads
from syncd.errors import Conflict, InvalidInput, NotFound, Refused, SourceLost, SyncdError
from syncd.events import Bus, JobChanged
from syncd.jobs.backoff import retry_delay
from syncd.jobs.machine import IllegalMove, pick_up, step
from syncd.jobs.states import (
    CancelAsked,
    Commit,
    Committed,
    Discard,
    Due,
    Event,
    Faulted,
    Fetch,
    Fetched,
    Instruction,
    JobState,
    Kind,
    Release,
    Released,
    RetryLater,
    Send,
    State,
    Stored,
)  # fmt: skip
from syncd.journal.core import Ledger
from syncd.journal.jobs import DownloadSpec, Failure, JobResult, JobRow, JobRows, UploadSpec
from syncd.journal.packs import forget_progress
from syncd.model.names import ArtifactKey
from syncd.pin.pins import Pins
from syncd.upload.run import Uploads

log = logging.getLogger(__name__)

_HOPELESS = (Conflict, InvalidInput, SourceLost, Refused, NotFound)
_PUBLISH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class EngineParams:
    """How many flows run at once, and how often a download is tried."""

    uploads: int = 2
    downloads: int = 2
    download_tries: int = 5


@dataclass(frozen=True, slots=True)
class Flows:
    """The flows of the repository that was opened."""

    uploads: Uploads
    downloads: Downloads


class JobProgress:
    """How far a running job is. Plain counters of the loop; publishing is throttled."""

    def __init__(self, job: str, bus: Bus, clock: Clock) -> None:
        self._job = job
        self._bus = bus
        self._clock = clock
        self._told = clock.monotonic()
        self.restart()

    def restart(self) -> None:
        """Count from the start again: a new try begins."""
        self.bytes_done = 0
        self.bytes_stored = 0
        self.files_done = 0

    def read(self, size: int) -> None:
        """So many more bytes are dealt with."""
        self.bytes_done += size
        self._tell()

    def stored(self, size: int) -> None:
        """So many more bytes went over the wire."""
        self.bytes_stored += size
        self._tell()

    def file_done(self) -> None:
        """One more file is through."""
        self.files_done += 1
        self._tell()

    def _tell(self) -> None:
        now = self._clock.monotonic()
        if now - self._told >= _PUBLISH_SECONDS:
            self._told = now
            self._bus.publish(JobChanged(self._job))


class _Live:
    """A job that has a task: its progress, what its last work gave, and how to interrupt it."""

    def __init__(self, progress: JobProgress) -> None:
        self.progress = progress
        self.warnings: tuple[str, ...] = ()
        self.result: JobResult | None = None
        self.fault: Failure | None = None
        self.work: asyncio.Task[Event] | None = None
        self.cancel_asked: asyncio.Future[None] | None = None


class Engine:
    """Runs every open job of the journal.

    Args:
        ledger: the journal.
        flows: opens the repository's flows; raises while the remote is away.
        pins: what uploads hold.
        discard_download: removes what a download that was given up has left half done.
        bus: told about every change.
        rng: chance for the pauses.
        heard: told how work with the remote went: "ok", or the words of a failure.
    """

    def __init__(
        self, params: EngineParams, ledger: Ledger, flows: Callable[[], Awaitable[Flows]], pins: Pins,
        discard_download: Callable[[JobRow], Awaitable[None]], bus: Bus, clock: Clock, rng: Chance,
        heard: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._params = params
        self._ledger = ledger
        self._rows = JobRows(ledger)
        self._flows = flows
        self._pins = pins
        self._discard_download = discard_download
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._heard = heard
        self._uploading = asyncio.Semaphore(params.uploads)
        self._downloading = asyncio.Semaphore(params.downloads)
        self._turns: dict[ArtifactKey, asyncio.Lock] = {}
        self._live: dict[str, _Live] = {}
        self._accepted: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Pick up every open job, then run what is submitted, until cancelled."""
        for row in await self._rows.undiscarded():
            await self._discard_upload(row)
        async with asyncio.TaskGroup() as tasks:
            for row in await self._rows.open_jobs():
                self._start(row.job, tasks)
            while True:
                self._start(await self._accepted.get(), tasks)

    def submit(self, job: str) -> None:
        """Run a job that is in the journal."""
        self._accepted.put_nowait(job)

    def progress(self, job: str) -> JobProgress | None:
        """Return how far a running job is; None when it does not run."""
        live = self._live.get(job)
        return live.progress if live else None

    async def cancel(self, job: str) -> JobRow:
        """Stop a job and let go what it holds.

        Raises:
            NotFound: no such job.
            Conflict: it has ended, or its commit may already be in the log.
        """
        row = await self._rows.get(job)
        step(_state(row), CancelAsked())  # legal? raises, and says what can be done instead
        live = self._live.get(job)
        if live is None:
            return await self._end_cancelled(row, step(_state(row), CancelAsked())[0])
        if live.cancel_asked is None:
            live.cancel_asked = asyncio.get_running_loop().create_future()
            if live.work is not None:
                live.work.cancel()
        await asyncio.shield(live.cancel_asked)
        return await self._rows.get(job)

    def _start(self, job: str, tasks: asyncio.TaskGroup) -> None:
        if job not in self._live:
            self._live[job] = _Live(JobProgress(job, self._bus, self._clock))
            tasks.create_task(self._drive(job), name=f"job {job}")

    async def _drive(self, job: str) -> None:
        row = await self._rows.get(job)
        live = self._live[job]
        try:
            if row.kind is Kind.UPLOAD:
                async with self._turns.setdefault(ArtifactKey(row.project, row.name), asyncio.Lock()):
                    await self._through(row, live)
            else:
                await self._through(row, live)
        finally:
            del self._live[job]
            self._answer_cancel(live, None)
            self._bus.publish(JobChanged(job))

    async def _through(self, row: JobRow, live: _Live) -> None:
        state, todo = pick_up(_state(row))
        row = await self._move(row, state, live)
        while todo:
            event = await self._work(todo[0], row, live)
            if live.cancel_asked is not None and not live.cancel_asked.done():
                try:
                    state, todo = step(_state(row), CancelAsked())
                except IllegalMove as refused:
                    self._answer_cancel(live, refused)
                    state, todo = step(_state(row), event)
            else:
                state, todo = step(_state(row), event)
            if todo and isinstance(todo[0], Discard):
                await self._end_cancelled(row, state, live)
                return
            row = await self._move(row, state, live)

    async def _work(self, instruction: Instruction, row: JobRow, live: _Live) -> Event:
        """Carry one instruction out in a task of its own, so that a cancel can interrupt just that."""
        if live.cancel_asked is None or live.cancel_asked.done():
            async with asyncio.TaskGroup() as one:
                live.work = one.create_task(self._carry_out(instruction, row, live))
            work, live.work = live.work, None
            if not work.cancelled():
                return work.result()
        return Faulted(retry=True)  # interrupted: the cancel that did it decides what that means

    async def _carry_out(self, instruction: Instruction, row: JobRow, live: _Live) -> Event:
        try:
            return await self._perform(instruction, row, live)
        except SyncdError as error:
            return self._fault(row, live, error)
        except OSError as error:
            return self._fault(row, live, SyncdError("the system refused", str(error), "see the daemon's log"))
        except Exception as error:
            log.exception("job %s: unexpected error", row.job)
            return self._fault(
                row, live, SyncdError("unexpected error in the daemon", repr(error), "see the daemon's log")
            )

    async def _perform(self, instruction: Instruction, row: JobRow, live: _Live) -> Event:
        match instruction:
            case RetryLater(attempt):
                await self._clock.sleep(retry_delay(attempt, self._rng.random()))
                return Due()
            case Send():
                live.progress.restart()
                async with self._uploading:
                    flows = await self._flows()
                    live.warnings = tuple(await flows.uploads.store(row, _upload(row), live.progress))
                return Stored()
            case Commit():
                flows = await self._flows()
                live.result = await flows.uploads.commit(row, _upload(row))
                return Committed()
            case Release():
                await self._pins.release(row.draft or "")
                await forget_progress(self._ledger, row.draft or "", row.job)
                return Released()
            case Fetch():
                live.progress.restart()
                async with self._downloading:
                    flows = await self._flows()
                    live.result = await flows.downloads.fetch(row, _download(row), live.progress)
                return Fetched()
            case _:
                raise AssertionError(f"{instruction} is carried out elsewhere")

    def _fault(self, row: JobRow, live: _Live, error: SyncdError) -> Event:
        upload = row.kind is Kind.UPLOAD
        tries_left = upload or row.attempt + 1 < self._params.download_tries
        retry = (not isinstance(error, _HOPELESS)) if upload else (error.retry and tries_left)
        live.fault = Failure(error.code, error.what, error.why, error.hint, retry)
        log.warning("job %s (%s %s/%s): %s", row.job, row.kind, row.project, row.name, error)
        if error.code.startswith("remote"):
            self._heard(error.what)
        return Faulted(retry)

    async def _move(self, row: JobRow, state: JobState, live: _Live | None = None) -> JobRow:
        """Journal a move and tell everybody. Promises and ends are durable, steps of progress merely ordered."""
        result = live.result if live else None
        if live and result and live.warnings:
            result = replace(result, warnings=(*result.warnings, *live.warnings))
        keeps_error = state.state not in (State.DONE, State.CANCELLED)  # a job that moves on says what held it up
        row = await self._rows.move(
            row.job,
            state.state,
            resume=state.resume,
            attempt=state.attempt,
            updated=self._clock.now(),
            error=(live.fault if live else None) or (row.error if keeps_error else None),
            result=result,
            durable=state.state in (State.COMMITTED, State.DONE, State.FAILED, State.CANCELLED),
        )
        if live:
            live.fault = None
        if result:
            self._heard("ok")
        self._bus.publish(JobChanged(row.job))
        return row

    async def _end_cancelled(self, row: JobRow, state: JobState, live: _Live | None = None) -> JobRow:
        """Journal that a job is cancelled, and drop what it holds on this node.

        The word first where the journal itself knows what is to be dropped: a crash before the end is finished at the
        next start. A download's work directory is in no table, so there the deed comes first: after a crash in between
        the download goes on, and nobody was told otherwise.
        """
        if row.kind is Kind.DOWNLOAD:
            await self._discard_download(row)
            return await self._move(row, state, live)
        row = await self._move(row, state, live)
        await self._discard_upload(row)
        return row

    async def _discard_upload(self, row: JobRow) -> None:
        await self._pins.drop(row.draft or "")
        await forget_progress(self._ledger, row.draft or "", row.job)

    @staticmethod
    def _answer_cancel(live: _Live, refusal: IllegalMove | None) -> None:
        if live.cancel_asked is None or live.cancel_asked.done():
            return
        if refusal is None:
            live.cancel_asked.set_result(None)
        else:
            live.cancel_asked.set_exception(refusal)


def _state(row: JobRow) -> JobState:
    return JobState(row.kind, row.state, row.resume, row.attempt)


def _upload(row: JobRow) -> UploadSpec:
    assert isinstance(row.spec, UploadSpec)
    return row.spec


def _download(row: JobRow) -> DownloadSpec:
    assert isinstance(row.spec, DownloadSpec)
    return row.spec
