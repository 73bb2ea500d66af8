"""The engine: one task a job, and the verbs that start, watch and cancel it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakValueDictionary

from msgspec.structs import replace

from syncd.clock import Chance, Clock
from syncd.download.run import Downloads
from syncd.engine.progress import JobProgress, Live
from syncd.errors import Aborted, Conflict, Corrupt, InvalidInput, LocalDisk, NotFound, SourceLost, SyncdError
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
from syncd.journal.jobs import DownloadSpec, Failure, JobRow, JobRows, UploadSpec
from syncd.journal.packs import forget_progress
from syncd.model.names import ArtifactKey
from syncd.pin.pins import Pins
from syncd.upload.run import Uploads

log = logging.getLogger(__name__)

T = TypeVar("T")

_HOPELESS = (Aborted, Conflict, InvalidInput, SourceLost, NotFound)


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
        downloads: opens the flow of downloads where the remote may be away and a mirror not; None: as `flows` does.
    """

    def __init__(
        self, params: EngineParams, ledger: Ledger, flows: Callable[[], Awaitable[Flows]], pins: Pins,
        discard_download: Callable[[JobRow], Awaitable[None]], bus: Bus, clock: Clock, rng: Chance,
        heard: Callable[[str], None], downloads: Callable[[], Awaitable[Downloads]] | None = None,
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
        self._downloads = downloads
        self._uploading = asyncio.Semaphore(params.uploads)
        self._downloading = asyncio.Semaphore(params.downloads)
        self._turns: WeakValueDictionary[Shared, asyncio.Lock] = WeakValueDictionary()
        self._live: dict[str, Live] = {}
        self._accepted: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Pick up every open job, then run what is submitted, until cancelled."""
        for row in await self._insist(self._rows.undiscarded):
            await self._discard(row)
        async with asyncio.TaskGroup() as tasks:
            for row in await self._insist(self._rows.open_jobs):
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

    def next_try(self, job: str) -> float:
        """Return when a waiting job tries again, in seconds since the epoch; 0 when it does not wait."""
        live = self._live.get(job)
        return live.next_try if live else 0.0

    async def cancel(self, job: str) -> JobRow:
        """Stop a job and let go what it holds.

        Raises:
            NotFound: no such job.
            Conflict: it has ended, or its commit may already be in the log.
        """
        row = await self._rows.get(job)
        state, _ = step(_state(row), CancelAsked())  # legal? raises, and says what can be done instead
        live = self._live.get(job)
        if live is None or not live.begun:
            if live is not None:
                live.dropped = True
            return await self._cancelled(row, state)
        if live.cancel_asked is None:
            live.cancel_asked = asyncio.get_running_loop().create_future()
            if live.work is not None:
                live.work.cancel()
        await asyncio.shield(live.cancel_asked)
        return await self._rows.get(job)

    def _start(self, job: str, tasks: asyncio.TaskGroup) -> None:
        if job not in self._live:
            self._live[job] = Live(JobProgress(job, self._bus, self._clock))
            tasks.create_task(self._drive(job), name=f"job {job}")

    async def _drive(self, job: str) -> None:
        live = self._live[job]
        try:
            row = await self._insist(lambda: self._rows.get(job))
            async with self._turns.setdefault(_what_is_shared(row), asyncio.Lock()):
                await self._begin(job, live)
        except Exception:  # a bug: this job waits for the next start, the others and the daemon go on
            log.exception("job %s: it stands still until the next start", job)
        finally:
            del self._live[job]
            self._answer_cancel(live, None)
            self._bus.publish(JobChanged(job))

    async def _begin(self, job: str, live: Live) -> None:
        row = await self._insist(lambda: self._rows.get(job))
        if not live.dropped and not row.state.ended:
            live.begun = True
            await self._through(row, live)

    async def _through(self, row: JobRow, live: Live) -> None:
        state, todo = pick_up(_state(row))
        row = await self._move(row, state, live)
        while todo:
            event = await self._work(todo[0], row, live)
            try:
                cancelling = live.cancel_asked is not None and not live.cancel_asked.done()
                state, todo = step(_state(row), CancelAsked() if cancelling else event)
            except IllegalMove as refused:
                if not cancelling:
                    raise
                self._answer_cancel(live, refused)
                state, todo = step(_state(row), event)
            if todo and isinstance(todo[0], Discard):
                await self._cancelled(row, state)
                return
            row = await self._move(row, state, live)
        if row.kind is Kind.DOWNLOAD and row.state is State.FAILED:
            await self._discard(row)  # another try is another job, and would not find it

    async def _cancelled(self, row: JobRow, state: JobState) -> JobRow:
        """Journal that a job is cancelled and let go what it held here.

        For an upload the word comes before the deed: pins gone without it would be lost bytes, and a crash in between
        is seen by the next start. For a download the deed comes first: after a crash the job goes on, uncancelled.
        """
        if row.kind is Kind.DOWNLOAD:
            await self._discard(row)
            return await self._move(row, state)
        row = await self._move(row, state)
        await self._discard(row)
        return row

    async def _work(self, instruction: Instruction, row: JobRow, live: Live) -> Event:
        """Carry one instruction out in a task of its own, so that a cancel can interrupt just that."""
        if live.cancel_asked is None or live.cancel_asked.done():
            async with asyncio.TaskGroup() as one:
                live.work = one.create_task(self._carry_out(instruction, row, live))
            work, live.work = live.work, None
            if not work.cancelled():
                return work.result()
        return Faulted(retry=True)  # interrupted: the cancel that did it decides what that means

    async def _carry_out(self, instruction: Instruction, row: JobRow, live: Live) -> Event:
        try:
            event = await self._perform(instruction, row, live)
        except SyncdError as error:
            return self._fault(row, live, error)
        except OSError as error:
            return self._fault(row, live, SyncdError("the system refused", str(error), "see the daemon's log"))
        except Exception as error:
            log.exception("job %s: unexpected error", row.job)
            return self._fault(
                row, live, SyncdError("unexpected error in the daemon", repr(error), "see the daemon's log")
            )
        if isinstance(event, Stored | Committed | Fetched):
            self._heard("ok")
        return event

    async def _perform(self, instruction: Instruction, row: JobRow, live: Live) -> Event:
        match instruction:
            case RetryLater(attempt):
                delay = retry_delay(attempt, self._rng.random())
                live.next_try = self._clock.now() + delay
                try:
                    await self._clock.sleep(delay)
                finally:
                    live.next_try = 0.0
                return Due()
            case Send():
                live.progress.restart()
                async with self._uploading:
                    flows = await self._flows()
                    live.warnings = tuple(await flows.uploads.store(row, _upload(row), live.progress))
                return Stored()
            case Commit():
                flows = await self._flows()
                live.result = await flows.uploads.commit(row, _upload(row), live.progress)
                return Committed()
            case Release():
                await self._let_go(row)
                return Released()
            case Fetch():
                live.progress.restart()
                async with self._downloading:
                    downloads = await self._downloads() if self._downloads else (await self._flows()).downloads
                    live.result = await downloads.fetch(row, _download(row), live.progress)
                    live.result = replace(live.result, bytes_stored=live.progress.bytes_stored)
                return Fetched()
            case _:
                raise AssertionError(f"{instruction} is carried out elsewhere")

    def _fault(self, row: JobRow, live: Live, error: SyncdError) -> Event:
        upload = row.kind is Kind.UPLOAD
        tries_left = upload or row.attempt + 1 < self._params.download_tries
        retry = (not isinstance(error, _HOPELESS)) if upload else (error.retry and tries_left)
        live.fault = Failure(error.code, error.what, error.why, error.hint, retry)
        log.warning("job %s (%s %s/%s): %s", row.job, row.kind, row.project, row.name, error)
        if error.code.startswith("remote"):
            self._heard(error.what)
        return Faulted(retry)

    async def _move(self, row: JobRow, state: JobState, live: Live | None = None) -> JobRow:
        """Journal a move and tell everybody. Promises and ends are durable, steps of progress merely ordered."""
        result = live.result if live else None
        if live and result and live.warnings:
            result = replace(result, warnings=(*result.warnings, *live.warnings))
        keeps_error = state.state not in (State.DONE, State.CANCELLED)  # a job that moves on says what held it up
        error = (live.fault if live else None) or (row.error if keeps_error else None)
        row = await self._insist(
            lambda: self._rows.move(
                row.job,
                state.state,
                resume=state.resume,
                attempt=state.attempt,
                updated=self._clock.now(),
                error=error,
                result=result,
                durable=state.state in (State.COMMITTED, State.DONE, State.FAILED, State.CANCELLED),
            )
        )
        if live:
            live.fault = None
        self._bus.publish(JobChanged(row.job))
        return row

    async def _insist(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Use the journal, again and again while it cannot be used: its disk is full, say."""
        attempt = 0
        while True:
            try:
                return await verb()
            except (LocalDisk, Corrupt) as error:
                attempt += 1
                log.error("the journal cannot be used, try %d: %s", attempt, error)
                await self._clock.sleep(retry_delay(attempt, self._rng.random()))

    async def _discard(self, row: JobRow) -> None:
        """Drop what a job that was cancelled, or a download that failed, holds on this node.

        What cannot be dropped now stays: an upload's until the next start, a download's for its owner to remove.
        """
        try:
            if row.kind is Kind.UPLOAD:
                await self._let_go(row)
            else:
                await self._discard_download(row)
        except (SyncdError, OSError) as error:
            log.warning("job %s has ended, but what it held stays for now: %s", row.job, error)

    async def _let_go(self, row: JobRow) -> None:
        """Drop an upload's pins, and what the journal keeps of how far it was."""
        await self._pins.release(row.draft or "")
        await forget_progress(self._ledger, row.draft or "", row.job)

    @staticmethod
    def _answer_cancel(live: Live, refusal: IllegalMove | None) -> None:
        if live.cancel_asked is None or live.cancel_asked.done():
            return
        if refusal is None:
            live.cancel_asked.set_result(None)
        else:
            live.cancel_asked.set_exception(refusal)


Shared = ArtifactKey | tuple[ArtifactKey, str, int] | bytes


def _what_is_shared(row: JobRow) -> Shared:
    """Return what jobs take turns at: uploads at an artifact, a rank's at the rank, downloads at a directory."""
    if isinstance(row.spec, DownloadSpec):
        return row.spec.root
    key = ArtifactKey(row.project, row.name)
    return (key, row.spec.group, row.spec.rank) if row.spec.group else key


def _state(row: JobRow) -> JobState:
    return JobState(row.kind, row.state, row.resume, row.attempt)


def _upload(row: JobRow) -> UploadSpec:
    assert isinstance(row.spec, UploadSpec)
    return row.spec


def _download(row: JobRow) -> DownloadSpec:
    assert isinstance(row.spec, DownloadSpec)
    return row.spec
