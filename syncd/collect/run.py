"""One collection as a whole; see the package for the order and what a crash leaves after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.clock import Chance, Clock
from syncd.collect.fence import Fencing
from syncd.collect.look import Listing, in_use, look, store_time
from syncd.collect.marks import Marks
from syncd.collect.params import CollectParams
from syncd.collect.plan import Plan, Totals, plan
from syncd.collect.rewrite import Rewriting
from syncd.collect.sentences import sentences
from syncd.collect.sparse import Sparse, find_sparse
from syncd.collect.survey import Survey, survey
from syncd.collect.sweep import sweep, tidy
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.repo.repository import Repository

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did: the plan in numbers, and what came of it. Bytes as stored."""

    totals: Totals
    epoch: int = 0
    freed_bytes: int = 0
    rewritten_bytes: int = 0
    rewritten_versions: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What steps 1 to 4 found."""

    listing: Listing
    survey: Survey
    marks: Marks
    held: set[bytes]
    plan: Plan
    totals: Totals
    sparse: dict[bytes, Sparse]


class Collector:
    """Collects the garbage of one repository. Stateless: a collection is never resumed, the next begins anew.

    Args:
        lane: where chunks of rewritten packs are encoded.
        node: this node's id, told in records and entries.
        meter: counts collected_bytes, rewritten_bytes; holds gc_epoch.
    """

    def __init__(
        self, repository: Repository, lane: Lane, clock: Clock, rng: Chance, node: str, meter: Meter | None = None
    ) -> None:
        self._repository = repository
        self._lane = lane
        self._clock = clock
        self._rng = rng
        self._node = node
        self._meter = meter

    async def plan(self, params: CollectParams, told: Told = lambda step, done, total: None) -> Totals:
        """Return what a collection would do now; nothing is deleted, nothing is written but the probe object.

        Raises:
            Corrupt: a log or a manifest that may be needed cannot be read; it is named.
            RemoteRefused: this node may not delete or list.
        """
        return (await self._see(params, told)).totals

    async def collect(self, params: CollectParams, told: Told = lambda step, done, total: None) -> Collected:
        """Delete what nobody needs. Safe beside writers that stall for any time, and beside other collections.

        Raises:
            Corrupt: as `plan`; whatever was condemned before stays, until it can be read again.
            RemoteRefused, RemoteUnavailable: as the remote says; call again, nothing is lost.
        """
        seen = await self._see(params, told)
        epoch = await self._condemn(seen, told)
        freed = await self._sweep(seen, params, told)
        rewritten, versions = await self._rewrite(seen, epoch, told)
        if self._meter is not None:
            self._meter.add("collected_bytes", freed)
            self._meter.add("rewritten_bytes", rewritten)
            self._meter.set("gc_epoch", epoch)
        return Collected(seen.totals, epoch, freed, rewritten, versions)

    async def _see(self, params: CollectParams, told: Told) -> _Seen:
        """Steps 1 to 4: look, read what was decided before, replay, mark."""
        repository = self._repository
        told("listing", 0, 0)
        listing = await look(repository.store, self._rng)
        before = await sentences(repository, listing, listing.now, params.grace)
        told("reading logs", 0, 0)
        found = await survey(repository, set(listing.wips))
        held = await in_use(repository.store, listing, found.ended, params.wip_ttl)
        marks = Marks()
        told("reading manifests", 0, len(found.roots))
        await marks.add(repository, found.roots)
        made, totals = plan(listing, found, marks, held, before, params)
        parts = Marks()
        await parts.add(repository, [root for root in found.roots if root.version is None])
        spared = held | before.quarantined | parts.packs.keys()
        sparse = await find_sparse(repository, listing, marks, spared, params)
        totals = replace(totals, sparse_packs=len(sparse), sparse_bytes=sum(item.size for item in sparse.values()))
        return _Seen(listing, found, marks, held, made, totals, sparse)

    async def _condemn(self, seen: _Seen, told: Told) -> int:
        """Steps 5 to 8: an epoch, its fences, a second look, its end. Returns the newest epoch, 0 for none."""
        fencing = Fencing(
            self._repository, self._clock, self._rng, self._node, lambda done, total: told("fencing", done, total)
        )
        epoch = await fencing.condemn(seen.plan)
        if self._repository.epochs.waiting():
            again = await fencing.fence(epoch)
            await seen.marks.add(self._repository, again.roots)
            await fencing.end(epoch, seen.marks, seen.held)
        return epoch

    async def _sweep(self, seen: _Seen, params: CollectParams, told: Told) -> int:
        """Step 9: delete what epochs that have ended condemned, by what they say now."""
        store = self._repository.store
        now = await store_time(store, self._rng)
        due = await sentences(self._repository, seen.listing, now, params.grace)
        total = len(due.due_packs) + len(due.due_manifests)
        gone = 0

        def one(_: int) -> None:
            nonlocal gone
            gone += 1
            told("deleting", gone, total)

        freed = await sweep(store, seen.listing, due, one)
        await tidy(store, seen.listing, seen.survey.ended, params.wip_ttl)
        return freed

    async def _rewrite(self, seen: _Seen, epoch: int, told: Told) -> tuple[int, int]:
        """Step 10: empty sparse packs. Returns (bytes written anew, versions rebased)."""
        if not seen.sparse:
            return 0, 0
        rewriting = Rewriting(self._repository, self._lane, self._clock, seen.sparse, epoch, self._node)
        roots = [root for root in seen.survey.roots if root.version is not None]
        told("rewriting", 0, len(roots))
        written = await rewriting.copy()
        rebased = 0
        for number, root in enumerate(roots, 1):
            manifest = await rewriting.concerns(root)
            if manifest is not None:
                rebased += await rewriting.rebase(root, manifest)
            told("rewriting", number, len(roots))
        return written, rebased
