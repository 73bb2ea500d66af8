"""Which frames of which packs are needed: bit n of a pack's number stands for its frame n."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from syncd.collect.each import each
from syncd.collect.survey import Root, needed
from syncd.errors import Corrupt
from syncd.format.manifest import Manifest, Page
from syncd.repo.repository import Repository

_MANIFESTS_AT_ONCE = 8


@dataclass(slots=True)
class Marks:
    """What the manifests read so far need.

    Attributes:
        manifests: their keys.
        packs: frames by pack.
        weights: bytes of these frames by pack, about: before compression, a file's bytes shared out over its chunks.
    """

    manifests: set[str] = field(default_factory=set)
    packs: dict[bytes, int] = field(default_factory=dict)
    weights: dict[bytes, float] = field(default_factory=dict)

    def mark(self, pack: bytes, first: int, count: int, size: float) -> None:
        """Mark neighbouring frames that hold about `size` bytes."""
        bits = ((1 << count) - 1) << first
        before = self.packs.get(pack, 0)
        fresh = (bits & ~before).bit_count()
        if fresh:
            self.packs[pack] = before | bits
            self.weights[pack] = self.weights.get(pack, 0.0) + size * fresh / count

    def mark_page(self, page: Page) -> None:
        """Mark the frames of a page's files."""
        for entry in page.entries:
            frames = sum(run.count for run in entry.runs)
            for run in entry.runs:
                self.mark(page.packs[run.pack], run.first, run.count, entry.size * run.count / frames)

    def mark_manifest(self, key: str, manifest: Manifest) -> None:
        """Mark the frames of a manifest's pages."""
        self.manifests.add(key)
        for ref in manifest.pages:
            self.mark(ref.pack, ref.frame, 1, ref.length)

    async def add(self, repository: Repository, roots: Iterable[Root]) -> None:
        """Read and mark what is not marked yet.

        Raises:
            Corrupt: a manifest cannot be read; it is named with whose it is.
        """
        fresh: dict[str, Root] = {}
        for root in roots:
            if root.manifest not in self.manifests:
                fresh.setdefault(root.manifest, root)

        async def read(root: Root) -> None:
            try:
                manifest = await repository.manifests.open(root.manifest, root.manifest_hash, root.digest)
                async for page in repository.manifests.pages(manifest):
                    self.mark_page(page)
            except Corrupt as error:
                if not await _still_needed(repository, root):
                    return  # deleted or rebased since, and another collection has been quick
                raise Corrupt(
                    f"{root.owner} cannot be read: {error.what}",
                    f"{error.why}; nothing is deleted while anything that may be needed cannot be read",
                    f"restore it, or give it up: `syncctl rm {root.owner}`" if root.version is not None else error.hint,
                ) from error
            self.mark_manifest(root.manifest, manifest)  # last: who is marked is marked whole

        await each(fresh.values(), read, _MANIFESTS_AT_ONCE)


async def _still_needed(repository: Repository, root: Root) -> bool:
    log, history = repository.visit(root.key)
    now = needed(history.apply(await log.refresh()))
    return any(other.manifest == root.manifest and other.why != "deleted" for other in now)
