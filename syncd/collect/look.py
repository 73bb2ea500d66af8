"""What lies in the remote: listings of packs, manifests and lists of packs in use, and what time the store has.

Lists decide nothing: what is not listed is not deleted, and what is listed is deleted only by an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from syncd.clock import Chance, random_hex
from syncd.errors import Corrupt, NotFound, RemoteRefused
from syncd.format.epoch import MAX_WIP, decode_wip
from syncd.format.keys import MANIFESTS, PACKS, PROBES, WIPS, parse_manifest, parse_pack, parse_wip, probe_key
from syncd.store.base import ObjectInfo, Store


@dataclass(slots=True)
class Listing:
    """What there is, by name.

    Attributes:
        now: the store's time when the listing began, seconds.
        wips: lists of packs in use, by transaction.
        litter: probe objects that somebody left.
    """

    now: float
    packs: dict[bytes, ObjectInfo] = field(default_factory=dict)
    manifests: dict[str, ObjectInfo] = field(default_factory=dict)
    wips: dict[str, list[ObjectInfo]] = field(default_factory=dict)
    litter: list[ObjectInfo] = field(default_factory=list)


async def store_time(store: Store, rng: Chance) -> float:
    """Return the store's time: that of an object just put, which is deleted again.

    Raises:
        RemoteRefused: this node may not delete there: it cannot collect.
    """
    key = probe_key(random_hex(rng, 8))
    await store.put(key, [b"what time is it"])
    now = (await store.stat(key)).modified
    try:
        await store.delete(key)
    except RemoteRefused as error:
        raise RemoteRefused(
            "this node may not delete in the remote, so it cannot collect garbage",
            error.what,
            "collect from a node whose credentials may list and delete; uploads need neither",
        ) from error
    return now


async def look(store: Store, rng: Chance) -> Listing:
    """List what collection may delete; names that are none of ours are passed over."""
    found = Listing(await store_time(store, rng))
    async for info in store.list(PACKS):
        try:
            found.packs[parse_pack(info.key)] = info
        except Corrupt:
            continue
    async for info in store.list(MANIFESTS):
        try:
            parse_manifest(info.key)
        except Corrupt:
            continue
        found.manifests[info.key] = info
    async for info in store.list(WIPS):
        try:
            found.wips.setdefault(parse_wip(info.key), []).append(info)
        except Corrupt:
            continue
    found.litter = [info async for info in store.list(PROBES)]
    return found


async def in_use(store: Store, listing: Listing, ended: set[str], ttl: float) -> set[bytes]:
    """Return the packs that uploads which go on, as far as anybody can tell, have asked to leave alone.

    Raises:
        Corrupt: a list cannot be read.
    """
    packs: set[bytes] = set()
    for txn, infos in listing.wips.items():
        for info in infos:
            if txn not in ended and not expired(listing, info, ttl):
                try:
                    data = await store.get(info.key, 0, MAX_WIP + 1)
                except NotFound:
                    continue  # another collection saw that its upload has ended
                try:
                    packs.update(decode_wip(data, txn).packs)
                except Corrupt as error:
                    raise Corrupt(f"{info.key}: {error.what}", error.why, error.hint) from error
    return packs


def expired(listing: Listing, info: ObjectInfo, seconds: float) -> bool:
    """Whether an object is older than that by the store's time."""
    return info.modified + seconds <= listing.now
