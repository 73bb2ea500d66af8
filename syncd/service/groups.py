"""Verbs on versions that several ranks make: which groups there are, ending one, waiting until one is complete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec.structs import replace

from syncd.clock import Chance, Clock, random_hex
from syncd.errors import Conflict, InvalidInput, NotFound, RemoteUnavailable, SyncdError, root_cause
from syncd.events import Bus, JobChanged, Listener
from syncd.format.keys import artifact_log, probe_key, slot_key
from syncd.format.log import TEXT_LIMIT, Abort, LogEntry
from syncd.jobs.states import State
from syncd.journal.jobs import JobResult, JobRow, JobRows, UploadSpec
from syncd.model.names import ArtifactKey
from syncd.model.views import GroupView
from syncd.repo.groups import Group
from syncd.repo.history import History
from syncd.repo.repository import Repository
from syncd.store.base import Store
from syncd.upload.part import completed, missing_text

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
_GROWTH = 1.5
_MISSING_NAMED = 256
_PAGE_LIMIT = 100


class GroupVerbs:
    """What can be asked of groups, and done to them.

    Args:
        repository: opens the repository; raises while the remote is away.
        rows: the journal's jobs: what came of a group is noted in those of its ranks.
        bus: told when it is; heard, because a part of this daemon may complete a group.
        node: this node's id, told in entries.
        transaction: makes a fresh transaction id.
    """

    def __init__(
        self, repository: Callable[[], Awaitable[Repository]], rows: JobRows, bus: Bus, clock: Clock, rng: Chance,
        node: str, transaction: Callable[[], str],
    ) -> None:  # fmt: skip
        self._repository = repository
        self._rows = rows
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._node = node
        self._transaction = transaction
        self._read_at: dict[ArtifactKey, float] = {}

    async def page(self, key: ArtifactKey, complete: bool, after: str, limit: int) -> tuple[list[GroupView], str]:
        """Return a page of groups, the youngest first, below the slot `after`, and where the next page begins.

        Raises:
            NotFound: no such artifact.
            InvalidInput: `after` is not the end of a page.
        """
        if after and not after.isdecimal():
            raise InvalidInput(f"no page ends with {after[:80]!r}")
        history = await (await self._repository()).history(key)
        groups = sorted(history.groups.values(), key=lambda group: -group.opened)
        wanted = [group for group in groups if complete or group.version is None]
        below = [group for group in wanted if not after or group.opened < int(after)]
        size = max(1, min(limit, _PAGE_LIMIT))
        return [view(group) for group in below[:size]], str(below[size - 1].opened) if len(below) > size else ""

    async def abort(
        self, key: ArtifactKey, name: str, reason: str, older_than: float | None
    ) -> tuple[list[GroupView], str]:
        """End the group called `name`, or every open one when it is empty; return those that are aborted now.

        Args:
            older_than: leave groups alone whose first part is not that many seconds old by the store's time (law L5).

        Raises:
            NotFound: no such artifact or group.
            Conflict: the group named is complete, or was completed before the abort was in the log.
            InvalidInput: nothing says which groups.
        """
        if not name and older_than is None:
            raise InvalidInput("which group?", "", "name one, or say how old it must be")
        if len(reason) > TEXT_LIMIT:
            raise InvalidInput(f"a reason of {len(reason)} characters", f"at most {TEXT_LIMIT} are kept", "say less")
        repository = await self._repository()
        history = await repository.history(key)
        if name and name not in history.groups:
            raise NotFound(f"{key} has no group {name}", "none of its ranks has contributed", f"syncctl show {key}")
        named = [history.groups[name]] if name else [group for group in history.groups.values() if group.open]
        if older_than is not None:
            named = await _older(repository.store, key, named, older_than, self._rng)
        words = reason or "aborted by hand"
        ended = [await self._abort(repository, key, group.name, words, bool(name)) for group in named]
        return [view(group) for group in ended if group.aborted is not None], ""

    async def _abort(self, repository: Repository, key: ArtifactKey, name: str, reason: str, must: bool) -> Group:
        txn = self._transaction()

        def build(_: object, prev: bytes) -> LogEntry | None:
            if not repository.replay(key).groups[name].open:
                return None
            return Abort(txn=txn, prev=prev, node=self._node, at=self._clock.now(), group=name, reason=reason)

        await repository.artifact_log(key).append(txn, build)
        group = repository.replay(key).groups[name]
        if must and group.version is not None:
            raise Conflict(
                f"the group {name} of {key} is complete: it is v{group.version}",
                "its last part came before the abort",
                f"syncctl rm {key}:v{group.version}",
            )
        return group

    async def outcome(self, row: JobRow) -> JobRow:
        """Return a rank's job once its group is complete or aborted; what came of it is noted in the row.

        The log is read again and again, less often as time goes by; a part of this daemon that completes the group
        is noticed at once.
        """
        spec = row.spec
        assert isinstance(spec, UploadSpec)
        key = ArtifactKey(row.project, row.name)
        pause = FIRST_PAUSE
        with self._bus.listen() as changes:
            while True:
                row = await self._rows.get(row.job)  # another who waits may have noted it
                if row.result is None or not is_contribution(row):
                    return row
                history = await self._look(key, pause)
                group = history.groups.get(spec.group) if history else None
                if history is not None and group is not None and not group.open:
                    return await self._note(row, _ended(history, group, row.result))
                await self._nap(key, spec.group, changes, pause)
                pause = min(pause * _GROWTH, LONGEST_PAUSE)

    async def who_is_missing(self, row: JobRow) -> str:
        """Return in words what a rank's job waits for, as far as the log was read; "" when nothing is known."""
        with suppress(SyncdError):
            history = (await self._repository()).replay(ArtifactKey(row.project, row.name))
            group = history.groups.get(row.spec.group) if isinstance(row.spec, UploadSpec) else None
            if group is not None and group.open:
                return f"group {group.name}: {missing_text(group)}"
        return ""

    async def _look(self, key: ArtifactKey, pause: float) -> History | None:
        """Return the artifact's state; who looks right after another takes what that one has read."""
        try:
            repository = await self._repository()
            now = self._clock.monotonic()
            if now - self._read_at.get(key, -pause) < pause / 2:
                return repository.replay(key)
            self._read_at[key] = now
            return await repository.history(key)
        except RemoteUnavailable:
            return None  # it may come back; who waits has patience of its own

    async def _nap(self, key: ArtifactKey, name: str, changes: Listener, seconds: float) -> None:
        """Return after so many seconds, at once when this daemon has learned that the group is over."""
        try:
            async with asyncio.TaskGroup() as tasks:
                sleep = tasks.create_task(self._clock.sleep(seconds))
                hearing = tasks.create_task(self._hear(key, name, changes))
                await asyncio.wait([sleep, hearing], return_when=asyncio.FIRST_COMPLETED)
                sleep.cancel()
                hearing.cancel()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group

    async def _hear(self, key: ArtifactKey, name: str, changes: Listener) -> None:
        while not await self._is_over(key, name):
            await changes.next()

    async def _is_over(self, key: ArtifactKey, name: str) -> bool:
        with suppress(RemoteUnavailable):
            group = (await self._repository()).replay(key).groups.get(name)
            return group is not None and not group.open
        return False

    async def _note(self, row: JobRow, result: JobResult) -> JobRow:
        noted = await self._rows.move(
            row.job, State.DONE, resume=None, attempt=row.attempt, updated=self._clock.now(), result=result
        )
        self._bus.publish(JobChanged(row.job))
        return noted


def is_contribution(row: JobRow) -> bool:
    """Whether it is a rank's job whose part is in the log, and nobody has noted yet what came of the group."""
    spec, result = row.spec, row.result
    if not isinstance(spec, UploadSpec) or not spec.group or result is None or row.state is not State.DONE:
        return False
    return result.version is None and not result.aborted


def view(group: Group) -> GroupView:
    """Return a group as a person sees it."""
    missing = group.missing
    state = "open" if group.open else "complete" if group.version is not None else "aborted"
    return GroupView(
        group.name, group.of, state, missing[:_MISSING_NAMED], len(missing), group.aborted or "", group.version,
        group.opened,
    )  # fmt: skip


def _ended(history: History, group: Group, own: JobResult) -> JobResult:
    if group.version is not None:
        return completed(history, group, own)
    return replace(own, aborted=group.aborted or "no reason was given")


async def _older(store: Store, key: ArtifactKey, groups: list[Group], seconds: float, rng: Chance) -> list[Group]:
    """Return those whose first part the store had that many seconds ago: both times are the store's own (law L5)."""
    probe = probe_key(random_hex(rng, 8))
    await store.put(probe, [b"what time is it"])  # a collection removes it: who aborts may not be allowed to
    now = (await store.stat(probe)).modified
    log = artifact_log(key)
    began = [(group, (await store.stat(slot_key(log, group.opened))).modified) for group in groups]
    return [group for group, at in began if at + seconds <= now]
