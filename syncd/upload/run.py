"""One upload as a whole: the stages joined with bounded queues, then the manifest, then the row `prepared`.

Memory: a cut waits for budget before it reads, the line of cuts is short, and a full pack waits for a free send. Where
others wait for the bytes of the open pack, it is sealed before it is full (see syncd.budget).
Every failure ends the whole flow (one task group); what packs were stored by then is in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from enum import Enum

from syncd.budget import Account, Budget
from syncd.clock import Clock
from syncd.errors import NotFound, RemoteUnavailable, SourceLost, SyncdError, root_cause
from syncd.format.builder import Located, ManifestBuilder
from syncd.format.chunker import Cutter
from syncd.format.keys import manifest_key, pack_key
from syncd.format.manifest import DIRECTORY, FILE, SYMLINK, Entry, encode_manifest, manifest_hash
from syncd.format.pack import pack_nonce
from syncd.journal.core import Ledger
from syncd.journal.jobs import JobResult, JobRow, UploadSpec
from syncd.journal.packs import (
    ChunkRow,
    PreparedRow,
    StoredPack,
    forget_packs,
    forget_prepared,
    forget_progress,
    has_progress,
    learn_packs,
    pack_sizes,
    packs_known,
    packs_of_job,
    prepared,
    progress,
    record_prepared,
    stored_bytes,
)  # fmt: skip
from syncd.journal.pins import FileRow
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.model.names import ArtifactKey
from syncd.pin.pins import Pins
from syncd.repo.repository import Repository
from syncd.upload.commit import CommitStage, Fenced
from syncd.upload.cut import CutStage
from syncd.upload.pack import PackStage, Prepared
from syncd.upload.part import PartStage
from syncd.upload.parts import Chunking, Done, Progress, UploadParams, pack_id
from syncd.upload.scan import scan
from syncd.upload.seen import Seen
from syncd.upload.send import SendStage
from syncd.upload.union import UnionStage
from syncd.upload.wip import PacksInUse

_CUTS_AHEAD = 3
_CHECKS_AT_ONCE = 16
_FOREIGN_PACKS = 4096
_TYPES = {"file": FILE, "symlink": SYMLINK, "dir": DIRECTORY}


class _Mark(Enum):
    WAKE = "something else than a cut is to be looked at"
    END = "no cut comes any more"


class _Line:
    """Cuts on their way from the reader to the packer, in order, a few at most."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Awaitable[Prepared] | _Mark] = asyncio.Queue(_CUTS_AHEAD)

    async def put(self, item: Awaitable[Prepared] | _Mark) -> None:
        await self._queue.put(item)

    async def next(self) -> Awaitable[Prepared] | _Mark:
        return await self._queue.get()

    def wake(self) -> None:
        """Let `next` return soon: behind what is in the line, which moves on by itself."""
        if not self._queue.full():
            self._queue.put_nowait(_Mark.WAKE)


class Uploads:
    """Runs uploads. Stateless between them: what must survive is in the journal.

    Args:
        repository: where to.
        ledger: this node's memory.
        pins: where the promised bytes are.
        lane: threads for reading, hashing and compressing.
        cutter: the chunker implementation at hand.
        params: sizes of one upload.
        budget: bounds what all flows hold.
        clock, node: for the log entry.
        meter: counts dedup_bytes, commit_conflicts; holds last_commit.
    """

    def __init__(
        self, repository: Repository, ledger: Ledger, pins: Pins, lane: Lane, cutter: Cutter, params: UploadParams,
        budget: Budget, clock: Clock, node: str, meter: Meter | None = None,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._ledger = ledger
        self._pins = pins
        self._lane = lane
        self._chunking = Chunking(cutter, repository.record.chunker)
        self._params = params
        self._budget = budget
        self._commit = CommitStage(repository, clock, node)
        self._part = PartStage(repository, self._commit, UnionStage(repository, lane), clock)
        self._seen = Seen(repository, ledger)
        self._clock = clock
        self._meter = meter
        self._conflicts = 0

    async def store(self, job: JobRow, spec: UploadSpec, meter: Progress) -> list[str]:
        """Make everything the job's commit entry refers to durable in the remote (law L1). May be repeated.

        Returns:
            Warnings for the caller.

        Raises:
            Conflict: the artifact exists with another type.
            SourceLost: pinned bytes cannot be vouched for any more.
            RemoteUnavailable, RemoteRefused: as the remote says; what was stored stays stored.
        """
        if await prepared(self._ledger, job.job) is not None:
            return []
        epoch = await self._seen.learn()  # before anything is chosen
        key = ArtifactKey(job.project, job.name)
        await self._commit.check_type(key, spec.type)
        if self._commit.done(key, spec):
            return []
        if spec.group:
            self._part.check(key, spec)
        warnings = await self._learn_newest(key)
        try:
            with self._budget.account() as account:  # outside the group: it closes when no task holds anything
                async with asyncio.TaskGroup() as tasks:
                    await self._store_all(job, spec, epoch, meter, tasks, account)
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        return warnings

    async def commit(self, job: JobRow, spec: UploadSpec, meter: Progress) -> JobResult:
        """Write the commit entry of a job whose bytes are stored. May be repeated until it says done."""
        if job.attempt:  # it has waited, and may wait on: what it stored grows old
            in_use = PacksInUse(self._repository.store, spec.txn, set)
            await in_use.again(await packs_of_job(self._ledger, self._repository.id, job.job))
        while True:
            await self.store(job, spec, meter)  # nothing to do, unless the journal lost what it noted
            ready = await prepared(self._ledger, job.job)
            try:
                stored = await stored_bytes(self._ledger, job.job)
                finish = self._part.contribute if spec.group else self._commit.commit
                result = await finish(job, spec, ready, stored)
                break
            except Fenced as fenced:
                await self._choose_anew(job, fenced)
        if self._meter is not None:
            self._count(self._meter, spec, result)
        return result

    async def _choose_anew(self, job: JobRow, fenced: Fenced) -> None:
        """Forget what a collection that began meanwhile condemns, and the manifest: its name may be condemned too."""
        if await self._seen.learn() < fenced.epoch:
            raise RemoteUnavailable(
                f"a log is fenced by the collection epoch {fenced.epoch}, which cannot be read",
                "the remote does not show what was written before",
                "it is tried again",
            )
        await forget_prepared(self._ledger, job.job)

    def _count(self, meter: Meter, spec: UploadSpec, result: JobResult) -> None:
        meter.add("dedup_bytes", max(0, spec.bytes - result.bytes_stored))
        meter.set("last_commit", self._clock.now())
        conflicts = self._repository.conflicts()
        meter.add("commit_conflicts", conflicts - self._conflicts)
        self._conflicts = conflicts

    async def _store_all(
        self, job: JobRow, spec: UploadSpec, epoch: int, meter: Progress, tasks: asyncio.TaskGroup, account: Account
    ) -> None:
        draft = job.draft or ""
        params = self._params
        repo_id = self._repository.id
        packer = PackStage(
            self._ledger,
            repo_id,
            self._lane,
            params,
            pack_nonce(spec.txn, epoch),
            account,
            self._missing,
            lambda pack: sender.send(pack),  # noqa: PLW0108  the sender is made below, for it needs the packer
            meter,
        )  # fmt: skip
        in_use = PacksInUse(self._repository.store, spec.txn, lambda: packer.reused)
        sender = SendStage(
            self._repository.store, self._lane, self._ledger, repo_id, job.job, draft, params.sends, tasks,
            self._pins.advance, packer.forget, self._seen.usable, in_use.add, meter,
        )  # fmt: skip
        resumed = await has_progress(self._ledger, draft)
        if resumed:
            await in_use.again(await packs_of_job(self._ledger, repo_id, job.job))

        async def prefix(name: bytes) -> list[ChunkRow]:
            return await progress(self._ledger, repo_id, draft, name) if resumed else []

        cutter = CutStage(self._pins.reader, prefix, self._chunking, self._lane, account, params.window)
        line = _Line()
        account.on_press = line.wake
        reading = tasks.create_task(self._read(draft, cutter, packer, line, tasks))
        done: list[Done] = []
        while (coming := await line.next()) is not _Mark.END:
            if coming is not _Mark.WAKE:
                done.extend(await packer.add(await coming))
            if account.pressed:
                await packer.flush()
        await reading
        _check_complete(spec, done)
        await packer.flush()
        ready = await self._store_manifest(job, spec, epoch, packer, done)
        await sender.drained()
        await self._check_reused(packer.reused, draft, job.job)
        await record_prepared(self._ledger, job.job, ready)

    async def _read(
        self, draft: str, cutter: CutStage, packer: PackStage, line: _Line, tasks: asyncio.TaskGroup
    ) -> None:
        async def page(after: bytes, limit: int) -> list[FileRow]:
            return await self._pins.entries(draft, after, limit)

        async for group in scan(page, self._params.window):
            async with aclosing(cutter.cuts(group, tasks)) as cuts:
                async for cut in cuts:
                    await line.put(tasks.create_task(packer.prepare(cut)))
        await line.put(_Mark.END)

    async def _store_manifest(
        self, job: JobRow, spec: UploadSpec, epoch: int, packer: PackStage, done: list[Done]
    ) -> PreparedRow:
        builder = ManifestBuilder(self._repository.record.pages)
        built = [builder.add(_entry(item), _located(item)) for item in done]
        built.append(builder.finish())
        places = [(page, await packer.add_bytes(page.data, page.hash)) for page in built if page is not None]
        await packer.flush()
        for page, (pack, frame) in places:
            builder.placed(page.hash, pack_id(pack), frame)
        manifest = builder.manifest(job.project, job.name, spec.type, spec.txn, self._chunking.params)
        data = encode_manifest(manifest)
        body = manifest_hash(data)
        name = manifest_key(manifest.digest, spec.txn, epoch, body)
        await self._repository.store.put(name, [data])
        return PreparedRow(
            name, body, len(data), manifest.digest, manifest.entries, manifest.files, manifest.size, epoch
        )

    async def _learn_newest(self, key: ArtifactKey) -> list[str]:
        """Learn the chunks of the artifact's newest version, whoever logged it. Failing costs bandwidth, no more."""
        newest = self._repository.replay(key).newest() if self._repository.artifact_log(key).slots else None
        if newest is None:
            return []
        try:
            manifest = await self._repository.manifests.read(newest)
            holders = {ref.pack for ref in manifest.pages}
            if holders <= await self._known(holders):
                return []  # the packs of the pages are learned last: who knows them knows all
            packs: set[bytes] = set()
            async for page in self._repository.manifests.pages(manifest):
                packs.update(page.packs)
            await self._learn(sorted(packs - holders)[:_FOREIGN_PACKS])
            await self._learn(sorted(holders))
        except SyncdError as error:
            return [f"{key}:v{newest.number} could not be read for deduplication: {error.what}"]
        return []

    async def _known(self, packs: set[bytes]) -> set[bytes]:
        return await packs_known(self._ledger, self._repository.id, sorted(packs))

    async def _learn(self, packs: list[bytes]) -> None:
        known = await self._known(set(packs))

        async def learn(pack: bytes) -> None:
            frames = await self._repository.packs.index(pack)
            size = (await self._repository.store.stat(pack_key(pack))).size
            row = StoredPack(pack, size, tuple((frame.hash, frame.raw_length) for frame in frames))
            if self._seen.usable(pack):
                await learn_packs(self._ledger, self._repository.id, [row])

        await _side_by_side(learn, [pack for pack in packs if pack not in known])

    async def _missing(self, packs: set[bytes]) -> set[bytes]:
        """Return those of `packs` that are condemned, not in the remote or not of their size, and forget them."""
        gone = self._seen.condemned(packs)
        sizes = await pack_sizes(self._ledger, self._repository.id, sorted(packs))

        async def look(pack: bytes) -> None:
            try:
                found = await self._repository.store.stat(pack_key(pack))
            except NotFound:
                gone.add(pack)
                return
            if found.size != sizes.get(pack, found.size):
                gone.add(pack)  # cut short by somebody: its chunks are stored again, in a pack of another name

        await _side_by_side(look, sorted(packs - gone))
        if gone:
            await forget_packs(self._ledger, self._repository.id, gone)
            for pack in gone:
                self._repository.packs.forget(pack)
        return gone

    async def _check_reused(self, packs: set[bytes], draft: str, job: str) -> None:
        """Packs of earlier uploads must still be there right before the commit (law L1)."""
        gone = await self._missing(packs)
        if gone:
            await forget_progress(self._ledger, draft, job)
            raise RemoteUnavailable(
                f"{len(gone)} packs this node knew are gone from the remote",
                f"{pack_key(min(gone))} is one of them",
                "their chunks are stored again",
            )


async def _side_by_side(work: Callable[[bytes], Awaitable[None]], packs: list[bytes]) -> None:
    """Do `work` for every pack, a bounded number at once; the first failure ends it."""
    room = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def one(pack: bytes) -> None:
        async with room:
            await work(pack)

    try:
        async with asyncio.TaskGroup() as tasks:
            for pack in packs:
                tasks.create_task(one(pack))
    except BaseExceptionGroup as group:
        raise root_cause(group) from group


def _check_complete(spec: UploadSpec, done: list[Done]) -> None:
    """What was promised is what is committed: a draft whose rows were lost must not become a smaller version."""
    files = sum(item.file.type == "file" for item in done)
    if files != spec.files:
        raise SourceLost(
            f"{spec.files} files were logged, {files} are in the journal", "its rows were lost", "log the files again"
        )


def _entry(item: Done) -> Entry:
    file = item.file
    return Entry(
        path=file.name,
        type=_TYPES[file.type],
        mode=file.mode & 0o777,
        size=file.size if file.type == "file" else 0,
        digest=item.digest,
        target=file.target,
    )


def _located(item: Done) -> tuple[Located, ...]:
    return tuple(Located(pack_id(run.pack), run.first, run.count) for run in item.runs)
