"""Small repositories for tests: a memory that is a dict, nodes on one store, packs and versions by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from syncd.clock import Clock
from syncd.format.chunker import Params
from syncd.format.keys import run_log
from syncd.format.log import LogEntry, Start
from syncd.format.paging import PageParams
from syncd.lanes import Lane
from syncd.repo.init import NewRepository, initialise
from syncd.repo.log import Log, Slot
from syncd.repo.memory import Memory
from syncd.repo.repository import Repository
from syncd.store.base import Store
from tests.kit.clocks import ManualClock

REPO_ID = "repo-of-tests"
CHUNKER = Params("quad16-1", 256, 1024, 4096)
LOG = run_log("p", "a run")


class DictMemory:
    """A Memory as the journal keeps it, in a dict."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], list[bytes]] = {}
        self.facts: dict[str, str] = {}

    async def seen(self, repo: str, log: str) -> list[bytes]:
        return list(self.entries.get((repo, log), []))

    async def remember(self, repo: str, log: str, first: int, bodies: Sequence[bytes]) -> None:
        kept = self.entries.setdefault((repo, log), [])
        for place, body in enumerate(bodies, first):
            if place == len(kept):
                kept.append(body)

    async def fact(self, name: str) -> str:
        return self.facts.get(name, "")

    async def note_fact(self, name: str, value: str) -> str:
        return self.facts.setdefault(name, value)


class InstantClock(ManualClock):
    """A clock whose sleepers wake at once, when everybody else has had a turn; time passes as they asked."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._passed += max(0.0, seconds)
        await asyncio.sleep(0)


def open_log(
    store: Store, memory: DictMemory | None = None, clock: Clock | None = None, kind: type[Log] = Log, seed: int = 0
) -> Log:
    """Return one node's view of the log of tests."""
    return kind(store, memory or DictMemory(), REPO_ID, LOG, clock or InstantClock(), random.Random(seed))


def start_entry(txn: str, prev: bytes) -> LogEntry:
    """Return a harmless entry: what it says does not matter."""
    return Start(txn=txn, prev=prev, project="p", run="a run")


async def append(log: Log, txn: str) -> Slot | None:
    """Append a harmless entry under a transaction id."""
    return await log.append(txn, lambda slots, prev: start_entry(txn, prev))


PAGES = PageParams(average=16, maximum=64)
NEW = NewRepository(CHUNKER, PAGES, 1 << 14, "tests")


async def open_repository(
    store: Store, lane: Lane, memory: Memory | None = None, clock: Clock | None = None
) -> Repository:
    """Return one node's view of the repository in a store, made when it is not there; small chunks."""
    rng = random.Random(1)
    record = await initialise(store, NEW, rng)
    return Repository(store, record, memory or DictMemory(), lane, clock or InstantClock(), rng)
