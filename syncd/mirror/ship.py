"""Bringing objects over: epochs, packs, manifests, log slots. Each proved before it goes; put where it is not."""

from __future__ import annotations

from syncd.budget import Budget
from syncd.check.restore import prove_pack
from syncd.collect.each import each
from syncd.collect.survey import Root
from syncd.errors import Conflict, Corrupt, NotFound
from syncd.format.epoch import MAX_EPOCH, decode_done, decode_epoch
from syncd.format.keys import REPO, gc_key, pack_key, slot_key
from syncd.format.log import MAX_ENTRY, entry_hash
from syncd.format.manifest import MAX_MANIFEST, manifest_hash
from syncd.format.repo import MAX_RECORD
from syncd.lanes import Lane
from syncd.repo.init import open_record
from syncd.repo.log import Slot
from syncd.repo.repository import Repository
from syncd.store.base import Store

_PACKS_AT_ONCE = 2
_REMEMBERED = 100_000


class Shipping:
    """Puts objects of one repository into a second store.

    Args:
        repository: where from.
        target: where to.
        lane: where packs are proved.
        budget: bounds the bytes held.
    """

    def __init__(self, repository: Repository, target: Store, lane: Lane, budget: Budget) -> None:
        self._repository = repository
        self._store = repository.store
        self._target = target
        self._lane = lane
        self._budget = budget
        self._there: set[bytes] = set()

    async def record(self) -> None:
        """Make the target a copy of this repository.

        Raises:
            Conflict: it holds another one.
        """
        found = await open_record(self._target)
        if found is None:
            await self._create(REPO, await self._store.get(REPO, 0, MAX_RECORD + 1))
        elif found.repo_id != self._repository.id:
            raise Conflict(
                "the mirror holds another repository",
                f"this one is {self._repository.id[:8]}, that one {found.repo_id[:8]}",
                "give the mirror an empty place",
            )

    async def epochs(self, after: int) -> int:
        """Bring over epochs behind `after`; return up to which all have come with their ends."""
        whole, number = after, after + 1
        unbroken = True
        while (data := await self._get(gc_key(number))) is not None:
            decode_epoch(data, number)
            await self._create(gc_key(number), data)
            end = await self._get(gc_key(number, done=True))
            if end is not None:
                decode_done(end, number)
                await self._create(gc_key(number, done=True), end)
            unbroken = unbroken and end is not None
            whole = number if unbroken else whole
            number += 1
        return whole

    async def version(self, root: Root) -> None:
        """Bring over what a manifest refers to, then the manifest.

        Raises:
            Corrupt: something of it is damaged at the source.
        """
        manifest = await self._repository.manifests.open(root.manifest, root.manifest_hash, root.digest, "")
        packs = {ref.pack for ref in manifest.pages}
        async for page in self._repository.manifests.pages(manifest):
            packs.update(page.packs)
        await each(sorted(packs - self._there), self._pack, _PACKS_AT_ONCE)
        data = await self._store.get(root.manifest, 0, MAX_MANIFEST + 1)
        if manifest_hash(data) != root.manifest_hash:
            raise Corrupt(f"{root.manifest} is damaged", "", "syncctl fsck --repair")
        await self._target.put(root.manifest, [data])

    async def slots(self, name: str, slots: list[Slot]) -> None:
        """Bring over entries of a log, in order.

        Raises:
            Conflict: another entry is there: the target is no copy of this repository any more.
        """
        for slot in slots:
            key = slot_key(name, slot.number)
            data = await self._store.get(key, 0, MAX_ENTRY + 1)
            if entry_hash(data) != slot.hash:
                raise Corrupt(f"{key} is not the entry this node has seen", "", "syncctl fsck")
            await self._create(key, data)

    async def has_slot(self, name: str, slot: Slot) -> bool:
        """Whether the target has an entry; one that is other there is told by `slots`."""
        try:
            data = await self._target.get(slot_key(name, slot.number), 0, MAX_ENTRY + 1)
        except NotFound:
            return False
        return entry_hash(data) == slot.hash

    async def _pack(self, pack: bytes) -> None:
        key = pack_key(pack)
        try:
            size = (await self._store.stat(key)).size
            if await self._size_there(key) != size:
                await self._bring(pack, key, size)
        except NotFound as error:
            raise Corrupt(f"{key} is missing", "", "syncctl fsck --repair") from error
        if len(self._there) >= _REMEMBERED:
            self._there.clear()
        self._there.add(pack)

    async def _bring(self, pack: bytes, key: str, size: int) -> None:
        with self._budget.account() as account:
            hold = await account.take(size)
            try:
                data = await self._store.get(key)
                try:
                    await self._lane.run(prove_pack, pack, data)
                except Corrupt as error:
                    raise Corrupt(f"{key}: {error.what}", error.why, "syncctl fsck --repair") from error
                await self._target.put(key, [data])
            finally:
                hold.release()

    async def _size_there(self, key: str) -> int | None:
        try:
            return (await self._target.stat(key)).size
        except NotFound:
            return None

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key, 0, MAX_EPOCH + 1)
        except NotFound:
            return None

    async def _create(self, key: str, data: bytes) -> None:
        """Put an object only where there is none; the same bytes there are as good."""
        try:
            await self._target.create(key, data)
        except Conflict as error:
            if await self._target.get(key, 0, len(data) + 1) != data:
                raise Conflict(
                    f"{key} is another object in the mirror",
                    "it was written to by itself, or is a mirror of an older state",
                    "compare the two; give the mirror an empty place if the primary is right",
                ) from error
