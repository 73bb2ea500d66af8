"""Collection epochs: what may be deleted, as far as it is decided, and the writing of those decisions.

Epochs are `gc/<n>`, contiguous from 1, never changed or deleted: the newest is found by reading the next until there
is none. What an epoch condemns is out of bounds for every writer that has read it; what its `.done` record rescues is
usable again. Condemned and not rescued by a record that is there means: may be gone at any time, for ever.

Writers keep what they have read of epochs since they started and of those that had not ended before (`settled`): what
older ones condemned no live version refers to, and their journals have forgotten it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from syncd.clock import Chance, Clock
from syncd.errors import Conflict, Corrupt, NotFound, RemoteRefused, RemoteUnavailable, SyncdError, root_cause
from syncd.format.epoch import MAX_EPOCH, Epoch, EpochDone, decode_done, decode_epoch, encode_done, encode_epoch
from syncd.format.keys import gc_key
from syncd.store.base import Store

_JITTER_SECONDS = 0.02
_TRIES = 4
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """One epoch and how it stands.

    Attributes:
        number: of the epoch.
        packs, manifests: condemned and not rescued.
        quarantined: packs that nothing new may refer to; they are not deleted.
        done: whether its end is recorded: only then may anything be deleted.
    """

    number: int
    packs: frozenset[bytes]
    manifests: frozenset[str]
    quarantined: frozenset[bytes]
    done: bool


class Epochs:
    """The epochs of one repository. Safe to use from many tasks: they take turns.

    Attributes:
        newest: number of the newest epoch read; 0: none.
    """

    def __init__(self, store: Store, clock: Clock, rng: Chance) -> None:
        self.newest = 0
        self._store = store
        self._clock = clock
        self._rng = rng
        self._judged: dict[int, Judged] = {}
        self._turn = asyncio.Lock()

    async def refresh(self, settled: int = 0) -> int:
        """Read what is new and return the newest epoch.

        Args:
            settled: up to here nothing need be read (`settled` of an earlier life); taken at the first call.

        Raises:
            Corrupt: a record is damaged.
        """
        async with self._turn:
            if self.newest < settled and not self._judged:
                self.newest = settled
            for number in [number for number, judged in self._judged.items() if not judged.done]:
                await self._read(number)
            while await self._read(self.newest + 1):
                self.newest += 1
            return self.newest

    @property
    def settled(self) -> int:
        """The newest epoch before which, itself included, nothing is left that a writer must remember.

        One that has not ended may condemn what somebody knows; quarantined packs are referred to by live versions for
        ever, so whoever reads these would learn of them anew.
        """
        waiting = [number for number, judged in self._judged.items() if not judged.done or judged.quarantined]
        return min(waiting, default=self.newest + 1) - 1

    def waiting(self) -> list[Judged]:
        """Return the epochs read whose end is not recorded, oldest first."""
        return [judged for _, judged in sorted(self._judged.items()) if not judged.done]

    def condemned(self, packs: Iterable[bytes]) -> set[bytes]:
        """Return those of `packs` that the epochs read have condemned and not rescued, or quarantined."""
        wanted = set(packs)
        return {
            pack for judged in self._judged.values() for pack in (wanted & judged.packs) | (wanted & judged.quarantined)
        }

    def unusable(self) -> set[bytes]:
        """Return all packs that the epochs read have condemned and not rescued, or quarantined."""
        return {pack for judged in self._judged.values() for pack in judged.packs | judged.quarantined}

    async def every(self) -> AsyncIterator[Judged]:
        """Yield all epochs from the first on, read anew; nothing of them is kept."""
        first = 1
        while True:
            found = await self._several(first)
            for judged in found:
                yield judged
            if len(found) < _AT_ONCE:
                return
            first += _AT_ONCE

    async def dead(self, packs: Iterable[bytes], manifests: Iterable[str]) -> set[str]:
        """Return, in words, which of these any epoch ever has condemned and not rescued."""
        wanted_packs, wanted_manifests = set(packs), set(manifests)
        found: set[str] = set()
        async for judged in self.every():
            found |= {f"pack {pack.hex()[:16]}" for pack in wanted_packs & judged.packs}
            found |= wanted_manifests & judged.manifests
        return found

    async def open(self, build: Callable[[int], Epoch | None]) -> Epoch | None:
        """Put an epoch into the next free number, exactly once (law L4); None when build wants none.

        Args:
            build: called with the number; all epochs before it are read. Its record's `id` is of this call alone.

        Raises:
            RemoteUnavailable, RemoteRefused: whether it was written is unknown; then it stands, or never will.
        """
        while True:
            await self.refresh()
            epoch = build(self.newest + 1)
            if epoch is None:
                return None
            if await self._create(gc_key(epoch.epoch), encode_epoch(epoch)):
                await self.refresh()
                return epoch
            await self.refresh()
            there = await self._epoch(epoch.epoch)
            if there is not None and there.id == epoch.id:
                return epoch
            await self._clock.sleep(self._rng.random() * _JITTER_SECONDS)

    async def close(self, done: EpochDone) -> None:
        """Record the end of an epoch; somebody else's record of it, if it is there first, means the same."""
        await self._create(gc_key(done.epoch, done=True), encode_done(done))
        async with self._turn:
            await self._read(done.epoch)

    async def _create(self, key: str, data: bytes) -> bool:
        """Try until something lies under the key; True: this call has certainly put it there."""
        for attempt in range(_TRIES):
            try:
                await self._store.create(key, data)
            except (Conflict, RemoteUnavailable, RemoteRefused) as error:
                if await self._get(key) is not None:
                    return False
                if attempt + 1 == _TRIES or isinstance(error, RemoteRefused):
                    raise _unknown(error, key) from error
                await self._clock.sleep(self._rng.random() * _JITTER_SECONDS * 2**attempt)
                continue
            return True
        raise AssertionError("unreachable: the last try raises or returns")

    async def _read(self, number: int) -> bool:
        judged = await self._judge(number)
        if judged is None:
            return False
        self._judged[number] = judged
        return True

    async def _several(self, first: int) -> list[Judged]:
        """Return the epochs of a short range, up to the first that is not there."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = [tasks.create_task(self._judge(number)) for number in range(first, first + _AT_ONCE)]
        except BaseExceptionGroup as group:
            raise root_cause(group) from group
        found: list[Judged] = []
        for task in reading:
            judged = task.result()
            if judged is None:
                break
            found.append(judged)
        return found

    async def _judge(self, number: int) -> Judged | None:
        epoch = await self._epoch(number)
        if epoch is None:
            return None
        done = await self._done(number)
        return Judged(
            number,
            frozenset(epoch.packs).difference(done.packs if done else ()),
            frozenset(epoch.manifests).difference(done.manifests if done else ()),
            frozenset(epoch.quarantined),
            done is not None,
        )

    async def _epoch(self, number: int) -> Epoch | None:
        key = gc_key(number)
        data = await self._get(key)
        try:
            return None if data is None else decode_epoch(data, number)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error

    async def _done(self, number: int) -> EpochDone | None:
        key = gc_key(number, done=True)
        data = await self._get(key)
        try:
            return None if data is None else decode_done(data, number)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key, 0, MAX_EPOCH + 1)
        except NotFound:
            return None


def _unknown(error: SyncdError, key: str) -> SyncdError:
    kind = RemoteRefused if isinstance(error, RemoteRefused) else RemoteUnavailable
    return kind(f"{key} could not be written; whether it was is unknown", error.what, "collect again later")
