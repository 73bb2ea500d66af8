"""What earlier epochs say of what lies in the remote: what may be deleted now, what not yet, what never."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncd.collect.look import Listing
from syncd.errors import NotFound
from syncd.format.keys import gc_key
from syncd.repo.repository import Repository


@dataclass(slots=True)
class Sentences:
    """Names that are listed and condemned.

    Attributes:
        due_packs, due_manifests: their epoch has ended and its grace is over.
        waiting_packs, waiting_manifests: condemned all the same.
        quarantined: packs that fsck keeps as they are.
        epochs: how many epochs there are.
    """

    due_packs: set[bytes] = field(default_factory=set)
    due_manifests: set[str] = field(default_factory=set)
    waiting_packs: set[bytes] = field(default_factory=set)
    waiting_manifests: set[str] = field(default_factory=set)
    quarantined: set[bytes] = field(default_factory=set)
    epochs: int = 0


async def sentences(repository: Repository, listing: Listing, now: float, grace: float) -> Sentences:
    """Read all epochs, one after the other, and keep of them what concerns listed objects.

    Args:
        now: the store's time; the end of an epoch is as old as its object.
        grace: seconds.
    """
    found = Sentences()
    async for judged in repository.epochs.every():
        found.epochs = judged.number
        found.quarantined |= judged.quarantined
        packs = judged.packs & listing.packs.keys()
        manifests = judged.manifests & listing.manifests.keys()
        if not packs and not manifests:
            continue
        if judged.done and await _ended(repository, judged.number) + grace <= now:
            found.due_packs |= packs
            found.due_manifests |= manifests
        else:
            found.waiting_packs |= packs
            found.waiting_manifests |= manifests
    found.due_packs -= found.quarantined
    found.waiting_packs -= found.due_packs
    found.waiting_manifests -= found.due_manifests
    return found


async def _ended(repository: Repository, epoch: int) -> float:
    try:
        return (await repository.store.stat(gc_key(epoch, done=True))).modified
    except NotFound:
        return float("inf")  # a store that shows an object and then does not: no reason to delete
