"""Verbs on garbage: plan and collect it, say why a version's bytes are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TypeVar

from syncd.clock import Chance, Clock
from syncd.collect.explain import explain
from syncd.collect.params import CollectParams
from syncd.collect.run import Collector
from syncd.errors import InvalidInput, root_cause
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.model.names import ArtifactKey
from syncd.model.views import CollectStepView, CollectView, ExplainView
from syncd.repo.repository import Repository

T = TypeVar("T")

Tell = Callable[[CollectStepView], Awaitable[None]]


class CollectionVerbs:
    """What can be asked of collection.

    Args:
        repository: opens the repository; raises while the remote is away.
        lane: where chunks of rewritten packs are encoded.
        node: this node's id, told in entries.
    """

    def __init__(
        self, repository: Callable[[], Awaitable[Repository]], lane: Lane, clock: Clock, rng: Chance, node: str,
        meter: Meter,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._lane = lane
        self._clock = clock
        self._rng = rng
        self._node = node
        self._meter = meter

    async def collect(self, dry_run: bool, min_age: float, grace: float, tell: Tell) -> CollectView:
        """Collect garbage, or say what a collection would do; `tell` hears how far it is, the newest step first.

        Args:
            min_age, grace: seconds.

        Raises:
            InvalidInput: an age that is none.
            Corrupt, RemoteRefused, RemoteUnavailable: as Collector says.
        """
        if not (0 <= min_age < float("inf") and 0 <= grace < float("inf")):
            raise InvalidInput("an age is a number of seconds, not negative", f"min_age {min_age}, grace {grace}")
        params = replace(CollectParams(), min_age=min_age, grace=grace)
        collector = Collector(
            await self._repository(), self._lane, self._clock, self._rng, self._node, self._meter
        )  # fmt: skip
        news = _News(tell)
        if dry_run:
            return CollectView(dry_run=True, **asdict(await news.during(collector.plan(params, news.step))))
        done = await news.during(collector.collect(params, news.step))
        facts = {name: getattr(done, name) for name in _DONE}
        return CollectView(dry_run=False, **asdict(done.totals), **facts)

    async def explain(self, key: ArtifactKey, ref: str) -> ExplainView:
        """Return why a version's bytes are kept, deleted ones too; NotFound."""
        repository = await self._repository()
        history = await repository.history(key)
        version = history.resolve(ref, deleted_too=True)
        found = await explain(repository, key, version.number)
        return ExplainView(project=key.project, name=key.name, version=version.number, **asdict(found))


_DONE = ("epoch", "freed_bytes", "rewritten_bytes", "rewritten_versions")


class _News:
    """Tells how far something is: the newest step, as fast as whoever listens takes it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._newest: CollectStepView | None = None
        self._come = asyncio.Event()

    def step(self, step: str, done: int, total: int) -> None:
        """Note a step."""
        self._newest = CollectStepView(step, done, total)
        self._come.set()

    async def during(self, work: Awaitable[T]) -> T:
        """Do the work, telling; a listener that fails (its client went) ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                pumping = tasks.create_task(self._pump())
                result = await work
                pumping.cancel()
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        return result

    async def _pump(self) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            if self._newest is not None:
                await self._tell(self._newest)
