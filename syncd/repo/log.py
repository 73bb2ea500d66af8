"""One append-only log in the bucket: tailing it, and appending to it when answers may be lost.

A log is the objects `<log>/%020d`, contiguous from 0, never changed or deleted (law L2). The head is found by reading
slot after slot until one is absent; nothing rests on a listing. Entries read are kept in the journal, so a later
replay fetches only what is new, and a remote that shows a shorter or other log than before is caught. A node that
turns out to be far behind takes whole bundles (bundles.py), then slots side by side.

The ambiguity rule (law L4), for any answer to the conditional put but a clean success: read the slot. My transaction
is there: done. Another's is: it happened first, take the next slot. Nothing is there: put the same bytes to the same
slot again. The answer itself carries no information, for a store's own retry may collide with its first try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from syncd.clock import Chance, Clock
from syncd.errors import Conflict, Corrupt, LocalDisk, NotFound, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.format.keys import slot_key
from syncd.format.log import MAX_ENTRY, LogEntry, decode_entry, encode_entry, entry_hash, genesis
from syncd.repo.bundles import SPANS, Bundles, together
from syncd.repo.memory import Memory
from syncd.store.base import Store

_JITTER_SECONDS = 0.02
_TRIES_AT_ONE_SLOT = 4
_ONE_BY_ONE = 8  # a node that is no further behind than this asks for these slots and for nothing else
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Slot:
    """One entry at its place: slot number, the hash of its stored bytes (32 bytes), the entry."""

    number: int
    hash: bytes
    entry: LogEntry


class Log:
    """One log as this node sees it. Safe to use from many tasks: they take turns.

    Args:
        store: the remote.
        memory: where entries seen are remembered.
        repo_id: identity of the repository; the first entry's chain starts from it.
        name: key prefix, as format/keys.py builds it.
        clock, rng: for the short jitter after a lost race.
        confirm: asked before slot 0 is created; raises when the remote does not hold that repository any more.
        bundles: the log's bundles; without them every slot is read by itself.
    """

    def __init__(
        self, store: Store, memory: Memory, repo_id: str, name: str, clock: Clock, rng: Chance,
        confirm: Callable[[], Awaitable[None]] | None = None, bundles: Bundles | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.slots: list[Slot] = []
        self.conflicts = 0
        self._store = store
        self._memory = memory
        self._repo_id = repo_id
        self._clock = clock
        self._rng = rng
        self._confirm = confirm
        self._bundles = bundles
        self._turn = asyncio.Lock()
        self._loaded = False
        self._by_txn: dict[str, Slot] = {}

    async def refresh(self) -> list[Slot]:
        """Read what is new and return the whole log.

        Raises:
            Corrupt: an entry is damaged, the chain is broken, or the log is shorter or other than this node saw it.
        """
        async with self._turn:
            await self._tail()
            return self.slots

    async def append(self, txn: str, build: Callable[[list[Slot], bytes], LogEntry | None]) -> Slot | None:
        """Put an entry with transaction id `txn` into the next free slot, exactly once over all tries and lives.

        Args:
            txn: the id, durable in this node's journal before the call (law L3).
            build: called with the log so far and the hash to chain to; returns the entry, or None when the log already
                says what it would say. What it raises ends the append with nothing written.

        Returns:
            The slot that holds `txn`, or None when build wanted none.

        Raises:
            RemoteUnavailable, RemoteRefused: outcome unknown; call again with the same txn.
        """
        async with self._turn:
            slot = await self._append(txn, build)
        if slot is not None and self._bundles is not None:
            await self._bundles.write(slot.number, self._bodies)  # found again after a crash: written again
        return slot

    async def _append(self, txn: str, build: Callable[[list[Slot], bytes], LogEntry | None]) -> Slot | None:
        while True:
            await self._tail()
            mine = self._by_txn.get(txn)
            if mine is not None:
                return mine
            entry = build(self.slots, self._head_hash())
            if entry is None:
                return None
            if not self.slots and self._confirm is not None:
                await self._confirm()  # nothing in an empty log shows whose it is; a wrong slot 0 is for ever
            if await self._settle_slot(len(self.slots), encode_entry(entry), txn):
                return self.slots[-1]
            self.conflicts += 1
            await self._clock.sleep(self._rng.random() * _JITTER_SECONDS)

    async def _settle_slot(self, number: int, data: bytes, txn: str) -> bool:
        """Try one slot until it is known whose it is; True: ours. The same bytes at every try."""
        for attempt in range(_TRIES_AT_ONE_SLOT):
            try:
                await self._store.create(slot_key(self.name, number), data)
            except (Conflict, RemoteUnavailable, RemoteRefused) as error:
                try:
                    await self._read_slot(number)
                except NotFound:
                    if attempt + 1 == _TRIES_AT_ONE_SLOT or isinstance(error, RemoteRefused):
                        raise _unknown(error, self.name, number) from error
                    await self._clock.sleep(self._rng.random() * _JITTER_SECONDS * 2**attempt)
                    continue
                return self.slots[-1].entry.txn == txn
            self._accept(number, data)
            await self._remember(number, [data])
            return True
        raise AssertionError("unreachable: the last try raises or returns")

    async def _tail(self) -> None:
        if not self._loaded:
            await self._recall()
        if self.slots:
            await self._check_head()
        first = len(self.slots)
        fresh: list[bytes] = []
        try:
            for _ in range(_ONE_BY_ONE):
                data = await self._get(len(self.slots))
                self._accept(len(self.slots), data)
                fresh.append(data)
            await self._leap(fresh)
            await self._stride(fresh)
        except NotFound:
            return
        finally:
            await self._remember(first, fresh)

    async def _leap(self, fresh: list[bytes]) -> None:
        """Take whole bundles as long as there are right ones, more and more at once."""
        if self._bundles is None:
            return
        for span in SPANS:
            count = 1
            while await self._believe(await self._bundles.read(span, len(self.slots), count), fresh):
                count *= 2

    async def _believe(self, bodies: list[bytes], fresh: list[bytes]) -> bool:
        """Take entries that a bundle holds if they chain and the last is what stands in its slot; else none of them."""
        slots: list[Slot] = []
        with suppress(Corrupt):
            for body in bodies:
                slots.append(self._chained(len(self.slots) + len(slots), body, slots[-1] if slots else None))
        try:
            if not slots or entry_hash(await self._get(slots[-1].number)) != slots[-1].hash:
                return False
        except NotFound:
            return False
        for slot in slots:
            self._take(slot)
        fresh.extend(bodies[: len(slots)])
        return True

    async def _stride(self, fresh: list[bytes]) -> None:
        """Read slots side by side, more and more at once, until one is absent."""
        count = 1
        while True:
            first = len(self.slots)
            for number, data in enumerate(await together([self._look(first + n) for n in range(count)]), first):
                if data is None:
                    return
                self._accept(number, data)
                fresh.append(data)
            count = min(2 * count, _AT_ONCE)

    async def _look(self, number: int) -> bytes | None:
        try:
            return await self._get(number)
        except NotFound:
            return None

    async def _bodies(self, first: int, end: int) -> list[bytes]:
        """Return the stored bytes of these slots as far as the memory has them right, from `first` on."""
        seen = (await self._memory.seen(self._repo_id, self.name))[first:end]
        right = (entry_hash(body) == slot.hash for body, slot in zip(seen, self.slots[first:end], strict=False))
        return seen if all(right) else []

    async def _recall(self) -> None:
        """Take what the memory has; where its entries do not hold together the remote is read instead."""
        for number, body in enumerate(await self._memory.seen(self._repo_id, self.name)):
            try:
                self._accept(number, body)
            except Corrupt:
                break
        self._loaded = True

    async def _check_head(self) -> None:
        """The newest entry this node knows must still be there, byte for byte: else somebody took history back."""
        head = self.slots[-1]
        key = slot_key(self.name, head.number)
        try:
            data = await self._get(head.number)
        except NotFound as error:
            raise Corrupt(
                f"the log {self.name} became shorter: {key} is gone",
                f"this node has seen {head.number + 1} entries; entries are never deleted",
                "find out who restored or emptied the remote; do not write to it before",
            ) from error
        if entry_hash(data) != head.hash:
            raise Corrupt(
                f"the log {self.name} was rewritten: {key} is not the entry this node has seen",
                "entries never change; the remote is damaged or forked",
                "compare the object with other nodes' view, restore the right one",
            )

    async def _read_slot(self, number: int) -> None:
        data = await self._get(number)
        self._accept(number, data)
        await self._remember(number, [data])

    async def _remember(self, first: int, bodies: list[bytes]) -> None:
        """Note entries just read; where that fails (the state disk is full) they are read again some time."""
        with suppress(LocalDisk):
            await self._memory.remember(self._repo_id, self.name, first, bodies)

    async def _get(self, number: int) -> bytes:
        """Return a slot's bytes; of an object that is no entry no more than shows it."""
        return await self._store.get(slot_key(self.name, number), 0, MAX_ENTRY + 1)

    def _accept(self, number: int, data: bytes) -> None:
        self._take(self._chained(number, data))

    def _chained(self, number: int, data: bytes, before: Slot | None = None) -> Slot:
        """Return the slot that `data` is behind `before` (the newest known when None); Corrupt when it does not fit."""
        key = slot_key(self.name, number)
        try:
            entry = decode_entry(data)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error
        follows = before.number + 1 if before else len(self.slots)
        if number != follows or entry.prev != (before.hash if before else self._head_hash()):
            raise Corrupt(
                f"{key} does not follow the entry before it",
                "its chain hash is another's: the log is damaged or forked",
                "compare with other nodes; restore the right object",
            )
        return Slot(number, entry_hash(data), entry)

    def _take(self, slot: Slot) -> None:
        self.slots.append(slot)
        self._by_txn.setdefault(slot.entry.txn, slot)

    def _head_hash(self) -> bytes:
        return self.slots[-1].hash if self.slots else genesis(self._repo_id, self.name)


def _unknown(error: SyncdError, log: str, number: int) -> SyncdError:
    kind = RemoteRefused if isinstance(error, RemoteRefused) else RemoteUnavailable
    return kind(
        f"cannot append to {log} (slot {number}); whether it was written is unknown",
        error.what,
        "the same transaction is tried again; nothing is sent twice",
    )
