"""Reading packs: the index from the tail, then chunks by range, each checked against its hash."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from syncd.errors import Corrupt
from syncd.format.keys import pack_key
from syncd.format.pack import TAIL_GUESS, Frame, open_frame, parse_tail, tail_needed
from syncd.lanes import Lane
from syncd.store.base import Store

_INDEXES_KEPT = 256


class Packs:
    """Chunks of a repository by (pack, frame). Keeps the indexes of the packs used last.

    Args:
        store: the remote.
        lane: where chunks are decoded and hashed.
    """

    def __init__(self, store: Store, lane: Lane) -> None:
        self._store = store
        self._lane = lane
        self._indexes: OrderedDict[bytes, asyncio.Future[tuple[Frame, ...]]] = OrderedDict()

    async def index(self, pack: bytes) -> tuple[Frame, ...]:
        """Return the frames of a pack, checked against its id (32 bytes).

        Raises:
            NotFound: the pack is not there.
            Corrupt: it is not the pack of that id, or damaged.
        """
        known = self._indexes.get(pack)
        if known is None:
            known = asyncio.get_running_loop().create_future()
            self._indexes[pack] = known
            try:
                known.set_result(await self._read_index(pack))
            except BaseException as error:
                self._indexes.pop(pack, None)
                known.set_exception(error if isinstance(error, Exception) else Corrupt("reading was cancelled"))
                known.exception()
                raise
            while len(self._indexes) > _INDEXES_KEPT:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(pack)
        return await asyncio.shield(known)

    async def chunk(self, pack: bytes, number: int) -> bytes:
        """Return the bytes of one chunk, verified."""
        frames = await self.index(pack)
        if number >= len(frames):
            raise Corrupt(f"{pack_key(pack)} has no frame {number}", f"it has {len(frames)}", "")
        return (await self.chunks(pack, frames[number : number + 1]))[0]

    async def chunks(self, pack: bytes, frames: Sequence[Frame]) -> list[bytes]:
        """Return the bytes of neighbouring frames (in pack order) with one ranged read, each verified."""
        first, last = frames[0], frames[-1]
        end = last.offset + last.stored_length
        data = await self._store.get(pack_key(pack), first.offset, end - first.offset)
        if len(data) != end - first.offset:
            raise Corrupt(f"{pack_key(pack)} is truncated", f"{len(data)} of {end - first.offset} bytes came", "")
        return await self._lane.run(_open_all, pack, frames, data)

    def forget(self, pack: bytes) -> None:
        """Drop what is remembered of a pack."""
        self._indexes.pop(pack, None)

    async def _read_index(self, pack: bytes) -> tuple[Frame, ...]:
        key = pack_key(pack)
        size = (await self._store.stat(key)).size
        tail = await self._store.get(key, max(0, size - TAIL_GUESS), TAIL_GUESS)
        try:
            needed = tail_needed(tail)
            if needed > len(tail):
                if needed > size:
                    raise Corrupt("the index is longer than the pack")
                tail = await self._store.get(key, size - needed, needed)
            return parse_tail(tail, pack, size)
        except Corrupt as error:
            raise Corrupt(f"{key}: {error.what}", error.why, error.hint) from error


def _open_all(pack: bytes, frames: Sequence[Frame], data: bytes) -> list[bytes]:
    view = memoryview(data)
    start = frames[0].offset
    opened = []
    for frame in frames:
        at = frame.offset - start
        try:
            opened.append(open_frame(frame, view[at : at + frame.stored_length]))
        except Corrupt as error:
            raise Corrupt(f"{pack_key(pack)}: {error.what}", error.why, error.hint) from error
    return opened
