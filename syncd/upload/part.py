"""Last stage of a rank: its part of a version that several ranks make (docs/decisions/0009).

The order, each step repeatable; nobody finalises:

1. Registry, slot 0 and run, as for any commit (commit.py).
2. The ranks that log through this daemon and are ready at about the same time gather; what they have is merged
   into one manifest. A rank that comes alone is a gathering of one.
3. Would they be the last of the group, the parts of all the others are merged with theirs: the whole.
4. One `part` is appended for all that gathered. **If it leaves no rank missing, that write is the commit point.**

In 2 and 3 two ranks may turn out to clash: then an `abort` that says so is appended, and no version appears.

Whoever of a gathering has the turn works for all in it. What became of a rank is read from the replay, never from who
wrote what: the part of a daemon that died right after the append is found there by each of its ranks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from msgspec import UNSET

from syncd.clock import Clock
from syncd.errors import Aborted, Conflict, Corrupt, InvalidInput, RemoteUnavailable, SyncdError
from syncd.format.digest import HASH_BYTES
from syncd.format.keys import manifest_key
from syncd.format.log import RANKS_LIMIT, Abort, LogEntry, Part, Whole, encode_entry
from syncd.journal.jobs import JobResult, JobRow, UploadSpec
from syncd.journal.packs import PreparedRow
from syncd.model.names import NAME_LIMIT, ArtifactKey
from syncd.repo.groups import Group
from syncd.repo.history import History
from syncd.repo.log import Slot
from syncd.repo.repository import Repository
from syncd.upload.commit import CommitStage, same_content
from syncd.upload.union import Clash, Share, UnionStage, ranks_text

JOIN_SECONDS = 5.0
"""For so long after the last one came, a gathering waits for the local ranks that are still missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """One rank whose bytes are stored."""

    spec: UploadSpec
    row: PreparedRow


@dataclass(slots=True, weakref_slot=True)
class _Gathering:
    """The ranks of one group that are ready in this daemon. Whoever holds `turn` works for all of them."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ready: list[Ready] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    last: float = 0.0

    def enter(self, one: Ready, now: float) -> None:
        self.ready.append(one)
        self.last = now
        self.came.set()

    @property
    def whole(self) -> bool:
        """Whether all local ranks that anybody spoke of are here."""
        return len(self.ready) >= max(one.spec.local_world_size for one in self.ready)


class PartStage:
    """Appends parts. `commit` knows how entries of this node begin, `union` merges manifests."""

    def __init__(self, repository: Repository, commit: CommitStage, union: UnionStage, clock: Clock) -> None:
        self._repository = repository
        self._commit = commit
        self._union = union
        self._clock = clock
        self._gatherings: WeakValueDictionary[tuple[ArtifactKey, str], _Gathering] = WeakValueDictionary()

    def check(self, key: ArtifactKey, spec: UploadSpec) -> None:
        """Raise what `contribute` is sure to raise, as far as the log was read: better early than after the upload."""
        standing(self._repository.replay(key), spec)

    async def contribute(self, job: JobRow, spec: UploadSpec, row: PreparedRow | None, stored: int) -> JobResult:
        """Have the rank's part in the log, exactly once; the result has a version when the group is complete.

        Raises:
            Aborted: the group was aborted, now or before.
            Conflict: another type, another number of ranks, or the rank has contributed other bytes already.
            Fenced: what `row` refers to may be condemned: choose it anew, then call again.
            RemoteUnavailable, RemoteRefused: the outcome is unknown; call again.
        """
        if row is None:
            raise RemoteUnavailable("the journal does not keep what is noted", "", "see `syncd doctor`")
        key = ArtifactKey(job.project, job.name)
        warnings = await self._commit.prepare_log(key, spec, row.gc_seen)
        mine = Ready(spec, row)
        gathering = self._gatherings.setdefault((key, spec.group), _Gathering())
        gathering.enter(mine, self._clock.monotonic())
        try:
            while (group := standing(self._repository.replay(key), spec, row.digest)) is None:
                async with gathering.turn:
                    if standing(self._repository.replay(key), spec, row.digest) is None:
                        await self._gathered(gathering)
                        await self._append_unless_collected(key, gathering.ready, mine)
        finally:
            gathering.ready.remove(mine)
        return _result(self._repository.replay(key), group, row, stored, warnings)

    async def _gathered(self, gathering: _Gathering) -> None:
        """Return when all local ranks are here, or none has come for a while."""
        while not gathering.whole:
            left = gathering.last + JOIN_SECONDS - self._clock.monotonic()
            if left <= 0:
                return
            gathering.came.clear()
            async with asyncio.TaskGroup() as tasks:
                naps = [tasks.create_task(gathering.came.wait()), tasks.create_task(self._clock.sleep(left))]
                await asyncio.wait(naps, return_when=asyncio.FIRST_COMPLETED)
                for nap in naps:
                    nap.cancel()

    async def _append_unless_collected(self, key: ArtifactKey, ready: Sequence[Ready], mine: Ready) -> None:
        """Append; what cannot be read because a collection took our own manifest meanwhile is chosen anew."""
        try:
            await self._append(key, ready, mine)
        except Corrupt:
            await self._repository.artifact_log(key).refresh()  # nothing is deleted before the fence stands here
            self._commit.check_slot(key, mine.spec, mine.row.gc_seen)
            raise

    async def _append(self, key: ArtifactKey, ready: Sequence[Ready], mine: Ready) -> None:
        """Append one part for all that are ready, or an abort. Who calls looks at the replay for what became of it."""
        history = self._repository.replay(key)
        batch = _together(history, ready, mine)
        clash: Clash | None = None
        try:
            part = await self._stored(key, mine, [_share(one) for one in batch])
        except Clash as found:  # one part is appended all the same: an abort ends a group that there is
            clash, batch, part = found, [mine], mine.row
        try:
            await self._append_part(key, batch, mine, part, history.groups.get(mine.spec.group))
        except Clash as found:
            clash = found
        if clash is not None:
            await self._abort(key, mine.spec, clash.reason)

    async def _stored(self, key: ArtifactKey, mine: Ready, shares: list[Share]) -> PreparedRow:
        if len(shares) == 1:
            return mine.row
        return await self._union.store(key, mine.spec.type, mine.spec.txn, mine.row.gc_seen, shares)

    async def _append_part(
        self, key: ArtifactKey, batch: list[Ready], mine: Ready, part: PreparedRow, group: Group | None
    ) -> None:
        ranks = tuple(one.spec.rank for one in batch)
        whole: PreparedRow | None = None
        if group is not None and set(group.missing) <= set(ranks):
            own = Share(ranks, part.manifest, part.manifest_hash, part.digest)
            others = [Share(one.ranks, one.manifest, one.manifest_hash, one.digest) for one in group.shares]
            whole = await self._stored(key, mine, [*others, own])

        def build(_: list[Slot], prev: bytes) -> LogEntry | None:
            # The log may have moved on meanwhile; what was merged is right only for the group as it was.
            now = self._commit.check_slot(key, mine.spec, mine.row.gc_seen).groups.get(mine.spec.group)
            if not _fits(now, group, mine.spec, ranks):
                return None
            return _part(batch, part, whole, self._commit.head(mine.spec.txn, prev, mine.row.gc_seen))

        written = await self._repository.artifact_log(key).append(mine.spec.txn, build)
        if written is not None and standing(self._repository.replay(key), mine.spec) is None:
            raise SyncdError(  # no right writer comes here; trying on at once would never end
                f"the part of rank {mine.spec.rank} in {key} has no effect",
                f"slot {written.number} has its transaction and does not count",
                "log it again under another group name",
            )

    async def _abort(self, key: ArtifactKey, spec: UploadSpec, reason: str) -> None:
        def build(_: list[Slot], prev: bytes) -> LogEntry | None:
            group = self._repository.replay(key).groups.get(spec.group)
            if group is None or not group.open:
                return None
            return Abort(**self._commit.head(f"{spec.txn}-abort", prev), group=spec.group, reason=reason)

        await self._repository.artifact_log(key).append(f"{spec.txn}-abort", build)


def check_group(spec: UploadSpec) -> None:
    """Raise InvalidInput when no log entry can hold the group, the rank or what is logged with them."""
    if not spec.group:
        return
    if len(spec.group) > NAME_LIMIT or not spec.group.isprintable():
        raise InvalidInput(
            f"invalid group {spec.group[:80]!r}", f"it is at most {NAME_LIMIT} printable characters", "choose another"
        )
    if not 1 <= spec.world_size <= RANKS_LIMIT or not 0 <= spec.rank < spec.world_size:
        raise InvalidInput(f"rank {spec.rank} of {spec.world_size}", "ranks count from 0 up to the number of ranks", "")
    none = bytes(HASH_BYTES)
    row = PreparedRow(manifest_key(none, spec.txn), none, 0, none, 0, 0, 0)
    encode_entry(_part([Ready(spec, row)], row, row, {"txn": spec.txn, "prev": none, "node": "n" * 64}))


def standing(history: History, spec: UploadSpec, digest: bytes | None = None) -> Group | None:
    """Return the group when the rank's part is in it, None while it may come.

    Args:
        digest: what the rank has; None: not known yet.

    Raises:
        Aborted: the group was aborted.
        Conflict: the group counts other ranks, or has other bytes of the rank.
    """
    group = history.groups.get(spec.group)
    if group is None:
        return None
    if group.of != spec.world_size:
        raise Conflict(
            f"the group {group.name} of {history.key} is of {group.of} ranks, not {spec.world_size}",
            "the first part says how many ranks there are",
            "a new attempt needs another group name",
        )
    if group.aborted is not None:
        raise aborted(history.key, group)
    if spec.rank not in group.parts:
        return None
    if digest is not None and group.digest_of(spec.rank) != digest:
        raise Conflict(
            f"rank {spec.rank} has contributed other bytes to the group {group.name} of {history.key}",
            "what is in the log does not change",
            "a new attempt needs another group name",
        )
    return group


def aborted(key: ArtifactKey, group: Group) -> Aborted:
    """Return the error for a group that was aborted."""
    reason = group.aborted or "no reason was given"
    return Aborted(f"the group {group.name} of {key} was aborted", reason, "a new attempt needs another group name")


def _together(history: History, ready: Sequence[Ready], mine: Ready) -> list[Ready]:
    """Return those that one part can speak for, `mine` among them, in the order of their ranks."""
    by_rank = {}
    for one in [*ready, mine]:
        alike = (one.spec.world_size, one.spec.type) == (mine.spec.world_size, mine.spec.type)
        if alike and one.row.gc_seen == mine.row.gc_seen and not _contributed(history, one):
            by_rank[one.spec.rank] = one
    return [by_rank[rank] for rank in sorted(by_rank)]


def _contributed(history: History, one: Ready) -> bool:
    group = history.groups.get(one.spec.group)
    return group is not None and one.spec.rank in group.parts


def _fits(now: Group | None, before: Group | None, spec: UploadSpec, ranks: tuple[int, ...]) -> bool:
    """Whether a part of these ranks, made for the group as it was `before`, is right for it as it is now."""
    if now is None:
        return True
    if not now.open or now.of != spec.world_size or any(rank in now.parts for rank in ranks):
        return False
    completes = set(now.missing) <= set(ranks)
    return not completes or (before is not None and before.parts.keys() == now.parts.keys())


def _share(one: Ready) -> Share:
    return Share((one.spec.rank,), one.row.manifest, one.row.manifest_hash, one.row.digest)


def _part(batch: list[Ready], row: PreparedRow, whole: PreparedRow | None, head: dict[str, Any]) -> Part:
    ranks = [one.spec.rank for one in batch]
    several = len(batch) > 1
    return Part(
        **head,
        **_content(row),
        aliases=_all(batch, "aliases"),
        tags=_all(batch, "tags"),
        inputs=_all(batch, "inputs"),
        metadata=_first(batch, "metadata", {}),
        description=_first(batch, "description", ""),
        run=next((one.spec.run.id for one in batch if one.spec.run), ""),
        run_project=next((one.spec.run.project for one in batch if one.spec.run), ""),
        group=batch[0].spec.group,
        of=batch[0].spec.world_size,
        index=ranks[0],
        also=tuple(ranks[1:]) if several else UNSET,
        digests=tuple(one.row.digest for one in batch) if several else UNSET,
        whole=UNSET if whole is None else Whole(**_content(whole)),
    )


def _content(row: PreparedRow) -> dict[str, Any]:
    names = ("manifest", "manifest_hash", "manifest_size", "digest", "entries", "files", "size")
    return {name: getattr(row, name) for name in names}


def _all(batch: list[Ready], name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for one in batch for word in getattr(one.spec, name)))


def _first(batch: list[Ready], name: str, none: Any) -> Any:
    return next((value for one in batch if (value := getattr(one.spec, name))), none)


def _result(history: History, group: Group, row: PreparedRow, stored: int, warnings: list[str]) -> JobResult:
    own = JobResult(digest=row.digest, bytes_stored=stored, files=row.files, bytes=row.size, warnings=tuple(warnings))
    return own if group.version is None else completed(history, group, own)


def completed(history: History, group: Group, own: JobResult) -> JobResult:
    """Return a rank's result when its group has become a version."""
    assert group.version is not None
    outcome = next(history.outcomes[part.txn] for part in group.shares if part.txn in history.outcomes)
    note = () if outcome.new else (same_content(history.key, outcome.version),)
    return JobResult(
        version=outcome.version,
        new_version=outcome.new,
        digest=history.versions[outcome.version].digest,
        bytes_stored=own.bytes_stored,
        files=own.files,
        bytes=own.bytes,
        warnings=(*own.warnings, *note),
    )


def missing_text(group: Group) -> str:
    """Return in words who has not contributed."""
    return f"{len(group.missing)} of {group.of} ranks are missing: {ranks_text(group.missing)}"
