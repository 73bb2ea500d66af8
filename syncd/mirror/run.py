"""The mirror's own task: after every commit of this node, and now and then for those of others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from syncd.budget import Budget
from syncd.clock import Chance, Clock
from syncd.collect.survey import Root, needed
from syncd.errors import LocalDisk, RemoteUnavailable, SyncdError
from syncd.events import Bus, Listener
from syncd.format.log import Offer
from syncd.jobs.backoff import retry_delay
from syncd.jobs.states import Kind, State
from syncd.journal.core import Ledger
from syncd.journal.jobs import JobRows
from syncd.journal.memory import JournalMemory
from syncd.lanes import Lane
from syncd.mirror.ship import Shipping
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.log import Log, Slot
from syncd.repo.repository import Repository
from syncd.store.base import Store

log = logging.getLogger(__name__)

ROUND_SECONDS = 300.0


def started_fact(url: str) -> str:
    """Return the name of the fact that this node has brought something to the mirror at `url`; its value is a word."""
    return f"mirror {url} started"


class Mirror:
    """Keeps a second copy up to date. Its failures are its own: they are told, and tried again.

    Args:
        repository: opens the primary; raises while it is away.
        target: the mirror's store. url: its address, for people and for names of facts.
        ledger: where jobs are looked up, and how far each log is.
        bus: tells of commits.

    Attributes:
        state: "ok" or the words of what holds it up.
        behind: entries not brought over yet, by log.
    """

    def __init__(
        self, repository: Callable[[], Awaitable[Repository]], target: Store, url: str, ledger: Ledger, lane: Lane,
        budget: Budget, bus: Bus, clock: Clock, rng: Chance,
    ) -> None:  # fmt: skip
        self.url = url
        self.state = "not reached yet"
        self.behind: dict[str, int] = {}
        self.store = target
        self._repository = repository
        self._rows = JobRows(ledger)
        self._memory = JournalMemory(ledger)
        self._lane = lane
        self._budget = budget
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._due: set[ArtifactKey] = set()
        self._wake = asyncio.Event()
        self._shipping: Shipping | None = None
        self._checked: set[str] = set()

    @property
    def lag(self) -> int:
        """How many entries of logs are known and not brought over."""
        return sum(self.behind.values())

    async def run(self) -> None:
        """Follow the primary until cancelled."""
        with self._bus.listen() as changes:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(changes))
                await self._follow()

    async def once(self, keys: set[ArtifactKey] | None = None) -> None:
        """Bring over what is new in the logs of some artifacts, of all when none are named.

        Raises:
            SyncdError: what held it up; what could be brought over has been.
        """
        repository = await self._repository()
        shipping = self._shipping or Shipping(repository, self.store, self._lane, self._budget)
        await shipping.record()
        await self._memory.note_fact(started_fact(self.url), "yes")
        self._shipping = shipping
        whole = await shipping.epochs(int(await self._memory.fact(self._fact("epochs")) or 0))
        await self._memory.change_fact(self._fact("epochs"), str(whole))
        registry = repository.registry()
        await registry.refresh()
        await self._bring(shipping, registry, [])
        named = set((await repository.registered()).artifacts)
        trouble: SyncdError | None = None
        for key in sorted(named if keys is None else named & keys):
            try:
                await self._artifact(repository, shipping, key)
            except SyncdError as error:
                if isinstance(error, RemoteUnavailable | LocalDisk):
                    raise
                trouble = error
        if trouble is not None:
            raise trouble

    async def _follow(self) -> None:
        failures = 0
        keys: set[ArtifactKey] | None = None
        while True:
            try:
                await self.once(keys)
                self.state, failures = "ok", 0
            except (SyncdError, OSError) as error:
                failures += 1
                self.state = error.what if isinstance(error, SyncdError) else str(error)
                log.warning("mirror %s: %s", self.url, error)
            except Exception as error:  # a bug here is no reason to stop what people wait for
                failures += 1
                self.state = f"unexpected error: {error!r}"
                log.exception("mirror %s: unexpected error", self.url)
            if failures:
                await self._clock.sleep(retry_delay(failures, self._rng.random()))
                keys = None
                continue
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                keys = None
            else:
                self._wake.clear()
                keys, self._due = self._due, set()

    async def _listen(self, changes: Listener) -> None:
        async for change in changes:
            try:
                row = await self._rows.get(change.job)
            except SyncdError:
                continue
            if row.kind is Kind.UPLOAD and row.state in (State.COMMITTED, State.DONE):
                self._due.add(ArtifactKey(row.project, row.name))
                self._wake.set()

    async def _artifact(self, repository: Repository, shipping: Shipping, key: ArtifactKey) -> None:
        entries, _ = repository.visit(key)
        slots = await entries.refresh()
        done = await self._done(shipping, entries.name, slots)
        history = History(key).apply(slots[:done])
        before = {root.manifest for root in _live(history)}
        roots = [root for root in _live(history.apply(slots[done:])) if root.manifest not in before]
        await self._bring(shipping, entries, roots)
        offers = [slot.entry for slot in slots[done:] if isinstance(slot.entry, Offer) and slot.entry.run]
        for project, run in dict.fromkeys((offer.run_project, offer.run) for offer in offers):
            told = repository.run_log(project, run)
            await told.refresh()
            await self._bring(shipping, told, [])

    async def _bring(self, shipping: Shipping, entries: Log, roots: list[Root]) -> None:
        """Bring over what the new entries of a log need, then the entries, and note it."""
        name, slots = entries.name, list(entries.slots)
        done = await self._done(shipping, name, slots)
        self.behind[name] = len(slots) - done
        for root in roots:
            await shipping.version(root)
        await shipping.slots(name, slots[done:])
        if len(slots) > done:
            await self._memory.change_fact(self._fact(name), str(len(slots)))
        self.behind.pop(name, None)

    async def _done(self, shipping: Shipping, name: str, slots: list[Slot]) -> int:
        """Return how far a log is; once a life it is asked whether the mirror still has that much."""
        done = min(int(await self._memory.fact(self._fact(name)) or 0), len(slots))
        if done and name not in self._checked and not await shipping.has_slot(name, slots[done - 1]):
            await self._memory.change_fact(self._fact(name), "")
            done = 0
        self._checked.add(name)
        return done

    def _fact(self, what: str) -> str:
        return f"mirror {self.url} {what}"


def _live(history: History) -> list[Root]:
    return [root for root in needed(history) if root.why != "deleted"]
