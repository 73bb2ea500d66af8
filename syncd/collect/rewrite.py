"""Step 10 of a collection: what sparse packs still hold moves to new packs, and the versions that need it with it.

First the frames are copied; then each version gets a manifest of the same content in other packs, by an entry
`rebase`. Names and transactions follow from what is replaced: done again after a crash, or by two collections at
once, it has one effect; what is left over are packs that nobody refers to. The old packs are garbage once all their
versions are rebased; the next collection condemns them.
"""

from __future__ import annotations

from syncd.clock import Clock
from syncd.collect.sparse import Sparse
from syncd.collect.survey import Root
from syncd.errors import Corrupt
from syncd.format.builder import BuiltPage, Located, ManifestBuilder, locate
from syncd.format.codec import encode
from syncd.format.digest import hash_bytes
from syncd.format.keys import artifact_log, manifest_key, pack_key
from syncd.format.log import LogEntry, Rebase
from syncd.format.manifest import Entry, Manifest, Page, encode_manifest, manifest_hash
from syncd.format.pack import PackBuilder, pack_nonce
from syncd.lanes import Lane
from syncd.repo.log import Slot
from syncd.repo.repository import Repository

Place = tuple[bytes, int]

_FRAMES_A_READ = 64
_BYTES_A_READ = 8 << 20


class Rewriting:
    """Empties sparse packs.

    Args:
        lane: where chunks are encoded.
        sparse: the packs, by id.
        epoch: the newest that has been read; in names and as `gc_seen`.
        node: this node's id, told in entries.
    """

    def __init__(
        self, repository: Repository, lane: Lane, clock: Clock, sparse: dict[bytes, Sparse], epoch: int, node: str
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._sparse = sparse
        self._epoch = epoch
        self._node = node
        self._moved: dict[Place, Place] = {}
        words = [b"syncd rewrite", repository.id.encode(), str(epoch).encode(), *sorted(sparse)]
        self._txn = hash_bytes(b"\0".join(words))[:16].hex()
        self._writer = PackWriter(repository, lane, pack_nonce(self._txn, epoch))

    async def copy(self) -> int:
        """Copy what is needed of the sparse packs into new ones; return the bytes of these."""
        for pack, sparse in sorted(self._sparse.items()):
            for numbers in _reads(sparse):
                frames = [sparse.frames[number] for number in numbers]
                chunks = await self._repository.packs.chunks(pack, frames)
                for number, frame, chunk in zip(numbers, frames, chunks, strict=True):
                    await self._writer.add((pack, number), frame.hash, bytes(chunk))
        self._moved = await self._writer.finish()
        return self._writer.bytes

    async def concerns(self, root: Root) -> Manifest | None:
        """Return the manifest of a version that refers to a sparse pack, None for any other."""
        manifest = await self._repository.manifests.open(root.manifest, root.manifest_hash, root.digest)
        if any(ref.pack in self._sparse for ref in manifest.pages):
            return manifest
        async for page in self._repository.manifests.pages(manifest):
            if any(pack in self._sparse for pack in page.packs):
                return manifest
        return None

    async def rebase(self, root: Root, manifest: Manifest) -> bool:
        """Give a version a manifest that refers to the copies; False when it changed or was fenced meanwhile."""
        txn = hash_bytes(f"{self._txn} {artifact_log(root.key)} {root.version} {root.manifest}".encode())[:16].hex()
        builder = ManifestBuilder(self._repository.record.pages)
        writer = PackWriter(self._repository, self._writer.lane, pack_nonce(txn, self._epoch))
        old = {ref.hash: (ref.pack, ref.frame) for ref in manifest.pages}
        placed: dict[bytes, Place] = {}

        async def keep(built: BuiltPage | None) -> None:
            if built is None:
                return
            if built.hash in old:
                placed[built.hash] = self._where(old[built.hash])
            else:
                await writer.add((built.hash, 0), built.hash, built.data)

        async for page in self._repository.manifests.pages(manifest):
            for entry in page.entries:
                await keep(builder.add(entry, self._located(entry, page)))
        await keep(builder.finish())
        if builder.digest != root.digest:
            raise Corrupt(f"{root.owner} would become another version", "its pages are cut in a way unknown here", "")
        placed |= {digest: place for (digest, _), place in (await writer.finish()).items()}
        for digest, place in placed.items():
            builder.placed(digest, *place)
        made = builder.manifest(manifest.project, manifest.name, manifest.type, txn, manifest.chunker)
        return await self._publish(root, made, txn)

    async def _publish(self, root: Root, manifest: Manifest, txn: str) -> bool:
        data = encode_manifest(manifest)
        body = manifest_hash(data)
        key = manifest_key(root.digest, txn, self._epoch, body)  # who rewrites beside us may lay it out otherwise
        await self._repository.store.put(key, [data])
        log, history = self._repository.visit(root.key)
        number = root.version
        assert number is not None, "parts of groups are not rewritten"

        def build(slots: list[Slot], prev: bytes) -> LogEntry | None:
            state = history.apply(slots[history.applied :])
            if state.fence > self._epoch or state.versions[number].manifest != root.manifest:
                return None  # what was written is garbage then
            return Rebase(
                txn=txn, prev=prev, gc_seen=self._epoch, node=self._node, at=self._clock.now(), manifest=key,
                manifest_hash=body, manifest_size=len(data), digest=root.digest,
                entries=manifest.entries, files=manifest.files, size=manifest.size, version=number,
            )  # fmt: skip

        return await log.append(txn, build) is not None

    def _located(self, entry: Entry, page: Page) -> tuple[Located, ...]:
        return locate(
            self._where((page.packs[run.pack], number))
            for run in entry.runs
            for number in range(run.first, run.first + run.count)
        )

    def _where(self, place: Place) -> Place:
        return self._moved.get(place, place)


class PackWriter:
    """Fills packs of the repository's size and puts them; a chunk's place is known once all are sealed.

    Attributes:
        bytes: of the packs put so far.
    """

    def __init__(self, repository: Repository, lane: Lane, nonce: bytes) -> None:
        self.lane = lane
        self.bytes = 0
        self._repository = repository
        self._nonce = nonce
        self._builder = PackBuilder(nonce)
        self._open: list[tuple[Place, int]] = []
        self._places: dict[Place, Place] = {}

    async def add(self, name: Place, digest: bytes, data: bytes) -> None:
        """Take one chunk; `name` is what it is found by in `finish`."""
        codec, payload = await self.lane.run(encode, memoryview(data), True)
        self._open.append((name, self._builder.add(digest, len(data), codec, payload)))
        if self._builder.is_full(self._repository.record.pack_target):
            await self._seal()

    async def finish(self) -> dict[Place, Place]:
        """Put what is open and return where everything lies."""
        if self._open:
            await self._seal()
        return self._places

    async def _seal(self) -> None:
        sealed = self._builder.seal()
        await self._repository.store.put(pack_key(sealed.pack), sealed.parts)
        self._places.update((name, (sealed.pack, number)) for name, number in self._open)
        self.bytes += sealed.size
        self._builder, self._open = PackBuilder(self._nonce), []


def _reads(sparse: Sparse) -> list[list[int]]:
    """Group the needed frames into reads: neighbours, bounded in number and bytes."""
    reads: list[list[int]] = []
    size = 0
    for number in sorted(sparse.needed):
        length = sparse.frames[number].raw_length
        near = bool(reads) and reads[-1][-1] + 1 == number
        if near and len(reads[-1]) < _FRAMES_A_READ and size + length <= _BYTES_A_READ:
            reads[-1].append(number)
            size += length
        else:
            reads.append([number])
            size = length
    return reads
