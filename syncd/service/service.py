"""The service: one object with every verb, for the socket and the page alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from syncd.budget import Budget
from syncd.clock import Chance, Clock, random_hex
from syncd.engine import Engine
from syncd.errors import Conflict, NotFound, SyncdError, root_cause
from syncd.events import Bus, Listener
from syncd.jobs.states import State
from syncd.journal.core import Ledger
from syncd.journal.jobs import JobRow, JobRows, RunFacts, UploadSpec
from syncd.journal.runs import note_input
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.mirror.run import Mirror
from syncd.model import names
from syncd.model.views import ArtifactView, JobView, StatusView, StepView, TakenView, VersionView, WatchView
from syncd.pin.pins import Pins
from syncd.repo.remote import Remote
from syncd.service.checks import CheckVerbs
from syncd.service.collection import CollectionVerbs
from syncd.service.copies import CopyVerbs
from syncd.service.drafts import DraftVerbs
from syncd.service.groups import GroupVerbs
from syncd.service.history import HistoryVerbs
from syncd.service.jobs import JobVerbs, failure_error, needs_a_person
from syncd.service.pruning import Pruner
from syncd.watch.watcher import Watcher

T = TypeVar("T")

_ALIVE_SECONDS = 5.0
_STEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Identity:
    """What the daemon knows about itself: for hello and status. Sizes in bytes, `started` display time."""

    version: str
    pid: int
    node: str
    started: float
    chunker: str
    memory_budget: int
    project: str
    staging: bytes
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """The rooms below, as the composition root made them. `memory` tells this process's resident bytes."""

    identity: Identity
    ledger: Ledger
    engine: Engine
    pins: Pins
    remote: Remote
    checks: CheckVerbs
    copies: CopyVerbs
    watcher: Watcher
    bus: Bus
    meter: Meter
    lane: Lane
    budget: Budget
    clock: Clock
    rng: Chance
    draft_ttl: float
    stop: Callable[[], None]
    memory: Callable[[], int]
    mirror: Mirror | None = None


class Service:
    """Every verb, by subject: `drafts`, `jobs`, `groups`, `history`, `checks`, `copies`, `collection`, `watcher`."""

    def __init__(self, parts: ServiceParts) -> None:
        self.identity = parts.identity
        self.watcher = parts.watcher
        self.checks = parts.checks
        self.copies = parts.copies
        self.bus = parts.bus
        self._parts = parts
        rows = JobRows(parts.ledger)
        self._rows = rows
        self.groups = GroupVerbs(
            parts.remote.repository, rows, parts.bus, parts.clock, parts.rng, parts.identity.node, self._transaction
        )
        self.jobs = JobVerbs(rows, parts.engine, parts.bus, self.groups, parts.clock)
        self.drafts = DraftVerbs(
            parts.ledger, parts.engine, parts.pins, parts.bus, parts.clock, parts.remote.url, self._transaction,
            parts.draft_ttl, parts.lane,
        )  # fmt: skip
        self.history = HistoryVerbs(
            parts.remote.repository, parts.lane, parts.budget, parts.clock, parts.identity.node, self._transaction,
            parts.remote.reading,
        )  # fmt: skip
        self.pruner = Pruner(parts.ledger, parts.clock)
        self.collection = CollectionVerbs(
            parts.remote.repository, parts.lane, parts.clock, parts.rng, parts.identity.node, parts.meter
        )
        self.clients = 0
        self.stopped = asyncio.Event()

    async def use(
        self, key: names.ArtifactKey, ref: str, type_: str, run: RunFacts | None, timeout: float | None
    ) -> VersionView:
        """Resolve a version and note its use; first wait for uploads of this daemon that could become it.

        Raises:
            NotFound: no such version.
            Conflict: it has another type.
            TimedOut: an upload it waits for takes longer than `timeout` seconds.
            SyncdError: what such an upload failed with.
        """
        await self._wait_for_uploads(key, ref, timeout)
        version = await self.history.show(key, ref)
        if type_ and version.type != type_:
            raise _other_type(key, version.type, type_)
        if run is None:
            return version
        used = f"{key}:v{version.version}"
        await note_input(self._parts.ledger, run.project, run.id, used, self._parts.clock.now())
        return replace(version, warnings=[*version.warnings, *await self.history.record_use(version, run.id)])

    async def get(self, key: names.ArtifactKey, ref: str, root: bytes) -> JobView:
        """Start restoring a version below a directory."""
        version = await self.history.show(key, ref)
        return self.jobs.view(await self.drafts.get(version, ref, root))

    async def show(self, key: names.ArtifactKey, ref: str) -> VersionView:
        """Return the version that `ref` names, with what a check has found wrong with it; NotFound."""
        version = await self.history.show(key, ref)
        repository = await self._parts.remote.reading()
        damage = await self.checks.damage(repository.id, key, version.version)
        told = [*version.warnings, f"damaged when last checked: {damage}"]
        return replace(version, warnings=told) if damage else version

    async def status(self) -> StatusView:
        """Return the daemon at a glance."""
        parts, identity = self._parts, self.identity
        open_rows = await self._rows.open_jobs()
        usage = await parts.pins.usage()
        states: dict[str, int] = {}
        for row in open_rows:
            states[row.state.value] = states.get(row.state.value, 0) + 1
        return StatusView(
            version=identity.version,
            pid=identity.pid,
            node=identity.node,
            started=identity.started,
            remote=parts.remote.url,
            remote_state=parts.remote.state,
            chunker=identity.chunker,
            jobs=states,
            queue_bytes=sum(self._left(row) for row in open_rows),
            spool_bytes=usage.bytes,
            memory_bytes=parts.memory(),
            memory_budget=identity.memory_budget,
            drafts=await parts.pins.draft_count(),
            watches=len(self.watcher.views()),
            pins=usage.files,
            warnings=list(identity.warnings),
            failed=await self._rows.failed_count(),
            next_try=min(filter(None, (parts.engine.next_try(row.job) for row in open_rows)), default=0.0),
            mirror=parts.mirror.url if parts.mirror else "",
            mirror_state=parts.mirror.state if parts.mirror else "",
            mirror_lag=parts.mirror.lag if parts.mirror else 0,
        )

    async def logged(self, draft: str) -> str | None:
        """Return the job that a draft became, None while it is one."""
        row = await self._rows.of_draft(draft)
        return row.job if row else None

    async def listed_jobs(self, limit: int) -> list[JobView]:
        """Return the newest jobs, for the page."""
        page, _ = await self.jobs.page(False, "", limit)
        return page

    async def listed_artifacts(self, limit: int) -> list[ArtifactView]:
        """Return artifacts of all projects, the one changed last first, for the page."""
        page, _ = await self.history.artifacts("", "", 1000)
        return sorted(page, key=lambda artifact: -artifact.updated)[:limit]

    async def ready(self) -> bool:
        """Whether new work is accepted: not while draining."""
        return not self.stopped.is_set()

    async def ping_journal(self) -> None:
        """Return when the journal has answered: the watchdog asks."""
        await self._parts.ledger.read(lambda db: db.execute("SELECT 1").fetchone())

    async def ping_leases(self) -> None:
        """Return while the thread that watches leases runs: without it a held writer would wait in vain."""
        if not self._parts.pins.watching:
            raise SyncdError("the lease watcher's thread has ended", "", "restart the daemon")

    async def busy(self) -> bool:
        """Whether anything keeps an autostarted daemon from leaving: a client, a job, a draft or a watch."""
        if self.clients or self.watcher.views() or await self._parts.pins.draft_count():
            return True
        return bool(await self._rows.open_jobs())

    async def alive(self) -> bool:
        """Whether the journal answers: what health checks and the watchdog ask (that the loop does, asking shows)."""
        try:
            async with asyncio.timeout(_ALIVE_SECONDS):
                await self.ping_journal()
        except TimeoutError:
            return False
        return True

    def stop(self) -> None:
        """Drain and end the daemon."""
        self.stopped.set()
        self._parts.stop()

    @property
    def remote_url(self) -> str:
        """The remote's address, without credentials."""
        return self._parts.remote.url

    async def uploads_of(self, key: names.ArtifactKey) -> list[str]:
        """Return the ids of open uploads to an artifact, oldest first."""
        return [row.job for row in await self._rows.of_artifact(key.project, key.name)]

    async def watches(self) -> list[WatchView]:
        """Return the watches, with what became of the jobs they made."""
        return [
            replace(view, taken=[await self._outcome(taken) for taken in view.taken]) for view in self.watcher.views()
        ]

    async def telling(
        self, jobs: list[str] | None, tell: Callable[[JobView], Awaitable[None]], work: Awaitable[T]
    ) -> T:
        """Do `work` and tell meanwhile how the jobs named (None: all) change; first, which of those named are held up.

        A listener that is slow misses steps, not the end. A listener that fails (its client went) ends the work.
        """

        async def pump(changes: Listener) -> None:
            for view in await self.jobs.waiting(jobs or []):
                await tell(view)
            async for change in changes:
                if jobs is None or change.job in jobs:
                    await tell(await self.jobs.show(change.job))

        try:
            with self.bus.listen() as changes:
                async with asyncio.TaskGroup() as tasks:
                    pumping = tasks.create_task(pump(changes))
                    result = await work
                    pumping.cancel()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        return result

    async def stepping(
        self,
        work: Callable[[Callable[[str, int, int], None]], Awaitable[T]],
        tell: Callable[[StepView], Awaitable[None]],
    ) -> T:
        """Do long work and tell meanwhile how far it is, now and then; the newest step counts.

        A listener that fails (its client went) ends the work.
        """
        newest: list[StepView] = []

        async def pump() -> None:
            told: StepView | None = None
            while True:
                await self._parts.clock.sleep(_STEP_SECONDS)
                if newest and newest[0] != told:
                    told = newest[0]
                    await tell(told)

        def note(step: str, done: int, total: int) -> None:
            newest[:] = [StepView(step, done, total)]

        try:
            async with asyncio.TaskGroup() as tasks:
                pumping = tasks.create_task(pump())
                result = await work(note)
                pumping.cancel()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        return result

    async def _wait_for_uploads(self, key: names.ArtifactKey, ref: str, timeout: float | None) -> None:
        waited = [row for row in await self._rows.of_artifact(key.project, key.name) if _could_become(row, ref)]
        if not waited or await self._exists(key, ref):
            return
        await self.jobs.wait([row.job for row in waited], timeout)
        last = await self._rows.get(waited[-1].job)
        if last.error is not None and (last.state is State.FAILED or needs_a_person(last)):
            raise failure_error(last.error)

    async def _exists(self, key: names.ArtifactKey, ref: str) -> bool:
        """Whether a version number is there already: then no open upload can become it."""
        if names.version_number(ref) is None:
            return False
        try:
            await self.history.show(key, ref)
        except NotFound:
            return False
        return True

    async def _outcome(self, taken: TakenView) -> TakenView:
        if not taken.job:
            return taken
        try:
            job = await self.jobs.show(taken.job)
        except NotFound:
            return taken
        return replace(taken, state=job.state, version=job.version)

    def _left(self, row: JobRow) -> int:
        progress = self._parts.engine.progress(row.job)
        return max(0, row.spec.bytes - (progress.bytes_done if progress else 0))

    def _transaction(self) -> str:
        return random_hex(self._parts.rng, 16)


def _could_become(row: JobRow, ref: str) -> bool:
    """Whether an open upload may be what `ref` means: `latest` and version numbers always, aliases it is given.

    Never a rank's: its version waits for other ranks, and they may wait for who asks.
    """
    if isinstance(row.spec, UploadSpec) and row.spec.group:
        return False
    aliases = row.spec.aliases if isinstance(row.spec, UploadSpec) else ()
    return ref == names.LATEST or names.version_number(ref) is not None or ref in aliases


def _other_type(key: names.ArtifactKey, there: str, wanted: str) -> Conflict:
    return Conflict(f"{key} has type '{there}', not '{wanted}'", "a name has one type for ever", f"use type '{there}'")
