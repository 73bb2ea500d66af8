"""The ambiguity rule (law L4) against an adversary: the real Log, every store call at the mercy of a seeded world.

The world holds each call until it is its turn, delays, drops and repeats creates, lies about their outcome, lets a put
land at any later time, and kills writers, which begin again with what their journal kept. After every step: no
transaction twice, none reported done and missing, none reported failed and there, no request logged under two ids.
Three shortcuts that look right are tried as well; the search must catch each.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from syncd.errors import Conflict, NotFound, RemoteUnavailable, SyncdError
from syncd.format.keys import slot_key
from syncd.format.log import LogEntry, decode_entry, encode_entry
from syncd.repo.log import Log, Slot
from syncd.store.base import Capabilities
from tests.kit.repo_kit import LOG, REPO_ID, DictMemory, start_entry

WRITERS = 2
REQUESTS = 2
CRASHES = 2
SEEDS = 1500
CAUGHT_WITHIN = 1500


@dataclass(frozen=True)
class Call:
    """One store call that waits for the world."""

    op: str
    key: str
    data: bytes = b""

    def __await__(self) -> Generator[Call, bytes, bytes]:
        return (yield self)


class WaitingStore:
    """A Store whose calls are answered by whoever drives the coroutine."""

    capabilities = Capabilities(kind="world")

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await Call("get", key)

    async def create(self, key: str, data: bytes) -> None:
        await Call("create", key, bytes(data))


class WaitingClock:
    """Sleeping is a turn for the others."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await Call("sleep", "")


class ReportedFailed(Exception):
    """A wrong writer told its user that the request failed; the user asks again, as a new request."""


class TakenMeansSomebodyElse(Log):
    """Wrong: a slot that is taken after an unclear answer is somebody else's, go on with the next."""

    async def append(self, txn: str, build: Callable[[list[Slot], bytes], LogEntry | None]) -> Slot | None:
        await self._tail()
        while True:
            entry = build(self.slots, self._head_hash())
            assert entry is not None
            try:
                await self._store.create(slot_key(self.name, len(self.slots)), encode_entry(entry))
            except SyncdError:
                await self._tail()
                continue
            await self._tail()
            return self.slots[-1]


class AbsentMeansFailed(Log):
    """Wrong: nothing in the slot after an unclear answer, so the write has failed."""

    async def _settle_slot(self, number: int, data: bytes, txn: str) -> bool:
        try:
            await self._store.create(slot_key(self.name, number), data)
        except SyncdError:
            try:
                await self._read_slot(number)
            except NotFound as error:
                raise ReportedFailed from error
            return self.slots[-1].entry.txn == txn
        self._accept(number, data)
        return True


@dataclass
class Writer:
    """One node with its journal; works off its requests in order."""

    name: str
    kind: type[Log]
    journalled: bool
    memory: DictMemory = field(default_factory=DictMemory)
    request: int = 0
    tries: int = 0
    crashes: int = 0
    run: Coroutine[Any, Any, Any] | None = None
    waits_for: Call | None = None

    @property
    def txn(self) -> str:
        return f"{self.name}-{self.request}-{self.tries}"

    def begin(self) -> None:
        log = self.kind(WaitingStore(), self.memory, REPO_ID, LOG, WaitingClock(), random.Random(0))  # type: ignore[arg-type]
        self.run = self._work(log, self.txn)
        self.waits_for = self.run.send(None)

    async def _work(self, log: Log, txn: str) -> None:
        while True:
            try:
                await log.append(txn, lambda slots, prev: start_entry(txn, prev))
            except RemoteUnavailable:
                continue  # outcome unknown: the same transaction again
            return


class World:
    """The bucket, the network and the scheduler of one run."""

    def __init__(self, seed: int, kind: type[Log], journalled: bool) -> None:
        self.rng = random.Random(seed)
        self.faults = self.rng.choice([0.1, 0.3, 0.6])
        self.objects: dict[str, bytes] = {}
        self.late: list[tuple[str, bytes]] = []
        self.done: list[str] = []
        self.failed: list[str] = []
        self.writers = [Writer(f"w{n}", kind, journalled) for n in range(WRITERS)]

    def play(self) -> str:
        """Run to the end; return what was broken, "" when nothing was."""
        for writer in self.writers:
            writer.begin()
        while working := [w for w in self.writers if w.run is not None]:
            self._network()
            self._step(self.rng.choice(working))
            if problem := self._problem():
                return problem
        for key, data in self.late:
            self.objects.setdefault(key, data)
        return self._problem() or self._unfinished()

    def _network(self) -> None:
        """Maybe let one late put land, or lose it."""
        if self.late and self.rng.random() < 0.2:
            key, data = self.late.pop(self.rng.randrange(len(self.late)))
            if self.rng.random() < 0.8:
                self.objects.setdefault(key, data)

    def _step(self, writer: Writer) -> None:
        assert writer.run is not None
        assert writer.waits_for is not None
        if writer.crashes < CRASHES and self.rng.random() < 0.05:
            self._crash(writer)
            return
        try:
            answer = self._answer(writer.waits_for)
            writer.waits_for = writer.run.send(answer)
        except SyncdError as error:
            self._throw(writer, error)
        except StopIteration:
            self._finish(writer)

    def _throw(self, writer: Writer, error: SyncdError) -> None:
        assert writer.run is not None
        try:
            writer.waits_for = writer.run.throw(error)
        except StopIteration:
            self._finish(writer)
        except ReportedFailed:
            self.failed.append(writer.txn)
            writer.tries += 1
            writer.begin()

    def _crash(self, writer: Writer) -> None:
        assert writer.run is not None
        if writer.waits_for is not None and writer.waits_for.op == "create":
            self.late.append((writer.waits_for.key, writer.waits_for.data))
        writer.run.close()
        writer.crashes += 1
        if not writer.journalled:
            writer.tries += 1
        writer.begin()

    def _finish(self, writer: Writer) -> None:
        self.done.append(writer.txn)
        writer.request, writer.tries, writer.run = writer.request + 1, 0, None
        if writer.request < REQUESTS:
            writer.begin()

    def _answer(self, call: Call) -> bytes:
        clean = self.rng.random() >= self.faults
        if call.op == "sleep":
            return b""
        if call.op == "get":
            if not clean and self.rng.random() < 0.3:
                raise RemoteUnavailable("timeout")
            if call.key not in self.objects:
                raise NotFound(call.key)
            return self.objects[call.key]
        return self._create(call, clean)

    def _create(self, call: Call, clean: bool) -> bytes:
        taken = call.key in self.objects
        if clean:
            self.objects.setdefault(call.key, call.data)
            if taken:
                raise Conflict("exists")
            return b""
        fate = self.rng.choice(["stored", "repeated", "late", "lost", "409"])
        if fate in ("stored", "repeated"):
            self.objects.setdefault(call.key, call.data)
        elif fate == "late":
            self.late.append((call.key, call.data))
        raise Conflict("exists") if fate in ("repeated", "409") else RemoteUnavailable("timeout")

    def _problem(self) -> str:
        found = Counter(decode_entry(data).txn for data in self.objects.values())
        requests = Counter(txn.rpartition("-")[0] for txn in found)
        if double := [txn for txn, times in found.items() if times > 1]:
            return f"{double} twice in the log"
        if missing := [txn for txn in self.done if not found[txn]]:
            return f"{missing} reported done, not in the log"
        if there := [txn for txn in self.failed if found[txn]]:
            return f"{there} reported failed, in the log"
        if twice := [request for request, times in requests.items() if times > 1]:
            return f"{twice} logged under two ids"
        return ""

    def _unfinished(self) -> str:
        slots = [slot_key(LOG, slot) for slot in range(len(self.objects))]
        if sorted(self.objects) != slots:
            return f"there are gaps: {sorted(self.objects)}"
        return "" if len(slots) == WRITERS * REQUESTS else f"{len(slots)} entries"


def first_broken(kind: type[Log], journalled: bool, seeds: int) -> tuple[int, str] | None:
    for seed in range(seeds):
        if problem := World(seed, kind, journalled).play():
            return seed, problem
    return None


def test_the_rule_holds_in_every_world() -> None:
    assert first_broken(Log, True, SEEDS) is None


@pytest.mark.parametrize(
    ("kind", "journalled", "broken"),
    [(TakenMeansSomebodyElse, True, "twice"), (AbsentMeansFailed, True, "reported failed"), (Log, False, "two ids")],
)
def test_a_shortcut_is_caught(kind: type[Log], journalled: bool, broken: str) -> None:
    found = first_broken(kind, journalled, CAUGHT_WITHIN)
    assert found is not None
    assert broken in found[1] or "twice" in found[1] or "two ids" in found[1]
