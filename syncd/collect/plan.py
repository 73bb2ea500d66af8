"""What a collection would do, from what lies there, what is needed and what was decided before. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.collect.look import Listing, expired
from syncd.collect.marks import Marks
from syncd.collect.params import CollectParams
from syncd.collect.sentences import Sentences
from syncd.collect.survey import Survey
from syncd.format.epoch import MANIFESTS_LIMIT, PACKS_LIMIT


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done.

    Attributes:
        packs, manifests: to be condemned, in order.
        due_packs, due_manifests: condemned before, to be deleted now.
    """

    packs: tuple[bytes, ...]
    manifests: tuple[str, ...]
    due_packs: tuple[bytes, ...]
    due_manifests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """A plan in numbers, for people. Bytes are those of packs and manifests as they are stored.

    Attributes:
        needed_packs, needed_bytes: what versions, kept versions, links and open groups need.
        young_bytes: not needed by anybody, but too young to be condemned.
        in_use_bytes: not needed by a version, but by an upload that goes on.
        now_bytes: freed at once; later_bytes: condemned, freed when its grace is over.
        sparse_packs, sparse_bytes: to be rewritten.
    """

    artifacts: int
    versions: int
    deleted: int
    packs: int
    bytes: int
    needed_packs: int
    needed_bytes: int
    young_bytes: int
    in_use_bytes: int
    now_packs: int
    now_bytes: int
    later_packs: int
    later_bytes: int
    sparse_packs: int = 0
    sparse_bytes: int = 0


def plan(
    listing: Listing, survey: Survey, marks: Marks, held: set[bytes], before: Sentences, params: CollectParams
) -> tuple[Plan, Totals]:
    """Return what to condemn and what to delete.

    Args:
        held: packs that running uploads have asked for.
        before: what earlier epochs decided.
    """
    spared = before.due_packs | before.waiting_packs | before.quarantined
    loose = {pack for pack in listing.packs if pack not in marks.packs and pack not in spared}
    old = {pack for pack in loose - held if expired(listing, listing.packs[pack], params.min_age)}
    sentenced = before.due_manifests | before.waiting_manifests
    old_manifests = {
        key
        for key, info in listing.manifests.items()
        if key not in marks.manifests and key not in sentenced and expired(listing, info, params.min_age)
    }
    made = Plan(
        tuple(sorted(old)[:PACKS_LIMIT]),
        tuple(sorted(old_manifests)[:MANIFESTS_LIMIT]),
        tuple(sorted(before.due_packs)),
        tuple(sorted(before.due_manifests)),
    )

    def size(packs: set[bytes] | tuple[bytes, ...]) -> int:
        return sum(listing.packs[pack].size for pack in packs)

    def weight(keys: set[str] | tuple[str, ...]) -> int:
        return sum(listing.manifests[key].size for key in keys)

    fresh, fresh_bytes = len(made.packs), size(made.packs) + weight(made.manifests)
    at_once = params.grace == 0
    waiting = size(before.waiting_packs) + weight(before.waiting_manifests)
    there = [pack for pack in marks.packs if pack in listing.packs]
    return made, Totals(
        artifacts=survey.artifacts,
        versions=sum(root.version is not None for root in survey.roots),
        deleted=len(survey.deleted),
        packs=len(listing.packs),
        bytes=size(tuple(listing.packs)) + weight(tuple(listing.manifests)),
        needed_packs=len(there),
        needed_bytes=size(tuple(there)) + weight(tuple(key for key in marks.manifests if key in listing.manifests)),
        young_bytes=size(loose - held - old),
        in_use_bytes=size(loose & held),
        now_packs=len(made.due_packs) + (fresh if at_once else 0),
        now_bytes=size(made.due_packs) + weight(made.due_manifests) + (fresh_bytes if at_once else 0),
        later_packs=len(before.waiting_packs) + (0 if at_once else fresh),
        later_bytes=waiting + (0 if at_once else fresh_bytes),
    )
