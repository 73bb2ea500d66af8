"""Step 9 of a collection: delete what ended epochs condemned and whose grace is over, and what nobody refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from syncd.collect.each import each
from syncd.collect.look import Listing, expired
from syncd.collect.sentences import Sentences
from syncd.store.base import ObjectInfo, Store


async def sweep(store: Store, listing: Listing, due: Sentences, told: Callable[[int], None]) -> int:
    """Delete manifests, then packs; return the bytes they had.

    In this order, so that no manifest is left that names packs which are gone. May be repeated, stopped, and done by
    several at once.
    """
    infos = [listing.manifests[key] for key in sorted(due.due_manifests)]
    freed = await _delete(store, infos, told)
    packs = [listing.packs[pack] for pack in sorted(due.due_packs)]
    return freed + await _delete(store, packs, told)


async def tidy(store: Store, listing: Listing, ended: set[str], ttl: float) -> None:
    """Delete lists of packs of uploads that have ended or are given up, and probe objects that somebody left."""
    old = [info for txn, infos in listing.wips.items() for info in infos if txn in ended or expired(listing, info, ttl)]
    await _delete(store, [*old, *(info for info in listing.litter if expired(listing, info, ttl))], lambda _: None)


async def _delete(store: Store, infos: Iterable[ObjectInfo], told: Callable[[int], None]) -> int:
    freed = 0

    async def one(info: ObjectInfo) -> None:
        nonlocal freed
        await store.delete(info.key)
        freed += info.size
        told(info.size)

    await each(infos, one)
    return freed
