"""Last stage: the log entry. Writing it is the sole commit point; everything before it is garbage a sweep may remove.

The order, each step repeatable:

1. The registry names the artifact (a collector must find its log).
2. Slot 0 of its log fixes the type; two nodes that disagree are decided by put-if-absent.
3. The run that logs, if any, is noted in its own log; this alone may fail without harm.
4. The commit entry is appended under the job's transaction id (laws L1, L3, L4).

A crash after 1 or 2 leaves a name without a version, which the next commit fills.

Collection fences logs (docs/decisions/0006): an entry that refers to data and has not seen the newest fence of its log
has no effect. So 1, 2 and 4 look at the fence in the very slot before theirs and give way (`Fenced`): what the job
refers to is chosen anew, by what has been condemned since, and the order begins again.
"""

from __future__ import annotations

from typing import Any

from syncd.clock import Clock
from syncd.errors import Conflict, InvalidInput, RemoteUnavailable, SyncdError
from syncd.format.digest import HASH_BYTES
from syncd.format.keys import manifest_key, run_log
from syncd.format.log import Commit, Create, LogEntry, Register, Start, encode_entry
from syncd.journal.jobs import JobResult, JobRow, RunFacts, UploadSpec
from syncd.journal.packs import PreparedRow
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.log import Slot
from syncd.repo.registry import Registry
from syncd.repo.repository import Repository

_NO_HASH = bytes(HASH_BYTES)


class Fenced(Exception):
    """A collection has begun since the job chose what to refer to; nothing was written. `epoch` is its fence."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch}")
        self.epoch = epoch


class CommitStage:
    """Appends commits. `node` is this node's id, told in every entry."""

    def __init__(self, repository: Repository, clock: Clock, node: str) -> None:
        self._repository = repository
        self._clock = clock
        self._node = node

    async def check_type(self, key: ArtifactKey, type_: str) -> None:
        """Raise Conflict when the artifact exists with another type: better early than after the upload."""
        slots = await self._repository.artifact_log(key).refresh()
        if slots:
            _same_type(key, self._repository.replay(key).type, type_)

    def done(self, key: ArtifactKey, spec: UploadSpec) -> bool:
        """Whether the log, as last read, holds the commit already: an older journal may not know."""
        return spec.txn in self._repository.replay(key).outcomes

    async def commit(self, job: JobRow, spec: UploadSpec, ready: PreparedRow | None, stored: int) -> JobResult:
        """Make the version exist, exactly once; return what the log says became of the transaction.

        Raises:
            Conflict: the artifact has another type.
            Fenced: what `ready` refers to may be condemned: choose it anew, then call again.
            RemoteUnavailable, RemoteRefused: the outcome is unknown; call again.
        """
        key = ArtifactKey(job.project, job.name)
        warnings = await self.prepare_log(key, spec, ready.gc_seen if ready else 0)
        log = self._repository.artifact_log(key)
        await log.append(spec.txn, lambda slots, prev: self._entry(key, spec, ready, prev))
        history = self._repository.replay(key)
        outcome = history.outcomes[spec.txn]
        version = history.versions[outcome.version]
        if not outcome.new:
            warnings.append(same_content(key, outcome.version))
        return JobResult(
            version=outcome.version,
            new_version=outcome.new,
            digest=version.digest,
            bytes_stored=stored,
            files=version.files,
            bytes=version.size,
            warnings=tuple(warnings),
        )

    async def prepare_log(self, key: ArtifactKey, spec: UploadSpec, seen: int) -> list[str]:
        """Steps 1 to 3; `seen` is the collection epoch that the job has seen. Returns warnings; Fenced."""
        if not await self._repository.artifact_log(key).refresh():
            await self._create(key, spec, seen)
        return await self._record_run(spec.txn, spec.run) if spec.run else []

    def head(self, txn: str, prev: bytes, gc_seen: int = 0) -> dict[str, Any]:
        """Return what every entry of this node begins with."""
        return {"txn": txn, "prev": prev, "gc_seen": gc_seen, "node": self._node, "at": self._clock.now()}

    def check_slot(self, key: ArtifactKey, spec: UploadSpec, gc_seen: int) -> History:
        """Return the artifact's state right before an entry that refers to data; Conflict of types, Fenced."""
        history = self._repository.replay(key)
        _same_type(key, history.type, spec.type)
        if history.fence > gc_seen:
            raise Fenced(history.fence)
        return history

    async def _create(self, key: ArtifactKey, spec: UploadSpec, seen: int) -> None:
        def register(slots: list[Slot], prev: bytes) -> LogEntry | None:
            registry = Registry().apply(slots)
            if registry.fence > seen:  # also for one that is registered: who creates its log must have seen as much
                raise Fenced(registry.fence)
            if key in registry.artifacts:
                return None
            head = self.head(f"{spec.txn}-reg", prev, seen)
            return Register(**head, project=key.project, name=key.name, type=spec.type)

        def create(slots: list[Slot], prev: bytes) -> LogEntry | None:
            return None if slots else Create(**self.head(f"{spec.txn}-new", prev, seen), type=spec.type)

        await self._repository.registry().append(f"{spec.txn}-reg", register)
        await self._repository.artifact_log(key).append(f"{spec.txn}-new", create)

    async def _record_run(self, txn: str, run: RunFacts) -> list[str]:
        """Note that the run exists, once for all its artifacts, best effort; return warnings."""
        try:
            await self._repository.run_log(run.project, run.id).append(
                f"{txn}-run", lambda slots, prev: None if slots else _start(run, self.head(f"{txn}-run", prev))
            )
        except SyncdError as error:
            return [f"the run {run.id} could not be recorded: {error.what}"]
        return []

    def _entry(self, key: ArtifactKey, spec: UploadSpec, ready: PreparedRow | None, prev: bytes) -> LogEntry:
        # Built anew for every slot: replaying first means a type decided meanwhile by another node is seen here.
        if ready is None:
            raise RemoteUnavailable("the journal does not keep what is noted", "", "see `syncd doctor`")
        self.check_slot(key, spec, ready.gc_seen)
        return _commit(spec, ready, self.head(spec.txn, prev, ready.gc_seen))


def check_spec(spec: UploadSpec) -> None:
    """Raise InvalidInput when no log entry can hold what is asked: at once, not after the upload."""
    head = {"txn": spec.txn, "prev": _NO_HASH, "node": "n" * 64}
    ready = PreparedRow(manifest_key(_NO_HASH, spec.txn), _NO_HASH, 0, _NO_HASH, 0, 0, 0)
    if spec.run is not None:
        try:
            run_log(spec.run.project, spec.run.id)
            encode_entry(_start(spec.run, head))
        except InvalidInput as error:
            raise InvalidInput(f"invalid run {spec.run.id[:80]!r}", error.what, error.hint) from error
    encode_entry(_commit(spec, ready, head))


def _commit(spec: UploadSpec, ready: PreparedRow, head: dict[str, Any]) -> Commit:
    return Commit(
        **head,
        manifest=ready.manifest,
        manifest_hash=ready.manifest_hash,
        manifest_size=ready.manifest_size,
        digest=ready.digest,
        entries=ready.entries,
        files=ready.files,
        size=ready.size,
        aliases=spec.aliases,
        tags=spec.tags,
        metadata=spec.metadata,
        description=spec.description,
        run=spec.run.id if spec.run else "",
        run_project=spec.run.project if spec.run else "",
        inputs=spec.inputs,
    )


def _start(run: RunFacts, head: dict[str, Any]) -> Start:
    facts = head | ({"at": run.started} if run.started else {})
    return Start(
        **facts, project=run.project, run=run.id, name=run.name, group=run.group, job_type=run.job_type
    )  # fmt: skip


def _same_type(key: ArtifactKey, there: str, wanted: str) -> None:
    if there != wanted:
        raise Conflict(
            f"Artifact {key} already exists with type '{there}'; cannot create another with type '{wanted}'",
            "a name has one type for ever",
            f"log it with type '{there}' or under another name",
        )


def same_content(key: ArtifactKey, version: int) -> str:
    """Return the warning that content was there already, as this version."""
    return (
        f"{key}:v{version} has the same content: no new version was made; its metadata and description stay as they "
        "were, aliases that were given move there"
    )
