"""One version from this repository into another one: its chunks in new packs, a new manifest, a commit over there.

Each chunk is verified when it is read here, and once more when it has been stored there; the commit comes after. The
transaction follows from the source, so a copy that is repeated, after a crash or for good measure, finds its own commit
and does nothing. Before the commit a crash leaves packs nobody refers to: the next try stores the same ones again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from syncd.budget import Account, Budget
from syncd.check.packs import PackJudge
from syncd.clock import Clock
from syncd.collect.rewrite import PackWriter
from syncd.errors import Conflict, Corrupt, RemoteUnavailable
from syncd.format.builder import BuiltPage, Located, ManifestBuilder, locate
from syncd.format.digest import hash_bytes
from syncd.format.keys import artifact_log, manifest_key
from syncd.format.manifest import Entry, Manifest, Page, encode_manifest, manifest_hash
from syncd.format.pack import Frame, pack_nonce
from syncd.jobs.states import Kind, State
from syncd.journal.jobs import JobResult, JobRow, UploadSpec
from syncd.journal.packs import PreparedRow
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.history import History, Version
from syncd.repo.packs import Packs
from syncd.repo.repository import Repository
from syncd.upload.commit import CommitStage, Fenced

Place = tuple[bytes, int]
Told = Callable[[str, int, int], None]

_READ_BYTES = 8 << 20
_ROOM = 32 << 20
_FOREIGN_PACKS = 4096


@dataclass(frozen=True, slots=True)
class CopyWork:
    """What a copy works with: both repositories, threads, and who says that it was done."""

    source: Repository
    target: Repository
    lane: Lane
    budget: Budget
    clock: Clock
    node: str


async def copy_version(work: CopyWork, history: History, version: Version, to: ArtifactKey, told: Told) -> JobResult:
    """Make a version of one repository a version of another one; may be repeated.

    Metadata, description and tags come along; aliases, and the run that made it, do not.

    Raises:
        Conflict: the artifact has another type there.
        Corrupt: something of it is damaged here, or did not arrive whole.
        RemoteUnavailable, RemoteRefused: as the remotes say; call again.
    """
    words = [work.source.id, artifact_log(history.key), str(version.number), version.digest.hex(), artifact_log(to)]
    txn = hash_bytes(b"syncd copy\0", "\0".join(words).encode())[:16].hex()
    spec = UploadSpec(
        txn=txn, type=history.type, description=version.description, metadata=version.metadata,
        tags=version.tags, files=version.files, bytes=version.size,
    )  # fmt: skip
    row = JobRow(txn, Kind.UPLOAD, State.COMMITTING, work.target.id, None, to.project, to.name, spec, 0.0, 0.0)
    commit = CommitStage(work.target, work.clock, work.node)
    await commit.check_type(to, history.type)
    if commit.done(to, spec):
        return _outcome(work.target.replay(to), txn)
    manifest = await work.source.manifests.read(version)
    while True:
        epoch = await work.target.epochs.refresh()
        with work.budget.account() as account:
            copying = _Copying(work, account, txn, epoch, told)
            ready, stored = await copying.run(manifest, history.type, to)
        try:
            return await commit.commit(row, spec, ready, stored)
        except Fenced as fenced:
            if await work.target.epochs.refresh() < fenced.epoch:
                raise RemoteUnavailable(
                    f"the other repository is fenced by epoch {fenced.epoch}, which cannot be read", "", "try again"
                ) from fenced


def same_repository(source: Repository, target: Repository) -> None:
    """Raise Conflict when both are one: a copy of a repository is a mirror."""
    if source.id == target.id:
        raise Conflict(
            "source and target are the same repository",
            f"both are {source.id[:8]}",
            'a second copy of a repository is a [[remote]] with role = "mirror"',
        )


class _Copying:
    def __init__(self, work: CopyWork, account: Account, txn: str, epoch: int, told: Told) -> None:
        self._source = work.source
        self._target = work.target
        self._lane = work.lane
        self._account = account
        self._txn = txn
        self._epoch = epoch
        self._told = told
        self._writer = PackWriter(work.target, work.lane, pack_nonce(txn, epoch))
        self._there: dict[bytes, Place] = {}
        self._coming: dict[bytes, Place] = {}
        self._hashes: dict[Place, bytes] = {}

    async def run(self, manifest: Manifest, type_: str, to: ArtifactKey) -> tuple[PreparedRow, int]:
        """Store everything but the commit; return what it will say, and the bytes of new packs."""
        hold = await self._account.take(2 * self._target.record.pack_target + _ROOM)
        try:
            await self._learn(to)
            done = 0
            async for page in self._source.manifests.pages(manifest):
                for entry in page.entries:
                    await self._chunks(entry, page)
                    done += 1
                self._told("copying", done, manifest.entries)
            placed = await self._writer.finish()
            self._there |= {hashed: placed[place] for hashed, place in self._coming.items()}
            ready = await self._manifest(manifest, type_, to, set(placed.values()))
        finally:
            hold.release()
        return ready, self._writer.bytes

    async def _learn(self, to: ArtifactKey) -> None:
        """Learn which chunks the newest version over there has: these are not stored again."""
        slots = self._target.artifact_log(to).slots
        newest = self._target.replay(to).newest() if slots else None
        if newest is None:
            return
        packs: set[bytes] = set()
        try:
            manifest = await self._target.manifests.read(newest)
            async for page in self._target.manifests.pages(manifest):
                packs.update(page.packs)
            for pack in sorted(packs - self._target.epochs.condemned(packs))[:_FOREIGN_PACKS]:
                for number, frame in enumerate(await Packs(self._target.store, self._lane).index(pack)):
                    self._there.setdefault(frame.hash, (pack, number))
        except Corrupt:
            return  # what is damaged there is not built upon

    async def _chunks(self, entry: Entry, page: Page) -> None:
        for run in entry.runs:
            pack = page.packs[run.pack]
            frames = (await self._source.packs.index(pack))[run.first : run.first + run.count]
            if len(frames) < run.count:
                raise Corrupt(f"a file refers to chunks that pack {pack.hex()} has not", "", "syncctl fsck")
            fresh: list[tuple[Place, Frame]] = []
            for number, frame in enumerate(frames, run.first):
                self._hashes[pack, number] = frame.hash
                if frame.hash not in self._there and frame.hash not in self._coming:
                    self._coming[frame.hash] = (pack, number)
                    fresh.append(((pack, number), frame))
            for some in _reads(fresh):
                data = await self._source.packs.chunks(pack, [frame for _, frame in some])
                for (place, frame), chunk in zip(some, data, strict=True):
                    await self._writer.add(place, frame.hash, bytes(chunk))

    async def _manifest(self, manifest: Manifest, type_: str, to: ArtifactKey, stored: set[Place]) -> PreparedRow:
        builder = ManifestBuilder(self._target.record.pages)
        writer = PackWriter(self._target, self._lane, pack_nonce(f"{self._txn}-p", self._epoch))

        async def keep(built: BuiltPage | None) -> None:
            if built is not None:
                await writer.add((built.hash, 0), built.hash, built.data)

        async for page in self._source.manifests.pages(manifest):
            for entry in page.entries:
                await keep(builder.add(entry, self._located(entry, page)))
        await keep(builder.finish())
        pages = await writer.finish()
        for (digest, _), place in pages.items():
            builder.placed(digest, *place)
        await self._prove({pack for pack, _ in stored | set(pages.values())})
        made = builder.manifest(to.project, to.name, type_, self._txn, manifest.chunker)
        data = encode_manifest(made)
        key = manifest_key(made.digest, self._txn, self._epoch)
        await self._target.store.put(key, [data])
        if await self._target.store.get(key, 0, len(data) + 1) != data:
            raise Corrupt(f"{key} did not arrive as it was sent", "", "copy again; check that remote")
        return PreparedRow(
            key, manifest_hash(data), len(data), made.digest, made.entries, made.files, made.size, self._epoch
        )  # fmt: skip

    async def _prove(self, packs: set[bytes]) -> None:
        """Read back and hash what was stored."""
        judge = PackJudge(self._target.store, self._lane, self._account)
        for number, pack in enumerate(sorted(packs), 1):
            state = await judge.judge(pack, read=True)
            if state.finding is not None:
                raise Corrupt(f"{state.finding.key} did not arrive whole", state.finding.what, "copy again")
            self._told("verifying", number, len(packs))

    def _located(self, entry: Entry, page: Page) -> tuple[Located, ...]:
        return locate(
            self._there[self._hashes[page.packs[run.pack], number]]
            for run in entry.runs
            for number in range(run.first, run.first + run.count)
        )


def _reads(fresh: list[tuple[Place, Frame]]) -> list[list[tuple[Place, Frame]]]:
    """Group frames into reads: neighbours, of bounded size."""
    reads: list[list[tuple[Place, Frame]]] = []
    size = 0
    for place, frame in fresh:
        near = bool(reads) and reads[-1][-1][0][1] + 1 == place[1] and size + frame.raw_length <= _READ_BYTES
        if near:
            reads[-1].append((place, frame))
            size += frame.raw_length
        else:
            reads.append([(place, frame)])
            size = frame.raw_length
    return reads


def _outcome(history: History, txn: str) -> JobResult:
    outcome = history.outcomes[txn]
    version = history.versions[outcome.version]
    return JobResult(outcome.version, outcome.new, version.digest, 0, version.files, version.size)
