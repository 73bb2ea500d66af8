"""Last stage: the log entry. Writing it is the sole commit point; everything before it is garbage a sweep may remove.

The order, each step repeatable:

1. The registry names the artifact (a collector must find its log).
2. Slot 0 of its log fixes the type; two nodes that disagree are decided by put-if-absent.
3. The commit entry is appended under the job's transaction id (laws L1, L3, L4).

A crash after 1 or 2 leaves a name without a version, which the next commit fills.
"""

from __future__ import annotations

from syncd.clock import Clock
from syncd.errors import Conflict, RemoteRefused
from syncd.format.log import Commit, Create, LogEntry, Register
from syncd.journal.jobs import JobResult, JobRow, UploadSpec
from syncd.journal.packs import PreparedRow
from syncd.model.names import ArtifactKey
from syncd.repo.repository import Repository


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

    async def commit(self, job: JobRow, spec: UploadSpec, ready: PreparedRow, stored: int) -> JobResult:
        """Make the version exist, exactly once; return what the log says became of the transaction.

        Raises:
            Conflict: the artifact has another type.
            RemoteUnavailable, RemoteRefused: the outcome is unknown; call again.
        """
        key = ArtifactKey(job.project, job.name)
        log = self._repository.artifact_log(key)
        if not await log.refresh():
            await self._create(key, spec)
        await log.append(spec.txn, lambda slots, prev: self._entry(key, spec, ready, prev))
        history = self._repository.replay(key)
        outcome = history.outcomes[spec.txn]
        version = history.versions[outcome.version]
        return JobResult(
            version=outcome.version,
            new_version=outcome.new,
            digest=version.digest,
            bytes_stored=stored,
            files=version.files,
            bytes=version.size,
            warnings=() if outcome.new else (_same_content(key, outcome.version),),
        )

    async def _create(self, key: ArtifactKey, spec: UploadSpec) -> None:
        registered = {item.key for item in await self._repository.artifacts(key.project)}
        if key not in registered:
            await self._repository.registry().append(
                f"{spec.txn}-reg",
                lambda slots, prev: Register(
                    txn=f"{spec.txn}-reg", prev=prev, gc_seen=0, node=self._node, at=self._clock.now(),
                    project=key.project, name=key.name, type=spec.type,
                ),
            )  # fmt: skip
        await self._repository.artifact_log(key).append(
            f"{spec.txn}-new",
            lambda slots, prev: (
                None
                if slots
                else Create(
                    txn=f"{spec.txn}-new", prev=prev, gc_seen=0, node=self._node, at=self._clock.now(), type=spec.type
                )
            ),
        )

    def _entry(self, key: ArtifactKey, spec: UploadSpec, ready: PreparedRow, prev: bytes) -> LogEntry:
        # Built anew for every slot: replaying first means a type decided meanwhile by another node is seen here.
        history = self._repository.replay(key)
        _same_type(key, history.type, spec.type)
        if history.fence:
            raise RemoteRefused(
                f"garbage is being collected in the repository (epoch {history.fence})",
                "this syncd cannot tell whether the packs it refers to outlive that",
                "upgrade syncd on this node; the job goes on then",
            )
        return Commit(
            txn=spec.txn,
            prev=prev,
            gc_seen=0,
            node=self._node,
            at=self._clock.now(),
            manifest=ready.manifest,
            manifest_hash=ready.manifest_hash,
            manifest_size=ready.manifest_size,
            digest=ready.digest,
            aliases=spec.aliases,
            tags=spec.tags,
            metadata=spec.metadata,
            description=spec.description,
            run=spec.run.id if spec.run else "",
            run_project=spec.run.project if spec.run else "",
            inputs=(),
            entries=ready.entries,
            files=ready.files,
            size=ready.size,
        )


def _same_type(key: ArtifactKey, there: str, wanted: str) -> None:
    if there != wanted:
        raise Conflict(
            f"Artifact {key} already exists with type '{there}'; cannot create another with type '{wanted}'",
            "a name has one type for ever",
            f"log it with type '{there}' or under another name",
        )


def _same_content(key: ArtifactKey, version: int) -> str:
    return f"{key}:v{version} has the same content: no new version was made, the aliases moved there"
