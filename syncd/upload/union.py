"""The union of manifests: one version of what several ranks have stored.

The manifests are merged in the order of their paths, page by page; the chunks stay where they lie, only pages and the
manifest are new. What two ranks have alike is one entry, and a directory that is empty for one rank and not for another
is not empty. Anything else that two ranks say of one path, or of paths that cannot stand in one tree, is a clash: there
is no union then, for nobody can know which of them was meant.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from syncd.format.builder import BuiltPage, Located, ManifestBuilder
from syncd.format.codec import encode
from syncd.format.keys import manifest_key, pack_key
from syncd.format.manifest import DIRECTORY, Entry, Page, encode_manifest, manifest_hash
from syncd.format.pack import PackBuilder, pack_nonce
from syncd.journal.packs import PreparedRow
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey, printable
from syncd.repo.manifests import Manifests
from syncd.repo.repository import Repository

_RANKS_NAMED = 4


class Clash(Exception):
    """Two ranks contribute what cannot stand in one version. `reason` names the path and the ranks."""

    def __init__(self, path: bytes, one: Sequence[int], other: Sequence[int], why: str) -> None:
        self.reason = f"{printable(path)} of {ranks_text(one)} clashes with {ranks_text(other)}: {why}"[:1000]
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class Share:
    """What some ranks have stored: their manifest as a log entry or the journal describes it."""

    ranks: tuple[int, ...]
    manifest: str
    manifest_hash: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a share, and where its chunks lie."""

    entry: Entry
    located: tuple[Located, ...]
    ranks: tuple[int, ...]

    @property
    def path(self) -> bytes:
        """Its path."""
        return self.entry.path

    @property
    def facts(self) -> tuple[object, ...]:
        """All that two ranks must say alike."""
        entry = self.entry
        return entry.type, entry.mode, entry.size, entry.digest, entry.target


class UnionStage:
    """Stores unions. `lane` encodes pages."""

    def __init__(self, repository: Repository, lane: Lane) -> None:
        self._repository = repository
        self._lane = lane

    async def store(self, key: ArtifactKey, type_: str, txn: str, epoch: int, shares: list[Share]) -> PreparedRow:
        """Make the union of some shares durable (law L1) and return what a log entry says of it. May be repeated.

        Args:
            txn, epoch: whose packs and manifest these are, and what was seen of collections.

        Raises:
            Clash: there is no union.
            Corrupt, RemoteUnavailable, RemoteRefused: a share cannot be read, or the union not be stored.
        """
        builder = ManifestBuilder(self._repository.record.pages)
        writer = _PageWriter(self._repository, self._lane, pack_nonce(f"{txn}-union", epoch))
        async with aclosing(merged(self._repository.manifests, shares)) as entries:
            async for found in entries:
                await writer.add(builder.add(found.entry, found.located))
        await writer.add(builder.finish())
        for page_hash, place in (await writer.finish()).items():
            builder.placed(page_hash, *place)
        manifest = builder.manifest(key.project, key.name, type_, txn, self._repository.record.chunker)
        data = await self._lane.run(encode_manifest, manifest)
        body = manifest_hash(data)
        name = manifest_key(manifest.digest, txn, epoch, body)
        await self._repository.store.put(name, [data])
        return PreparedRow(
            name, body, len(data), manifest.digest, manifest.entries, manifest.files, manifest.size, epoch
        )


async def merged(manifests: Manifests, shares: list[Share]) -> AsyncGenerator[Found, None]:
    """Yield the entries of all shares in the order of their paths, each once; Clash where they contradict."""
    above: list[Found] = []
    async with aclosing(_without_filled(manifests, shares)) as entries:
        async for found in entries:
            while above and not found.path.startswith(above[-1].path):
                above.pop()
            for one in above:
                if found.path[len(one.path)] == 0x2F:
                    raise Clash(found.path, found.ranks, one.ranks, f"it lies below {printable(one.path)}")
            above.append(found)
            yield found


async def _without_filled(manifests: Manifests, shares: list[Share]) -> AsyncGenerator[Found, None]:
    """Leave out empty directories that another share has entries in.

    A directory is held back, with what follows it, until the paths no longer begin with its own.
    """
    held: deque[Found] = deque()
    empty: list[Found] = []
    async with aclosing(_each_once(manifests, shares)) as entries:
        async for found in entries:
            empty = [one for one in empty if found.path.startswith(one.path)]
            filled = [one for one in empty if found.path.startswith(one.path + b"/")]
            if filled:
                empty = [one for one in empty if one not in filled]
                held = deque(one for one in held if one not in filled)
            held.append(found)
            if found.entry.type == DIRECTORY:
                empty.append(found)
            while held and held[0] not in empty:
                yield held.popleft()
    for found in held:
        yield found


async def _each_once(manifests: Manifests, shares: list[Share]) -> AsyncGenerator[Found, None]:
    last: Found | None = None
    async with aclosing(_ordered(manifests, shares)) as entries:
        async for found in entries:
            if last is None or last.path != found.path:
                last = found
                yield found
            elif last.facts != found.facts:
                raise Clash(found.path, last.ranks, found.ranks, "they differ")


async def _ordered(manifests: Manifests, shares: list[Share]) -> AsyncGenerator[Found, None]:
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(aclosing(_read(manifests, share))) for share in shares]
        heads: list[tuple[bytes, int, Found]] = []
        for number, reader in enumerate(readers):
            async for found in reader:
                heads.append((found.path, number, found))
                break
        heapq.heapify(heads)
        while heads:
            _, number, found = heads[0]
            yield found
            async for following in readers[number]:
                heapq.heapreplace(heads, (following.path, number, following))
                break
            else:
                heapq.heappop(heads)


async def _read(manifests: Manifests, share: Share) -> AsyncGenerator[Found, None]:
    whose = f" of {ranks_text(share.ranks)}"
    manifest = await manifests.open(share.manifest, share.manifest_hash, share.digest, whose)
    async for page in manifests.pages(manifest):
        for entry in page.entries:
            yield Found(entry, _located(entry, page), share.ranks)


def _located(entry: Entry, page: Page) -> tuple[Located, ...]:
    return tuple(Located(page.packs[run.pack], run.first, run.count) for run in entry.runs)


class _PageWriter:
    """Fills packs with pages and puts them; where a page lies is known once all are put."""

    def __init__(self, repository: Repository, lane: Lane, nonce: bytes) -> None:
        self._repository = repository
        self._lane = lane
        self._nonce = nonce
        self._builder = PackBuilder(nonce)
        self._open: list[tuple[bytes, int]] = []
        self._places: dict[bytes, tuple[bytes, int]] = {}

    async def add(self, page: BuiltPage | None) -> None:
        if page is None:
            return
        codec, payload = await self._lane.run(encode, memoryview(page.data), True)
        self._open.append((page.hash, self._builder.add(page.hash, len(page.data), codec, payload)))
        if self._builder.is_full(self._repository.record.pack_target):
            await self._seal()

    async def finish(self) -> dict[bytes, tuple[bytes, int]]:
        if self._open:
            await self._seal()
        return self._places

    async def _seal(self) -> None:
        sealed = self._builder.seal()
        await self._repository.store.put(pack_key(sealed.pack), sealed.parts)
        self._places.update((digest, (sealed.pack, number)) for digest, number in self._open)
        self._builder, self._open = PackBuilder(self._nonce), []


def ranks_text(ranks: Sequence[int]) -> str:
    """Return ranks in words: "rank 3", "ranks 0, 1, 2, 3 and 4 more"."""
    named = ", ".join(str(rank) for rank in ranks[:_RANKS_NAMED])
    more = f" and {len(ranks) - _RANKS_NAMED} more" if len(ranks) > _RANKS_NAMED else ""
    return f"rank{'s' if len(ranks) > 1 else ''} {named}{more}"
