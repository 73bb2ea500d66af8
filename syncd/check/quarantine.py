"""Step 3 of a repair: no writer on any node refers to a damaged pack again.

A new epoch names the packs; writers read it before they choose, and forget them. Who chose before is stopped by the
epoch's fence in its log, as by that of a collection, and under the same transaction id. Nothing is condemned by such an
epoch, so its end, which only says that nothing of it has to be rescued, follows at once. Quarantined packs are never
deleted: good chunks in them may be all that is left of a version.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from syncd.clock import Chance, Clock, random_hex
from syncd.collect.each import each
from syncd.errors import Corrupt, RemoteRefused
from syncd.format.epoch import QUARANTINED_LIMIT, Epoch, EpochDone
from syncd.format.log import Create, Fence, LogEntry
from syncd.repo.log import Slot
from syncd.repo.registry import Registered, Registry
from syncd.repo.repository import Repository


class Quarantine:
    """Takes damaged packs out of use.

    Args:
        node: this node's id, told in records and entries.
    """

    def __init__(self, repository: Repository, clock: Clock, rng: Chance, node: str) -> None:
        self._repository = repository
        self._clock = clock
        self._rng = rng
        self._node = node

    async def put(self, packs: Iterable[bytes]) -> int:
        """Quarantine packs, fence every log that can be fenced, and return the newest epoch. May be repeated.

        A log that is damaged itself takes no entry of anybody; it is fenced by the next collection or repair.
        """
        epochs = self._repository.epochs
        await epochs.refresh()
        known: set[bytes] = set()
        async for judged in epochs.every():
            known |= judged.quarantined
        fresh = sorted(set(packs) - known)[:QUARANTINED_LIMIT]
        attempt = random_hex(self._rng, 16)
        if fresh:
            await epochs.open(
                lambda number: Epoch(
                    epoch=number, id=attempt, quarantined=tuple(fresh), node=self._node, at=self._clock.now()
                )
            )
        open_ones = [one.number for one in epochs.waiting() if one.quarantined and not one.packs and not one.manifests]
        if open_ones and await self._fence(epochs.newest):
            for number in open_ones:
                await epochs.close(EpochDone(epoch=number, node=self._node, at=self._clock.now()))
        return epochs.newest

    async def _fence(self, epoch: int) -> bool:
        """Fence the registry and every log; whether all of them are."""
        try:
            await self._repository.registry().append(
                _txn(epoch), lambda slots, prev: self._entry(epoch, Registry().apply(slots).fence, prev)
            )
            registry = await self._repository.registered()
        except (Corrupt, RemoteRefused):
            return False
        whole = True

        async def one(item: Registered) -> None:
            nonlocal whole
            try:
                await self._fence_artifact(epoch, registry.fence, item)
            except (Corrupt, RemoteRefused):
                whole = False

        await each(registry.artifacts.values(), one)
        return whole

    async def _fence_artifact(self, epoch: int, born: int, item: Registered) -> None:
        """Fence one log; one that is empty gets its slot 0, which has seen what the registry's fence said."""
        log, history = self._repository.visit(item.key)

        def create(slots: list[Slot], prev: bytes) -> LogEntry | None:
            if slots:
                return None
            return Create(**self._head(f"{_txn(epoch)}-new", prev), gc_seen=born, type=item.type)

        def fence(slots: list[Slot], prev: bytes) -> LogEntry | None:
            return self._entry(epoch, history.apply(slots[history.applied :]).fence, prev)

        if not await log.refresh():
            await log.append(f"{_txn(epoch)}-new", create)
        await log.append(_txn(epoch), fence)

    def _entry(self, epoch: int, fenced: int, prev: bytes) -> LogEntry | None:
        return None if fenced >= epoch else Fence(**self._head(_txn(epoch), prev), epoch=epoch)

    def _head(self, txn: str, prev: bytes) -> dict[str, Any]:
        return {"txn": txn, "prev": prev, "node": self._node, "at": self._clock.now()}


def _txn(epoch: int) -> str:
    return f"gc-{epoch}"
