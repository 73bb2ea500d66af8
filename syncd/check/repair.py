"""Step 4 of a repair: versions that are hurt get their content in other packs, by an entry `rebase`.

The chunks first, then pages and manifest, then the entry: law L1. Only a version that is whole by it is given one; what
has been stored for another is garbage. Names and transaction follow from what is replaced and the epoch, so a repair
that is done again after a crash stores the same packs and writes no second entry.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from syncd.check.places import LocalFile, LocalPlaces
from syncd.check.sources import ChunkSources, Place
from syncd.clock import Clock
from syncd.collect.rewrite import PackWriter
from syncd.collect.survey import Root
from syncd.errors import Corrupt, NotFound, SyncdError
from syncd.format.builder import BuiltPage, Located, ManifestBuilder, locate
from syncd.format.digest import file_digest, hash_bytes
from syncd.format.keys import MANIFESTS, artifact_log, manifest_key
from syncd.format.log import LogEntry, Rebase
from syncd.format.manifest import (
    FILE,
    MAX_MANIFEST,
    Entry,
    Manifest,
    Page,
    PathOrder,
    decode_manifest,
    encode_manifest,
    manifest_hash,
    open_page,
)
from syncd.format.pack import pack_nonce
from syncd.lanes import Lane
from syncd.model.names import printable
from syncd.repo.log import Slot
from syncd.repo.manifests import Manifests
from syncd.repo.packs import Packs
from syncd.repo.repository import Repository


class Lost(Exception):
    """Something of a version is nowhere to be had; the words say what."""


class Repair:
    """Repairs versions.

    Args:
        avoid: packs that nothing new may refer to: damaged, quarantined, condemned.
        epoch: the newest that has been read; in names and as `gc_seen`.
        sources, places: where chunks, and files, may still be.
        node: this node's id, told in entries.
    """

    def __init__(
        self, repository: Repository, avoid: set[bytes], epoch: int, sources: ChunkSources, places: LocalPlaces,
        lane: Lane, clock: Clock, node: str,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._avoid = avoid
        self._epoch = epoch
        self._sources = sources
        self._places = places
        self._lane = lane
        self._clock = clock
        self._node = node
        self._packs = Packs(repository.store, lane)
        self._reader = Manifests(repository.store, self._packs, lane)
        self._moved: dict[Place, Place] = {}
        self._stored: dict[bytes, Place] = {}
        self._hashes: dict[Place, bytes] = {}

    async def version(self, root: Root, manifest: Manifest | None) -> str:
        """Repair one version; return "" when it is whole again, else what of it cannot be had.

        Args:
            manifest: the one that the log names, None when it cannot be read.
        """
        why = "its manifest cannot be read, and no other one has its content"
        async with aclosing(self._candidates(root, manifest)) as candidates:
            async for candidate in candidates:
                try:
                    await self._store(root, candidate)
                    done = await self._rebase(root, candidate)
                    return "" if done else "it changed while it was repaired: repair again"
                except (Lost, Corrupt) as lost:
                    why = str(lost)
        return why

    async def _candidates(self, root: Root, manifest: Manifest | None) -> AsyncGenerator[Manifest, None]:
        """Yield manifests that say what the version holds: its own, then any other of the same digest."""
        if manifest is not None:
            yield manifest
        async for info in self._repository.store.list(f"{MANIFESTS}{root.digest.hex()}."):
            with suppress(Corrupt, NotFound):
                data = await self._repository.store.get(info.key, 0, MAX_MANIFEST + 1)
                found = await self._lane.run(decode_manifest, data, manifest_hash(data))
                if found.digest == root.digest and found != manifest:
                    yield found

    # --- chunks -------------------------------------------------------------------------------------------

    async def _store(self, root: Root, manifest: Manifest) -> None:
        """Store anew what the manifest's files have in packs to be avoided; Lost when something is nowhere."""
        writer = PackWriter(self._repository, self._lane, pack_nonce(self._txn(root, b"chunks"), self._epoch))
        self._hashes = {}
        on_their_way: dict[bytes, Place] = {}
        async for page in self._pages(manifest):
            for entry in page.entries:
                if entry.type == FILE and any(page.packs[run.pack] in self._avoid for run in entry.runs):
                    await self._store_file(entry, page, manifest, writer, on_their_way)
        placed = await writer.finish()
        for hashed, place in on_their_way.items():
            self._stored[hashed] = placed[place]
        self._moved.update((place, self._stored[hashed]) for place, hashed in self._hashes.items())

    async def _store_file(
        self, entry: Entry, page: Page, manifest: Manifest, writer: PackWriter, on_their_way: dict[bytes, Place]
    ) -> None:
        places = _places_of(entry, page)
        known = [await self._sources.what(place) for place in places]
        local: LocalFile | None = None
        chunks = [chunk for chunk in known if chunk is not None]
        if len(chunks) < len(known) or file_digest((length, hashed) for hashed, length in chunks) != entry.digest:
            local = await self._local(entry, manifest, len(places))
            chunks = [(hashed, length) for _, length, hashed in local.chunks]
        for number, (place, (hashed, _)) in enumerate(zip(places, chunks, strict=True)):
            if place[0] not in self._avoid:
                continue
            self._hashes[place] = hashed
            if hashed in self._stored or hashed in on_their_way:
                continue
            data = await self._sources.chunk(place, hashed)
            if data is None:
                local = local or await self._local(entry, manifest, len(places))
                data = await self._places.chunk(local, number)
            if data is None:
                raise Lost(_nowhere(entry))
            await writer.add(place, hashed, data)
            on_their_way[hashed] = place

    async def _local(self, entry: Entry, manifest: Manifest, count: int) -> LocalFile:
        try:
            found = await self._places.find(entry, manifest.chunker)
        except SyncdError:
            found = None  # a chunker that is not known here
        if found is None or len(found.chunks) != count:
            raise Lost(_nowhere(entry))
        return found

    async def _pages(self, manifest: Manifest) -> AsyncIterator[Page]:
        order = PathOrder()
        for ref in manifest.pages:
            try:
                yield await self._reader.page(ref, order)
                continue
            except Corrupt:
                data = await self._sources.chunk((ref.pack, ref.frame), ref.hash)
            if data is None:
                raise Lost(f"the list of its files from {printable(ref.first)} on is nowhere to be had")
            yield await self._lane.run(open_page, ref, data, order)

    # --- pages, manifest, entry ---------------------------------------------------------------------------

    async def _rebase(self, root: Root, manifest: Manifest) -> bool:
        """Give the version a manifest that refers to nothing damaged; False when it changed or was fenced meanwhile."""
        txn = self._txn(root, b"rebase")
        builder = ManifestBuilder(self._repository.record.pages)
        writer = PackWriter(self._repository, self._lane, pack_nonce(txn, self._epoch))
        old = {ref.hash: (ref.pack, ref.frame) for ref in manifest.pages if ref.pack not in self._avoid}
        placed: dict[bytes, Place] = {}

        async def keep(built: BuiltPage | None) -> None:
            if built is None:
                return
            if built.hash in old:
                placed[built.hash] = old[built.hash]
            else:
                await writer.add((built.hash, 0), built.hash, built.data)

        async for page in self._pages(manifest):
            for entry in page.entries:
                await keep(builder.add(entry, self._located(entry, page)))
        await keep(builder.finish())
        if builder.digest != root.digest:
            raise Lost("its pages are cut in a way unknown here")
        placed |= {digest: place for (digest, _), place in (await writer.finish()).items()}
        for digest, place in placed.items():
            builder.placed(digest, *place)
        made = builder.manifest(manifest.project, manifest.name, manifest.type, txn, manifest.chunker)
        return await self._publish(root, made, txn)

    async def _publish(self, root: Root, manifest: Manifest, txn: str) -> bool:
        key = manifest_key(root.digest, txn, self._epoch)
        data = encode_manifest(manifest)
        await self._repository.store.put(key, [data])
        log, history = self._repository.visit(root.key)
        number = root.version
        if number is None:
            raise Lost("it is a part of an open group: its rank must log it again")

        def build(slots: list[Slot], prev: bytes) -> LogEntry | None:
            state = history.apply(slots[history.applied :])
            if state.fence > self._epoch or state.versions[number].manifest != root.manifest:
                return None  # what was written is garbage then
            return Rebase(
                txn=txn, prev=prev, gc_seen=self._epoch, node=self._node, at=self._clock.now(), manifest=key,
                manifest_hash=manifest_hash(data), manifest_size=len(data), digest=root.digest,
                entries=manifest.entries, files=manifest.files, size=manifest.size, version=number,
            )  # fmt: skip

        return await log.append(txn, build) is not None

    def _located(self, entry: Entry, page: Page) -> tuple[Located, ...]:
        return locate(self._moved.get(place, place) for place in _places_of(entry, page))

    def _txn(self, root: Root, what: bytes) -> str:
        words = [b"syncd repair", what, artifact_log(root.key).encode(), str(root.version).encode()]
        return hash_bytes(b"\0".join([*words, root.manifest.encode(), b"%d" % self._epoch]))[:16].hex()


def _places_of(entry: Entry, page: Page) -> list[Place]:
    return [(page.packs[run.pack], number) for run in entry.runs for number in range(run.first, run.first + run.count)]


def _nowhere(entry: Entry) -> str:
    return f"{printable(entry.path)}: a chunk of it is nowhere to be had"
