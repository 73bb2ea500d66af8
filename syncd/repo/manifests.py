"""Reading manifests page by page: a folder of a version costs its pages, not the whole list."""

from __future__ import annotations

from collections.abc import AsyncIterator

from syncd.errors import Corrupt, NotFound, SyncdError
from syncd.format.manifest import MAX_MANIFEST, Entry, Manifest, Page, PageRef, PathOrder, decode_manifest, open_page
from syncd.lanes import Lane
from syncd.repo.history import Version
from syncd.repo.packs import Packs
from syncd.store.base import Store


class Manifests:
    """Manifests of a repository, every byte checked against the log entry that names it.

    Args:
        spare: another copy of the remote, asked for what turns out to be missing or damaged.
    """

    def __init__(self, store: Store, packs: Packs, lane: Lane, spare: Store | None = None) -> None:
        self._store = store
        self._spare = spare
        self._packs = packs
        self._lane = lane

    async def read(self, version: Version) -> Manifest:
        """Return the manifest of a version.

        Raises:
            Corrupt: missing, damaged, or not the one the log entry names.
        """
        return await self.open(version.manifest, version.manifest_hash, version.digest, f" of v{version.number}")

    async def open(self, key: str, expected_hash: bytes, digest: bytes, whose: str = "") -> Manifest:
        """Return the manifest under a key, as a log entry describes it; `whose` is for the words of the error.

        Raises:
            Corrupt: missing, damaged, or not the one that is described.
        """
        try:
            return await self._open(self._store, key, expected_hash, digest, whose)
        except Corrupt as error:
            if self._spare is None:
                raise
            try:
                return await self._open(self._spare, key, expected_hash, digest, whose)
            except SyncdError as second:
                raise error from second

    async def _open(self, store: Store, key: str, expected_hash: bytes, digest: bytes, whose: str) -> Manifest:
        try:
            data = await store.get(key, 0, MAX_MANIFEST + 1)
        except NotFound as error:
            raise Corrupt(
                f"the manifest {key}{whose} is missing",
                "something other than syncd removed it",
                "restore the object; other versions are not touched by this",
            ) from error
        try:
            manifest = await self._lane.run(decode_manifest, data, expected_hash)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error
        if manifest.digest != digest:
            raise Corrupt(f"{key} is another version's", "its digest differs from the log's", "")
        return manifest

    async def page(self, ref: PageRef, order: PathOrder | None = None) -> Page:
        """Return one page of entries; `order` is shared by those who read all pages in order."""
        data = await self._packs.chunk(ref.pack, ref.frame)
        return await self._lane.run(open_page, ref, data, order)

    async def pages(self, manifest: Manifest, after: bytes = b"") -> AsyncIterator[Page]:
        """Yield the pages that hold entries behind the path `after`, in order."""
        order = None if after else PathOrder()
        for ref in manifest.pages:
            if not after or ref.last > after:
                yield await self.page(ref, order)

    async def entries(self, manifest: Manifest, after: bytes = b"") -> AsyncIterator[Entry]:
        """Yield the entries behind the path `after`, in order."""
        async for page in self.pages(manifest, after):
            for entry in page.entries:
                if entry.path > after:
                    yield entry
