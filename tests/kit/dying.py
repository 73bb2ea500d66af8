"""A daemon that dies in its n-th effect, and a record of what it sent and fetched that outlives it.

An *effect* is one call of a verb of store, journal or disk. `Fate` counts them over all threads and strikes at one: by
SIGKILL before it or after it, or by losing the reply (a store's verb is carried out and its caller told that the
remote is away). A journal's write has a third place to die in, inside the open transaction: it counts as an effect of
its own, `ledger.commit`.

The record is a file of JSON lines, appended with single writes, outside of everything the daemon owns:
    put     key, size, chunks (of a pack: hash and stored length), before the bytes are handed on
    get     key, offset, size, of what came
    wrote   path, offset, size of verified bytes of a download, once they are in their file
    died    the effect, its number and the side
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from syncd.daemon.compose import Seams
from syncd.disk import Disk, Write
from syncd.errors import RemoteUnavailable
from syncd.format.pack import parse_tail
from syncd.journal.core import Journal, Ledger
from syncd.model.buffer import Buffer
from syncd.store.base import ObjectInfo, Store

T = TypeVar("T")

BEFORE, AFTER, LOST = "before", "after", "lost"
CHANGES_NOTHING = frozenset({
    "ledger.commit", "ledger.read", "store.get", "store.stat", "store.list", "disk.read", "disk.read_at",
})  # fmt: skip
"""Effects that leave everything as it was: a death after one is the death before the next. BEFORE counts them all."""

DISK_VERBS = tuple(name for name in vars(Disk) if not name.startswith("_") and name not in ("restore", "write_into"))


class Record:
    """Appends JSON lines to a file; whole lines, whoever writes and whenever it is killed."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def say(self, what: str, **facts: Any) -> None:
        os.write(self._fd, json.dumps({"what": what, **facts}).encode() + b"\n")


class Fate:
    """Counts effects and strikes at number `at` (the first is 1; 0: never).

    Args:
        side: BEFORE, AFTER or LOST. AFTER leaves out what changes nothing, LOST counts the verbs of the store alone.
        only: the name of the effects that count, "" for all: where threads race, a number alone meets what it may.
    """

    def __init__(self, record: Record, at: int = 0, side: str = BEFORE, only: str = "") -> None:
        self.record = record
        self.count = 0
        self._at = at
        self._side = side
        self._only = only
        self._numbers = itertools.count(1)

    @contextmanager
    def effect(self, effect: str) -> Iterator[None]:
        """Around an effect: it has happened also when it raised."""
        number = self.enter(effect)
        try:
            yield
        finally:
            self.leave(effect, number)

    def enter(self, effect: str) -> int:
        """An effect begins; return its number."""
        if self._side == LOST and not effect.startswith("store."):
            return -1
        if self._side == AFTER and effect in CHANGES_NOTHING:
            return -1
        if self._only not in ("", effect):
            return -1
        number = self.count = next(self._numbers)
        if number == self._at and self._side == BEFORE:
            self._die(effect, number)
        return number

    def leave(self, effect: str, number: int) -> None:
        """An effect has happened."""
        if number == self._at:
            if self._side == AFTER:
                self._die(effect, number)
            if self._side == LOST:
                self.record.say("died", effect=effect, number=number, side=self._side)
                raise RemoteUnavailable(f"the reply to {effect} was lost", "the test kit did it", "it is tried again")

    def _die(self, effect: str, number: int) -> None:
        self.record.say("died", effect=effect, number=number, side=self._side)
        os.kill(os.getpid(), signal.SIGKILL)


class DyingDisk(Disk):
    """Every verb is an effect; one that is made of others (a rename and the sync of its directory) is several."""

    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        for verb in DISK_VERBS:
            setattr(self, verb, self._dying(verb, getattr(super(), verb)))

    def _dying(self, verb: str, do: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(do)
        def act(*args: Any, **more: Any) -> Any:
            with self._fate.effect(f"disk.{verb}"):
                return do(*args, **more)

        return act

    def write_into(self, write: Write) -> None:
        with self._fate.effect("disk.write_into"):
            super().write_into(write)
            size = sum(map(len, write.parts))
            self._fate.record.say("wrote", path=os.fsdecode(write.path), offset=write.offset, size=size)


class DyingStore:
    """Every verb is an effect, and recorded."""

    def __init__(self, inner: Store, fate: Fate) -> None:
        self.capabilities = inner.capabilities
        self._inner = inner
        self._fate = fate

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._fate.effect("store.get"):
            data = await self._inner.get(key, offset, length)
            self._fate.record.say("get", key=key, offset=offset, size=len(data))
            return data

    async def put(self, key: str, parts: Sequence[Buffer]) -> None:
        with self._fate.effect("store.put"):
            size = sum(memoryview(part).nbytes for part in parts)
            self._fate.record.say("put", key=key, size=size, chunks=_chunks(key, parts))
            await self._inner.put(key, parts)

    async def create(self, key: str, data: Buffer) -> None:
        with self._fate.effect("store.create"):
            await self._inner.create(key, data)

    async def stat(self, key: str) -> ObjectInfo:
        with self._fate.effect("store.stat"):
            return await self._inner.stat(key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        with self._fate.effect("store.list"):
            async for info in self._inner.list(prefix):
                yield info

    async def delete(self, key: str) -> None:
        with self._fate.effect("store.delete"):
            await self._inner.delete(key)

    async def close(self) -> None:
        await self._inner.close()


class DyingLedger:
    """Every transaction is an effect, and the moment between its last statement and its commit is one more."""

    def __init__(self, inner: Journal, fate: Fate) -> None:
        self._inner = inner
        self._fate = fate

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        def acted(connection: sqlite3.Connection) -> T:
            done = act(connection)
            self._fate.enter("ledger.commit")
            return done

        with self._fate.effect("ledger.write"):
            return await self._inner.write(acted, durable=durable)

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        with self._fate.effect("ledger.read"):
            return await self._inner.read(act)


def seams(fate: Fate) -> Seams:
    """Return the wrappers for the daemon's composition root."""

    def ledger(journal: Journal) -> Ledger:
        return DyingLedger(journal, fate)

    return Seams(DyingDisk(fate), lambda store: DyingStore(store, fate), ledger)


def _chunks(key: str, parts: Sequence[Buffer]) -> list[tuple[str, int]]:
    if not key.startswith("packs/"):
        return []
    whole = b"".join(parts)
    frames = parse_tail(whole, bytes.fromhex(key.rsplit("/", 1)[1]), len(whole))
    return [(frame.hash.hex(), frame.stored_length) for frame in frames]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a record says, in bytes.

    Attributes:
        sent: all bytes of packs put.
        packs: of these, bytes of packs put under a key for the second time or more.
        chunks: stored bytes of chunks put again, under whatever key.
        puts: how many objects were put.
        fetched: bytes of packs got.
        rewritten: verified bytes of downloads that were in their file already and were written there again.
        died: what the daemon died in, one for each death by the kit's own hand.
    """

    sent: int = 0
    packs: int = 0
    chunks: int = 0
    puts: int = 0
    fetched: int = 0
    rewritten: int = 0
    died: tuple[str, ...] = ()

    @staticmethod
    def of(path: Path, since: int = 0) -> Traffic:
        """Sum a record up, from a byte of it on. Every line is whole: it was written at once, or not at all."""
        sent = packs = chunks = puts = fetched = rewritten = 0
        keys: set[str] = set()
        hashes: set[str] = set()
        wrote: dict[str, list[tuple[int, int]]] = {}
        died: list[str] = []
        for line in path.read_bytes()[since:].splitlines() if path.exists() else []:
            fact = json.loads(line)
            match fact["what"]:
                case "put":
                    puts += 1
                    if fact["key"].startswith("packs/"):
                        sent += fact["size"]
                        packs += fact["size"] if fact["key"] in keys else 0
                        keys.add(fact["key"])
                    for digest, size in fact["chunks"]:
                        chunks += size if digest in hashes else 0
                        hashes.add(digest)
                case "get" if fact["key"].startswith("packs/"):
                    fetched += fact["size"]
                case "wrote":
                    start, end = fact["offset"], fact["offset"] + fact["size"]
                    before = wrote.setdefault(fact["path"], [])
                    rewritten += sum(max(0, min(end, e) - max(start, s)) for s, e in before)
                    before.append((start, end))
                case "died":
                    died.append(f"{fact['side']} {fact['effect']} #{fact['number']}")
        return Traffic(sent, packs, chunks, puts, fetched, rewritten, tuple(died))
