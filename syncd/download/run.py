"""One download as a whole: several groups at once, each planned, looked for, fetched and placed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from syncd.budget import Account, Budget
from syncd.disk import Disk
from syncd.download.fetch import FetchStage, Goal, check_space
from syncd.download.place import Target
from syncd.download.plan import Wanted, check_all, chunks_of, groups
from syncd.errors import root_cause
from syncd.format.manifest import DIRECTORY, FILE, SYMLINK
from syncd.journal.jobs import DownloadSpec, JobResult, JobRow
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.history import Version
from syncd.repo.repository import Repository

_GROUPS_AT_ONCE = 3
_PLACED_AT_ONCE = 4
_RESERVE = 64 << 20


class Progress(Protocol):
    """Who is told how far a download is."""

    def read(self, size: int) -> None:
        """So many more bytes of the version are here and verified."""
        ...

    def stored(self, size: int) -> None:
        """So many of them were fetched from the remote."""
        ...

    def file_done(self) -> None:
        """One more file is in its place."""
        ...


class Downloads:
    """Runs downloads. Stateless between them: what an earlier try left lies in the target itself.

    Args:
        lane: threads for hashing and writing.
        budget: bounds what all flows hold.
        reads: ranged reads at once.
    """

    def __init__(self, repository: Repository, disk: Disk, lane: Lane, budget: Budget, reads: int = 6) -> None:
        self._repository = repository
        self._disk = disk
        self._lane = lane
        self._budget = budget
        self._reads = reads

    async def fetch(self, job: JobRow, spec: DownloadSpec, progress: Progress) -> JobResult:
        """Restore a version below a directory. May be repeated: verified bytes are not fetched again.

        Raises:
            NotFound: the version was deleted meanwhile.
            Corrupt: something in the remote is not what the log promises; nothing of that file is placed.
            Refused, Conflict: the version would leave the target, or something is in the way.
            LocalDisk: the disk is full, read-only or failing.
            RemoteUnavailable, RemoteRefused: as the remote says.
        """
        key = ArtifactKey(job.project, job.name)
        version = (await self._repository.found(key, f"v{spec.version}")).version
        target = Target(self._disk, spec.root, job.job)
        try:
            with self._budget.account() as account:
                await self._restore(version, target, progress, account)
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        finally:
            target.close()
        return JobResult(version=version.number, digest=version.digest, files=version.files, bytes=version.size)

    async def _restore(self, version: Version, target: Target, progress: Progress, account: Account) -> None:
        manifest = await self._repository.manifests.read(version)
        await check_all(self._repository, manifest)
        await self._lane.run(target.open)
        fetcher = FetchStage(self._repository.packs, self._disk, self._lane, self._reads, account, target)
        room = asyncio.Semaphore(_GROUPS_AT_ONCE)

        async def one(group: list[Wanted]) -> None:
            try:
                await self._group(group, target, fetcher, progress)
            finally:
                room.release()

        async with asyncio.TaskGroup() as tasks:
            async for group in groups(self._repository, manifest):
                await room.acquire()
                tasks.create_task(one(group))
        await self._lane.run(target.clear)

    async def _group(self, group: list[Wanted], target: Target, fetcher: FetchStage, progress: Progress) -> None:
        files = [(wanted, await chunks_of(self._repository, wanted)) for wanted in group if wanted.entry.type == FILE]
        unplaced = [wanted for wanted in group if wanted.entry.type != FILE]
        goals: list[Goal] = []
        for (wanted, _), held in zip(files, await fetcher.look(files), strict=True):
            progress.read(held.have)
            if held.placed:
                progress.file_done()
                continue
            unplaced.append(wanted)
            goals += [Goal(target.temporary(wanted.number), chunk) for chunk in held.missing]

        def fetched(size: int) -> None:
            progress.read(size)
            progress.stored(size)

        await self._lane.run(check_space, target, goals, _RESERVE)
        await fetcher.fill(goals, fetched)
        async with asyncio.TaskGroup() as tasks:  # side by side: the disk syncs many files in the time of one
            for share in (unplaced[number::_PLACED_AT_ONCE] for number in range(_PLACED_AT_ONCE)):
                tasks.create_task(self._lane.run(_place_all, target, share))
        for wanted in unplaced:
            if wanted.entry.type == FILE:
                progress.file_done()


def discard(disk: Disk, root: bytes, job: str) -> None:
    """Remove what a download that was given up has left half done; placed files stay. Called inside a lane."""
    target = Target(disk, root, job)
    with suppress(FileNotFoundError, NotADirectoryError):  # where nothing could be made, nothing is to be removed
        target.open(make=False)
        try:
            target.clear()
        finally:
            target.close()


def _place_all(target: Target, group: list[Wanted]) -> None:
    for wanted in group:
        if wanted.entry.type == FILE:
            target.place_file(wanted.entry, target.temporary(wanted.number))
        elif wanted.entry.type == SYMLINK:
            target.place_link(wanted.entry, wanted.number)
        elif wanted.entry.type == DIRECTORY:
            target.place_directory(wanted.entry)
