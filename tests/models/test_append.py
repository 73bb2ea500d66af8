"""Appending to a log when answers are lost: the real Log, every order of two writers, network and crashes.

A coroutine cannot be copied, so a state is reached by playing its way again from the start; states are told apart by
all that can matter later: the bucket, what is under way, and where each writer's coroutine stands.
(tests/repo/test_log_model.py walks at random through larger worlds.)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Hashable
from dataclasses import dataclass
from typing import Any

import pytest

from syncd.errors import Conflict, NotFound, RemoteUnavailable, SyncdError
from syncd.format.keys import slot_key
from syncd.format.log import LogEntry, decode_entry, encode_entry
from syncd.repo.log import Log, Slot
from syncd.store.base import Capabilities
from tests.kit.repo_kit import LOG, REPO_ID, DictMemory, start_entry
from tests.models.explore import Explored

WRITERS = 2
CREATES = 3
CRASHES = 1


@dataclass(frozen=True)
class Call:
    """A store call that waits for its answer."""

    op: str
    key: str = ""
    data: bytes = b""

    def __await__(self) -> Generator[Call, bytes, bytes]:
        return (yield self)


class Waiting:
    """A Store and a Clock whose calls are answered by whoever drives the coroutine."""

    capabilities = Capabilities(kind="model")

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await Call("get", key)

    async def create(self, key: str, data: bytes) -> None:
        await Call("create", key, bytes(data))

    async def sleep(self, seconds: float) -> None:
        """Time does not matter here: only the order does."""


class Failed(Exception):
    """A wrong writer tells its user that the request failed; the user asks again, as a new request."""


class TakenMeansSomebodyElse(Log):
    """Wrong: a slot that is taken after an unclear answer is somebody else's."""

    async def _append(self, txn: str, build: Callable[[list[Slot], bytes], LogEntry | None]) -> Slot | None:
        await self._tail()
        while txn not in self._by_txn:
            entry = build(self.slots, self._head_hash())
            assert entry is not None
            while True:
                number = len(self.slots)
                try:
                    await self._store.create(slot_key(self.name, number), encode_entry(entry))
                except SyncdError:
                    try:
                        await self._read_slot(number)
                    except NotFound:
                        continue
                    entry = build(self.slots, self._head_hash())
                    assert entry is not None
                    continue
                self._accept(number, encode_entry(entry))
                break
        return self._by_txn[txn]


class AbsentMeansFailed(Log):
    """Wrong: nothing in the slot after an unclear answer, so the write has failed."""

    async def _settle_slot(self, number: int, data: bytes, txn: str) -> bool:
        try:
            await self._store.create(slot_key(self.name, number), data)
        except SyncdError:
            try:
                await self._read_slot(number)
            except NotFound as error:
                raise Failed from error
            return self.slots[-1].entry.txn == txn
        self._accept(number, data)
        return True


class Writer:
    """One node with one request."""

    def __init__(self, number: int, kind: type[Log], journalled: bool) -> None:
        self.number = number
        self.attempt = 0
        self.crashes = 0
        self.creates = 0
        self.waits: Call | None = None
        self.told: list[tuple[str, bool]] = []
        self.memory = DictMemory()
        self._kind = kind
        self._journalled = journalled
        self.begin()

    @property
    def txn(self) -> str:
        return f"w{self.number}-{self.attempt}"

    def begin(self) -> None:
        waiting = Waiting()
        self.log = self._kind(waiting, self.memory, REPO_ID, LOG, waiting, random.Random(0))  # type: ignore[arg-type]
        self.run: Coroutine[Any, Any, Any] | None = self._work()
        self._go(lambda run: run.send(None))

    def crash(self) -> None:
        assert self.run is not None
        self.run.close()
        self.crashes += 1
        self.attempt += not self._journalled
        self.begin()

    def answer(self, data: bytes = b"") -> None:
        self._go(lambda run: run.send(data))

    def fail(self, error: SyncdError) -> None:
        self._go(lambda run: run.throw(error))

    def _go(self, on: Callable[[Coroutine[Any, Any, Any]], Call]) -> None:
        assert self.run is not None
        try:
            self.waits = on(self.run)
        except StopIteration:
            self.told.append((self.txn, True))
            self.run = self.waits = None
        except Failed:
            self.told.append((self.txn, False))
            self.run = self.waits = None
            if self.attempt == 0:
                self.attempt = 1
                self.begin()

    async def _work(self) -> None:
        txn = self.txn
        while True:
            try:
                await self.log.append(txn, lambda slots, prev: start_entry(txn, prev))
            except RemoteUnavailable:
                continue
            return

    def stands(self) -> Hashable:
        """Return all of this writer that can matter later."""
        frames = []
        run: Any = self.run
        while run is not None and getattr(run, "cr_frame", None) is not None:
            locals_ = run.cr_frame.f_locals
            frames.append((run.cr_frame.f_code.co_name, run.cr_frame.f_lasti, locals_.get("attempt")))
            run = run.cr_await
        waits = (self.waits.op, self.waits.key) if self.waits else None
        seen = tuple(len(bodies) for bodies in self.memory.entries.values())
        told = tuple(self.told)
        return (tuple(frames), waits, len(self.log.slots), self.crashes, self.creates, self.attempt, seen, told)


class World:
    """Two writers, the bucket, and puts that are still under way."""

    def __init__(self, kind: type[Log], journalled: bool) -> None:
        self.objects: dict[str, bytes] = {}
        self.late: list[tuple[str, bytes]] = []
        self.writers = [Writer(number, kind, journalled) for number in range(WRITERS)]

    def moves(self) -> list[tuple[str, int]]:
        found = [("lands", number) for number in range(len(self.late))]
        for writer in self.writers:
            if writer.waits is None:
                continue
            if writer.waits.op == "get":
                found.append(("read", writer.number))
            elif writer.creates < CREATES:
                found += [(fate, writer.number) for fate in ("clean", "reply lost", "own retry", "late", "409")]
            if writer.crashes < CRASHES:
                found.append(("crash", writer.number))
        return found

    def move(self, what: str, number: int) -> None:
        self._move(what, number)
        self.late = [(key, data) for key, data in self.late if key not in self.objects]  # the others change nothing

    def _move(self, what: str, number: int) -> None:
        if what == "lands":
            self.objects.setdefault(*self.late.pop(number))
            return
        writer = self.writers[number]
        call = writer.waits
        assert call is not None
        if what == "crash":
            if call.op == "create":
                self.late.append((call.key, call.data))
            writer.crash()
        elif what == "read":
            data = self.objects.get(call.key)
            writer.answer(data) if data is not None else writer.fail(NotFound(call.key))
        else:
            writer.creates += 1
            self._create(writer, call, what)

    def _create(self, writer: Writer, call: Call, fate: str) -> None:
        taken = call.key in self.objects
        if fate in ("clean", "reply lost", "own retry"):
            self.objects.setdefault(call.key, call.data)
        elif fate == "late":
            self.late.append((call.key, call.data))
        if fate == "clean" and not taken:
            writer.answer()
        else:
            writer.fail(RemoteUnavailable("timeout") if fate in ("reply lost", "late") else Conflict("exists"))

    def stands(self) -> Hashable:
        late = tuple(sorted((key, decode_entry(data).txn) for key, data in self.late))
        objects = tuple(sorted((key, decode_entry(data).txn) for key, data in self.objects.items()))
        return (objects, late, tuple(writer.stands() for writer in self.writers))

    def broken(self) -> str:
        found = Counter(decode_entry(data).txn for data in self.objects.values())
        for txn, times in found.items():
            if times > 1:
                return f"{txn} stands in the log twice"
        for writer in self.writers:
            for txn, good in writer.told:
                if good != (found[txn] == 1):
                    return f"{txn} was reported {'done' if good else 'failed'} and is {'not ' * good}there"
        requests = Counter(txn.split("-")[0] for txn in found)
        return "one request was logged under two ids" if max(requests.values(), default=0) > 1 else ""


def explore_log(kind: type[Log], journalled: bool = True) -> Explored:
    """Visit every state once, breadth first, each by the way that led to it first."""

    def played(way: tuple[tuple[str, int], ...]) -> World:
        world = World(kind, journalled)
        for what, number in way:
            world.move(what, number)
        return world

    start = played(())
    seen = {start.stands()}
    waiting: list[tuple[tuple[str, int], ...]] = [()]
    for way in waiting:
        for move in played(way).moves():
            world = played((*way, move))
            stands = world.stands()
            if stands in seen:
                continue
            seen.add(stands)
            if problem := world.broken():
                return Explored(len(seen), problem)
            waiting.append((*way, move))
    return Explored(len(seen), "")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_rule_holds_in_every_order() -> None:
    found = explore_log(Log)
    print(f"\nappending, the rule: {found}")
    assert found.problem == ""


@pytest.mark.parametrize(("creates", "crashes"), [(2, 0), (1, 1)])
def test_the_rule_holds_in_every_order_of_a_smaller_world(
    creates: int, crashes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CREATES", creates)
    monkeypatch.setitem(globals(), "CRASHES", crashes)
    found = explore_log(Log)
    print(f"\nappending, the rule, puts a writer: {creates}, crashes: {crashes}: {found}")
    assert found.problem == ""


@pytest.mark.parametrize(
    ("kind", "journalled", "problem"),
    [
        (TakenMeansSomebodyElse, True, "twice"),
        (AbsentMeansFailed, True, "reported failed and is there"),
        (Log, False, "two ids"),
    ],
    ids=["taken means somebody else", "absent means failed", "the id is not in the journal"],
)
def test_a_shortcut_is_caught(kind: type[Log], journalled: bool, problem: str) -> None:
    found = explore_log(kind, journalled)
    print(f"\nappending, {kind.__name__}, journalled={journalled}: {found}")
    assert problem in found.problem
