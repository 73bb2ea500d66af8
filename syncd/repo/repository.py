"""One repository as this node sees it: its record, its logs and histories, its packs and manifests."""

from __future__ import annotations

from typing import NamedTuple

from syncd.clock import Chance, Clock
from syncd.errors import Corrupt, NotFound, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.format.keys import REGISTRY_LOG, artifact_log, run_log
from syncd.format.repo import RepoRecord
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.bundles import Bundles
from syncd.repo.epochs import Epochs
from syncd.repo.history import History, Version
from syncd.repo.init import open_record
from syncd.repo.log import Log
from syncd.repo.manifests import Manifests
from syncd.repo.memory import Forgetful, Memory
from syncd.repo.packs import Packs
from syncd.repo.registry import Registered, Registry
from syncd.store.base import Store
from syncd.store.fallback import Fallback


class Found(NamedTuple):
    """A version in its history; `away` says why the mirror was asked for it, "" where it was not."""

    history: History
    version: Version
    away: str = ""


class Repository:
    """The meaning of one remote. Built once the remote's record has been read.

    Args:
        store: the remote.
        record: its repo.json.
        memory: where log entries seen are remembered.
        lane: for decoding and hashing.
        mirror: another copy of it, read where the remote is away or damaged; nothing is decided by it.
    """

    def __init__(
        self, store: Store, record: RepoRecord, memory: Memory, lane: Lane, clock: Clock, rng: Chance,
        mirror: Store | None = None,
    ) -> None:  # fmt: skip
        self.store = store
        self.record = record
        self.mirror = mirror
        both = Fallback(store, mirror, clock) if mirror is not None else store
        self.packs = Packs(both, lane, mirror)
        self.manifests = Manifests(both, self.packs, lane, mirror)
        self.epochs = Epochs(store, clock, rng)
        self._memory = memory
        self._clock = clock
        self._rng = rng
        self._logs: dict[str, Log] = {}
        self._histories: dict[ArtifactKey, History] = {}
        self._registry = Registry()

    @property
    def id(self) -> str:
        """The repository's own id: what the journal's rows about it are kept under."""
        return self.record.repo_id

    def artifact_log(self, key: ArtifactKey) -> Log:
        """Return the log of an artifact."""
        return self._log(artifact_log(key))

    def run_log(self, project: str, run: str) -> Log:
        """Return the log of a run."""
        return self._log(run_log(project, run))

    def registry(self) -> Log:
        """Return the log that names all artifacts."""
        return self._log(REGISTRY_LOG)

    async def history(self, key: ArtifactKey) -> History:
        """Return the artifact's state as of now (its log is read to the end first).

        Raises:
            NotFound: no such artifact.
        """
        log = self.artifact_log(key)
        slots = await log.refresh()
        if not slots:
            raise NotFound(f"artifact {key} does not exist", "nothing was logged under that name", "syncctl ls")
        return self.replay(key)

    async def found(self, key: ArtifactKey, ref: str) -> Found:
        """Return a version for who only reads: by the mirror's word where the remote is away or its log damaged.

        Raises:
            NotFound: no such version.
            RemoteUnavailable, RemoteRefused, Corrupt: of the remote, when the mirror does not help; it may be behind,
                so what it does not have may exist.
        """
        try:
            history = await self.history(key)
        except (RemoteUnavailable, RemoteRefused, Corrupt) as error:
            if self.mirror is None:
                raise
            try:
                name = artifact_log(key)
                log = Log(self.mirror, Forgetful(), self.id, name, self._clock, self._rng)
                history = History(key).apply(await log.refresh())
                return Found(history, history.resolve(ref), error.what)
            except SyncdError as second:
                raise error from second
        return Found(history, history.resolve(ref))

    def replay(self, key: ArtifactKey) -> History:
        """Return the artifact's state as of the last read of its log, without asking the remote."""
        history = self._histories.setdefault(key, History(key))
        try:
            return history.apply(self.artifact_log(key).slots[history.applied :])
        except BaseException:
            del self._histories[key]  # a half applied replay is nobody's truth
            raise

    async def reread(self, key: ArtifactKey) -> list[str]:
        """Read repo.json, the registry and an artifact's log again, slot by slot and without memory.

        Returns:
            What is wrong, in words.
        """
        problems = []
        try:
            await open_record(self.store)
        except Corrupt as error:
            problems.append(error.what)
        for name in (REGISTRY_LOG, artifact_log(key)):
            try:
                await Log(self.store, Forgetful(), self.id, name, self._clock, self._rng).refresh()
            except Corrupt as error:
                problems.append(error.what)
        return problems

    async def registered(self) -> Registry:
        """Return which artifacts there are, and the registry's fence, as of now."""
        log = self.registry()
        await log.refresh()
        return self._registry.apply(log.slots[self._registry.applied :])

    async def artifacts(self, project: str = "") -> list[Registered]:
        """Return the artifacts the registry names, in order; all projects when none is given."""
        found = (await self.registered()).artifacts
        return [found[key] for key in sorted(found) if not project or key.project == project]

    def visit(self, key: ArtifactKey) -> tuple[Log, History]:
        """Return an artifact's log and history to be read by the caller alone and let go: for who goes through all."""
        name = artifact_log(key)
        return Log(self.store, self._memory, self.id, name, self._clock, self._rng, self._confirm), History(key)

    def conflicts(self) -> int:
        """Return how many races for a slot this node has lost."""
        return sum(log.conflicts for log in self._logs.values())

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(
                self.store, self._memory, self.id, name, self._clock, self._rng, self._confirm,
                Bundles(self.store, name),
            )  # fmt: skip
        return self._logs[name]

    async def _confirm(self) -> None:
        """Raise Corrupt unless the repository at the remote is still the one that was opened."""
        record = await open_record(self.store)
        if record is None or record.repo_id != self.id:
            raise Corrupt(
                "the repository was replaced while the daemon ran",
                f"this node opened {self.id[:8]}, now there is {record.repo_id[:8] if record else 'none'}",
                "restart the daemon; to use the new repository on purpose, give it a new state directory",
            )
