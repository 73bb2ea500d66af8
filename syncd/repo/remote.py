"""The remote this node writes to, opened when it is first needed: a daemon starts and accepts work while it is away."""

from __future__ import annotations

import asyncio

from syncd.clock import Chance, Clock
from syncd.errors import Corrupt, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.format.keys import REPO
from syncd.format.repo import RepoRecord
from syncd.lanes import Lane
from syncd.repo.init import NewRepository, initialise, open_record
from syncd.repo.memory import Memory, repository_at
from syncd.repo.repository import Repository
from syncd.store.base import Store


class Remote:
    """One remote and, once it has been reached, its repository.

    Args:
        url: its address, for people; without credentials.
        store: the stack of stores for it.
        new: how to make a repository when there is none and this node has never seen one there.
        mirror: the store of another copy, if one is set.
    """

    def __init__(
        self, url: str, store: Store, memory: Memory, lane: Lane, clock: Clock, rng: Chance, new: NewRepository,
        mirror: Store | None = None,
    ) -> None:  # fmt: skip
        self.url = url
        self.store = store
        self.state = "not reached yet"
        self._memory = memory
        self._lane = lane
        self._clock = clock
        self._rng = rng
        self._new = new
        self._turn = asyncio.Lock()
        self._repository: Repository | None = None
        self._mirror = mirror
        self._reader: Repository | None = None

    async def repository(self) -> Repository:
        """Return the repository, reaching for it if that has not been done.

        Raises:
            RemoteUnavailable: the remote is away, or the repository this node knew there is.
            RemoteRefused, Corrupt: as opening it says.
        """
        async with self._turn:
            if self._repository is None:
                try:
                    record = await self._open()
                except SyncdError as error:
                    self.state = error.what
                    raise
                self._repository = self._build(record)
                self.state = "ok"
            return self._repository

    async def reading(self) -> Repository:
        """Return the repository for who only reads: by the mirror's word where the remote has not been reached.

        Raises:
            as `repository`, when no mirror helps.
        """
        try:
            return await self.repository()
        except (RemoteUnavailable, RemoteRefused, Corrupt) as error:
            if self._mirror is None:
                raise
            try:
                self._reader = self._reader or await self._by_mirror(self._mirror)
            except SyncdError as second:
                raise error from second
            if self._reader is None:
                raise
            return self._reader

    async def _by_mirror(self, mirror: Store) -> Repository | None:
        """Return the repository as the mirror's record describes it, if it is the one this node knows."""
        record = await open_record(mirror)
        known = await self._memory.fact(repository_at(self.url))
        return None if record is None or record.repo_id != known else self._build(record)

    def _build(self, record: RepoRecord) -> Repository:
        return Repository(
            self.store, record, self._memory, self._lane, self._clock, self._rng, self._mirror
        )  # fmt: skip

    def say(self, state: str) -> None:
        """Note how the last work with the remote went: "ok" or the words of a failure."""
        self.state = state

    async def _open(self) -> RepoRecord:
        name = repository_at(self.url)
        known = await self._memory.fact(name)
        record = await open_record(self.store)
        if record is None and known:
            raise RemoteUnavailable(
                f"the repository is gone from {self.url}",
                f"this node has seen one there ({known[:8]}), now {REPO} is missing: not mounted, or emptied",
                "bring it back; to begin a new one there on purpose, give the daemon a new state directory",
            )
        if record is None:
            record = await initialise(self.store, self._new, self._rng)
        if known and known != record.repo_id:
            raise Corrupt(
                f"another repository is at {self.url}",
                f"this node knew {known[:8]}, now it is {record.repo_id[:8]}",
                "bring the right one back; to use the other on purpose, give the daemon a new state directory",
            )
        if not known:
            await self._memory.note_fact(name, record.repo_id)
        return record
