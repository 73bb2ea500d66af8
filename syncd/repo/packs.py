"""Reading packs: the index from the tail, then chunks by range, each checked against its hash."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

from syncd.errors import Corrupt, NotFound, SyncdError
from syncd.format.codec import RAW
from syncd.format.keys import pack_key
from syncd.format.pack import TAIL_GUESS, Frame, parse_tail, tail_needed, view_frame
from syncd.lanes import Lane
from syncd.model.buffer import Buffer
from syncd.store.base import Store

T = TypeVar("T")

_FRAMES_KEPT = 200_000  # over all indexes, some 50 MiB; the index in use is kept whatever its size


class Packs:
    """Chunks of a repository by (pack, frame). Keeps the indexes of the packs used last.

    Args:
        store: the remote.
        lane: where chunks are decoded and hashed.
        spare: another copy of the remote, asked for what turns out to be damaged.
    """

    def __init__(self, store: Store, lane: Lane, spare: Store | None = None) -> None:
        self._store = store
        self._spare = spare
        self._lane = lane
        self._indexes: OrderedDict[bytes, tuple[Frame, ...]] = OrderedDict()
        self._frames_kept = 0
        self._turns: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def index(self, pack: bytes) -> tuple[Frame, ...]:
        """Return the frames of a pack, checked against its id (32 bytes).

        Raises:
            Corrupt: it is missing, not the pack of that id, or damaged.
        """
        async with self._turns.setdefault(pack, asyncio.Lock()):  # many ask for one pack at once: read it once
            frames = self._indexes.get(pack)
            if frames is None:
                frames = await self._verified(lambda store: self._read_index(store, pack))
                self._keep(pack, frames)
            else:
                self._indexes.move_to_end(pack)
        return frames

    async def chunk(self, pack: bytes, number: int) -> bytes:
        """Return the bytes of one chunk, verified."""
        frames = await self.index(pack)
        if number >= len(frames):
            raise Corrupt(f"{pack_key(pack)} has no frame {number}", f"it has {len(frames)}", "")
        return bytes((await self.chunks(pack, frames[number : number + 1]))[0])

    async def chunks(self, pack: bytes, frames: Sequence[Frame]) -> list[Buffer]:
        """Return the bytes of neighbouring frames (in pack order) with one ranged read, each verified.

        Those stored as they are are views into what was read: whoever keeps one keeps all of it.
        """
        return await self._verified(lambda store: self._chunks(store, pack, frames))

    async def _chunks(self, store: Store, pack: bytes, frames: Sequence[Frame]) -> list[Buffer]:
        first, last = frames[0], frames[-1]
        end = last.offset + last.stored_length
        wanted = end - first.offset
        data = await self._get(store, pack_key(pack), first.offset, wanted) if wanted else b""  # zeros take no bytes
        if len(data) != wanted:
            raise Corrupt(f"{pack_key(pack)} is truncated", f"{len(data)} of {wanted} bytes came", "")
        return await self._lane.run(_open_all, pack, frames, data)

    @staticmethod
    def holds(frames: Sequence[Frame]) -> int:
        """Return how many bytes `chunks` of these frames holds: what is read, and what is unpacked from it."""
        unpacked = sum(frame.raw_length for frame in frames if frame.codec != RAW)
        return frames[-1].offset + frames[-1].stored_length - frames[0].offset + unpacked

    def forget(self, pack: bytes) -> None:
        """Drop what is remembered of a pack."""
        self._frames_kept -= len(self._indexes.pop(pack, ()))

    def _keep(self, pack: bytes, frames: tuple[Frame, ...]) -> None:
        self._indexes[pack] = frames
        self._frames_kept += len(frames)
        while self._frames_kept > _FRAMES_KEPT and len(self._indexes) > 1:
            _, dropped = self._indexes.popitem(last=False)
            self._frames_kept -= len(dropped)

    async def _verified(self, read: Callable[[Store], Awaitable[T]]) -> T:
        """Read and check; what is damaged once more from the spare copy. The first error counts when both are."""
        try:
            return await read(self._store)
        except Corrupt as error:
            if self._spare is None:
                raise
            try:
                return await read(self._spare)
            except SyncdError as second:
                raise error from second

    @staticmethod
    async def _get(store: Store, key: str, offset: int, length: int) -> bytes:
        try:
            return await store.get(key, offset, length)
        except NotFound as error:
            raise _missing(key) from error

    async def _read_index(self, store: Store, pack: bytes) -> tuple[Frame, ...]:
        key = pack_key(pack)
        try:
            size = (await store.stat(key)).size
        except NotFound as error:
            raise _missing(key) from error
        tail = await self._get(store, key, max(0, size - TAIL_GUESS), TAIL_GUESS)
        try:
            needed = tail_needed(tail)
            if needed > len(tail):
                if needed > size:
                    raise Corrupt("the index is longer than the pack")
                tail = await self._get(store, key, size - needed, needed)
            return parse_tail(tail, pack, size)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error


def _missing(key: str) -> Corrupt:
    return Corrupt(
        f"{key} is missing", "something other than syncd removed it", "restore the object, or log the artifact again"
    )


def _open_all(pack: bytes, frames: Sequence[Frame], data: bytes) -> list[Buffer]:
    view = memoryview(data)
    start = frames[0].offset
    opened: list[Buffer] = []
    for frame in frames:
        at = frame.offset - start
        try:
            opened.append(view_frame(frame, view[at : at + frame.stored_length]))
        except Corrupt as error:
            raise Corrupt(f"{pack_key(pack)}: {error.what}", error.why, error.hint) from error
    return opened
