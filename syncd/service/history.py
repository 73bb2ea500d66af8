"""Verbs on what the remote's logs say: resolve, list, files, verify, remove, restore."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from syncd.budget import Budget
from syncd.clock import Clock
from syncd.download.verify import verify_directory, verify_remote
from syncd.errors import (
    Conflict,
    Corrupt,
    InvalidInput,
    NotFound,
    RemoteRefused,
    RemoteUnavailable,
    SyncdError,
    root_cause,
)
from syncd.format.keys import use_key
from syncd.format.log import Delete, LogEntry, Undelete
from syncd.format.manifest import DIRECTORY, FILE, REFERENCE, SYMLINK
from syncd.lanes import Lane
from syncd.model.names import LATEST, ArtifactKey, check_absolute, printable, version_number
from syncd.model.views import ArtifactView, ErrorView, FileView, VerifyView, VersionView
from syncd.repo.history import History, Version
from syncd.repo.registry import Registered
from syncd.repo.repository import Repository
from syncd.repo.whole import check_whole

_TYPES = {FILE: "file", SYMLINK: "symlink", DIRECTORY: "dir", REFERENCE: "reference"}
_PAGE_LIMIT = 1000
_LOGS_AT_ONCE = 16
_PAGE_BYTES = 256 << 10  # of names: a page must fit into a frame of the socket


class HistoryVerbs:
    """What can be asked of, and changed in, the logs.

    Args:
        repository: opens the repository; raises while the remote is away.
        lane: for comparing directories.
        budget: bounds what is read of the remote at once.
        node: this node's id, told in entries.
        transaction: makes a fresh transaction id.
        reading: opens the repository for reading alone, by a mirror where the remote is away.
    """

    def __init__(
        self, repository: Callable[[], Awaitable[Repository]], lane: Lane, budget: Budget, clock: Clock,
        node: str, transaction: Callable[[], str], reading: Callable[[], Awaitable[Repository]],
    ) -> None:  # fmt: skip
        self._repository = repository
        self._lane = lane
        self._budget = budget
        self._clock = clock
        self._node = node
        self._transaction = transaction
        self._reading = reading

    async def show(self, key: ArtifactKey, ref: str) -> VersionView:
        """Return the version that `ref` names; NotFound."""
        found = await (await self._reading()).found(key, ref)
        shown = view(found.history, found.version)
        if found.away:
            shown = replace(shown, warnings=[f"as the mirror has it, which may be behind: {found.away}"])
        return shown

    async def record_use(self, version: VersionView, run: str) -> list[str]:
        """Note that a run uses a version, best effort; return warnings."""
        key = ArtifactKey(version.project, version.name)
        try:
            await (await self._repository()).store.create(use_key(key, version.version, run), b"")
        except Conflict:
            return []  # noted before
        except SyncdError as error:
            return [f"the use of {key}:v{version.version} could not be noted: {error.what}"]
        return []

    async def artifacts(self, project: str, after: str, limit: int) -> tuple[list[ArtifactView], str]:
        """Return a page of artifacts behind the one called "project/name", and where the next page begins.

        One whose log is damaged or may not be read is there with its error. Raises RemoteUnavailable.
        """
        repository = await self._repository()
        listed = [item for item in await repository.artifacts(project) if str(item.key) > after]
        size = max(1, min(limit, _PAGE_LIMIT))
        page = await _looked_at(repository, listed[:size])
        return page, str(listed[size - 1].key) if len(listed) > size else ""

    async def versions(self, key: ArtifactKey, deleted: bool, after: str, limit: int) -> tuple[list[VersionView], str]:
        """Return a page of versions, newest first, below the one called `after`, and where the next page begins."""
        history = await (await self._repository()).history(key)
        start = version_number(after) if after else None
        below = history.versions if start is None else history.versions[:start]
        wanted = [version for version in reversed(below) if deleted or not version.deleted]
        size = max(1, min(limit, _PAGE_LIMIT))
        page = [view(history, version) for version in wanted[:size]]
        return page, f"v{page[-1].version}" if len(wanted) > size else ""

    async def files(self, key: ArtifactKey, ref: str, after: bytes, limit: int) -> tuple[list[FileView], bytes]:
        """Return a page of a version's entries behind a path, and where the next page begins."""
        repository = await self._reading()
        manifest = await repository.manifests.read((await repository.found(key, ref)).version)
        size = max(1, min(limit, _PAGE_LIMIT))
        page: list[FileView] = []
        weight = 0
        async for entry in repository.manifests.entries(manifest, after):
            if len(page) == size or weight > _PAGE_BYTES:
                return page, page[-1].path
            kind = _TYPES[entry.type]
            weight += len(entry.path) + len(entry.target)
            page.append(FileView(entry.path, kind, entry.size, entry.mode, entry.digest.hex(), entry.target))
        return page, b""

    async def verify(self, key: ArtifactKey, ref: str, root: bytes) -> VerifyView:
        """Compare a directory with a version, or with an empty `root` read and hash all the remote holds of it."""
        repository = await self._repository()
        history = await repository.history(key)
        version = history.resolve(ref)
        if root:
            check_absolute(root)
            if not await self._lane.run(os.path.isdir, root):
                raise NotFound(f"no such directory: {printable(root)}", "", "name the one it was downloaded to")
            problems = await verify_directory(repository, self._lane, version, root)
        else:
            problems = [*await repository.reread(key), *await verify_remote(repository, self._budget, version)]
        return VerifyView(view(history, version), version.files, version.size, problems)

    async def remove(self, key: ArtifactKey, ref: str, delete_aliases: bool) -> VersionView:
        """Mark a version deleted; its aliases go with it.

        Raises:
            NotFound: there is no such version.
            Conflict: it has aliases, and `delete_aliases` does not say that they may go. `latest` is none.
        """
        return await self._set_deleted(key, ref, True, delete_aliases)

    async def restore(self, key: ArtifactKey, ref: str) -> VersionView:
        """Take a deletion back while all of the version's bytes are certain to stay; `ref` must be a version number.

        Raises:
            NotFound: no such version, or collection has condemned or deleted something that it needs.
            InvalidInput: not a version number.
        """
        if version_number(ref) is None:
            raise InvalidInput(
                f"cannot restore {key}:{ref}", "a deleted version has no aliases", "name it by number: v3"
            )
        return await self._set_deleted(key, ref, False)

    async def _set_deleted(self, key: ArtifactKey, ref: str, deleted: bool, aliased_too: bool = True) -> VersionView:
        repository = await self._repository()
        number = (await repository.history(key)).resolve(ref, deleted_too=True).number
        txn = self._transaction()
        seen = 0

        def build(_: object, prev: bytes) -> LogEntry | None:
            history = repository.replay(key)
            version = history.resolve(f"v{number}", deleted_too=True)
            if version.deleted == deleted or (not deleted and history.fence > seen):
                return None
            if not aliased_too:
                _must_have_no_alias(history, number)  # here: whoever gives it one meanwhile takes our slot
            head: dict[str, Any] = {"txn": txn, "prev": prev, "node": self._node, "at": self._clock.now()}
            if deleted:
                return Delete(**head, version=number)
            return Undelete(**head, gc_seen=seen, version=number)

        while repository.replay(key).versions[number].deleted != deleted:
            if not deleted:  # a fence that comes in between has it asked again: what is condemned then?
                history = repository.replay(key)
                seen = await check_whole(repository, f"{key}:v{number}", history.versions[number])
                if seen < history.fence:
                    raise RemoteUnavailable(
                        f"collection epoch {history.fence} cannot be read", "a log is fenced by it", "try again"
                    )
            if await repository.artifact_log(key).append(txn, build) is not None:
                break  # ours is in the log; who has taken it back since did so after us
        history = repository.replay(key)
        return view(history, history.versions[number])


def _must_have_no_alias(history: History, number: int) -> None:
    aliases = [alias for alias in history.aliases_of(number) if alias != LATEST]
    if aliases:
        raise Conflict(
            f"{history.key}:v{number} has the {'aliases' if len(aliases) > 1 else 'alias'} {', '.join(aliases)}",
            "they would be deleted with the version",
            f"syncctl rm --force {history.key}:v{number}",
        )


def view(history: History, version: Version) -> VersionView:
    """Return a version as a person sees it."""
    return VersionView(
        project=history.key.project,
        name=history.key.name,
        type=history.type,
        version=version.number,
        digest=version.digest.hex(),
        state="DELETED" if version.deleted else "COMMITTED",
        aliases=history.aliases_of(version.number),
        tags=list(version.tags),
        metadata=version.metadata,
        description=version.description,
        size=version.size,
        files=version.files,
        created=version.at,
        run=version.run,
        node=version.node,
    )


async def _looked_at(repository: Repository, items: list[Registered]) -> list[ArtifactView]:
    """Read many logs, some at once: over a slow line a thousand answers in a row would take minutes. Order is kept."""
    turns = asyncio.Semaphore(_LOGS_AT_ONCE)

    async def look(item: Registered) -> ArtifactView | None:
        async with turns:
            try:
                return _artifact(await repository.history(item.key))
            except NotFound:
                return None  # its first writer died between the registry and slot 0
            except (Corrupt, RemoteRefused) as error:  # of this log alone: the others are told all the same
                problem = ErrorView(error.code, error.what, error.why, error.hint, error.retry)
                return ArtifactView(item.key.project, item.key.name, item.type, error=problem)

    try:
        async with asyncio.TaskGroup() as tasks:
            looks = [tasks.create_task(look(item)) for item in items]
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return [view for one in looks if (view := one.result()) is not None]


def _artifact(history: History) -> ArtifactView:
    newest = history.newest()
    return ArtifactView(
        project=history.key.project,
        name=history.key.name,
        type=history.type,
        versions=sum(not version.deleted for version in history.versions),
        latest=newest.number if newest else None,
        size=newest.size if newest else 0,
        updated=newest.at if newest else 0.0,
    )
