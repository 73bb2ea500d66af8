"""Steps 5 to 8 of a collection: say what is condemned, fence every log, look again, say what is needed after all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncd.clock import Chance, Clock, random_hex
from syncd.collect.each import each
from syncd.collect.marks import Marks
from syncd.collect.plan import Plan
from syncd.collect.survey import Survey
from syncd.format.epoch import Epoch, EpochDone
from syncd.format.log import Create, Fence, LogEntry
from syncd.repo.history import History
from syncd.repo.log import Log, Slot
from syncd.repo.registry import Registered, Registry
from syncd.repo.repository import Repository


class Fencing:
    """Opens an epoch and ends it, and with it whatever epochs others left without an end.

    Args:
        node: this node's id, told in records and entries.
        told: called with how many logs of how many are fenced.
    """

    def __init__(
        self, repository: Repository, clock: Clock, rng: Chance, node: str, told: Callable[[int, int], None]
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._rng = rng
        self._node = node
        self._told = told

    async def condemn(self, plan: Plan) -> int:
        """Put an epoch with the plan's packs and manifests; return the newest epoch.

        What another collection has condemned meanwhile is left to that one; with nothing left none is put.
        """
        epochs = self._repository.epochs
        attempt = random_hex(self._rng, 16)

        def build(number: int) -> Epoch | None:
            packs = set(plan.packs) - epochs.condemned(plan.packs)
            if not packs and not plan.manifests:
                return None
            return Epoch(
                epoch=number, id=attempt, packs=tuple(sorted(packs)), manifests=plan.manifests, node=self._node,
                at=self._clock.now(),
            )  # fmt: skip

        await epochs.open(build)
        return epochs.newest

    async def fence(self, epoch: int) -> Survey:
        """Fence the registry, then every artifact's log, and replay each up to its fence; return what is needed.

        Whatever is appended behind a fence has seen the epoch, so it refers to nothing that the epoch condemns: what
        is found here is all that ever needs to be rescued.
        """
        await self._repository.registry().append(_txn(epoch), lambda slots, prev: self._registry(epoch, slots, prev))
        registry = await self._repository.registered()
        born, artifacts = registry.fence, list(registry.artifacts.values())
        found = Survey()

        async def one(item: Registered) -> None:
            log, history = self._repository.visit(item.key)
            await self._fence_artifact(epoch, born, item, log, history)
            found.take(history.apply(log.slots), set())
            self._told(found.artifacts, len(artifacts))

        await each(artifacts, one)
        return found

    async def end(self, epoch: int, marks: Marks, held: set[bytes]) -> None:
        """Record the end of every epoch up to `epoch` that has none: what is marked, or held by uploads, is rescued."""
        for judged in self._repository.epochs.waiting():
            if judged.number <= epoch:
                done = EpochDone(
                    epoch=judged.number,
                    packs=tuple(sorted(pack for pack in judged.packs if pack in marks.packs or pack in held)),
                    manifests=tuple(sorted(judged.manifests & marks.manifests)),
                    node=self._node,
                    at=self._clock.now(),
                )
                await self._repository.epochs.close(done)

    async def _fence_artifact(self, epoch: int, born: int, item: Registered, log: Log, history: History) -> None:
        """Fence one log; `born` is the registry's fence as it was read with the artifact in it.

        A slot 0 from us says that fence and not our own epoch: another collection may have gone by in between, which
        did not see the artifact and does not come back to its log.
        """

        def create(slots: list[Slot], prev: bytes) -> LogEntry | None:
            if slots:
                return None
            return Create(**self._head(f"{_txn(epoch)}-new", prev), gc_seen=born, type=item.type)

        def fence(slots: list[Slot], prev: bytes) -> LogEntry | None:
            fenced = history.apply(slots[history.applied :]).fence >= epoch
            return None if fenced else Fence(**self._head(_txn(epoch), prev), epoch=epoch)

        if not await log.refresh():  # its first writer died, or is on its way: the log is born behind the fence
            await log.append(f"{_txn(epoch)}-new", create)
        await log.append(_txn(epoch), fence)

    def _registry(self, epoch: int, slots: list[Slot], prev: bytes) -> LogEntry | None:
        if Registry().apply(slots).fence >= epoch:
            return None
        return Fence(**self._head(_txn(epoch), prev), epoch=epoch)

    def _head(self, txn: str, prev: bytes) -> dict[str, Any]:
        return {"txn": txn, "prev": prev, "node": self._node, "at": self._clock.now()}


def _txn(epoch: int) -> str:
    """Return the transaction of an epoch's fence: the same for everybody, so two that fence at once write one."""
    return f"gc-{epoch}"
