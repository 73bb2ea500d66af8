"""Judging one pack: what is wrong with it, and which of its chunks can still be had."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncd.budget import Account
from syncd.check.findings import AGAIN, Finding, Kind
from syncd.errors import Corrupt, NotFound, SyncdError
from syncd.format.digest import hash_bytes
from syncd.format.keys import pack_key
from syncd.format.pack import (
    FRAME,
    FRAME_MAGIC,
    HEADER,
    MAX_FRAMES,
    PACK_MAGIC,
    ROW,
    TAIL_GUESS,
    TRAILER,
    TRAILER_MAGIC,
    Frame,
    pack_id,
    parse_tail,
    tail_needed,
    view_frame,
)
from syncd.lanes import Lane
from syncd.store.base import Store

_READ_BYTES = 8 << 20
_ROOM = 64 << 20


@dataclass(slots=True)
class PackState:
    """One pack as it is.

    Attributes:
        finding: what is wrong, without whom it hurts; None: nothing that was looked at.
        frames: what its index says, or what its frames say of themselves when the index is lost, by number.
        bad: numbers of frames whose bytes are known not to be there. Those that `frames` has not are bad as well.
        bytes_read: of chunks that were hashed.
    """

    pack: bytes
    size: int = 0
    finding: Finding | None = None
    frames: dict[int, Frame] = field(default_factory=dict)
    bad: set[int] = field(default_factory=set)
    bytes_read: int = 0

    def hurt(self, numbers: Iterable[int]) -> list[int]:
        """Return those of some frames that cannot be had."""
        return [number for number in numbers if number in self.bad or number not in self.frames]


class PackJudge:
    """Looks at packs.

    Args:
        lane: where chunks are hashed.
        account: what is read and unpacked counts against it.
    """

    def __init__(self, store: Store, lane: Lane, account: Account) -> None:
        self._store = store
        self._lane = lane
        self._account = account

    async def judge(self, pack: bytes, read: bool) -> PackState:
        """Return how a pack is: by its size and index, and with `read` by the hash of every chunk."""
        state = PackState(pack)
        key = pack_key(pack)
        try:
            state.size = (await self._store.stat(key)).size
            frames = await self._index(pack, state.size)
            state.frames = dict(enumerate(frames))
            if read:
                await self._read_all(state, frames)
        except NotFound:
            state.finding = Finding(Kind.MISSING, key, f"{key} is missing")
        except Corrupt as error:
            await self._take_apart(state, error)
        except SyncdError as error:
            if error.retry:
                raise
            state.finding = Finding(Kind.UNREADABLE, key, f"{key}: {error.what}", todo=AGAIN)
        return state

    async def _index(self, pack: bytes, size: int) -> tuple[Frame, ...]:
        key = pack_key(pack)
        tail = await self._store.get(key, max(0, size - TAIL_GUESS), TAIL_GUESS)
        needed = tail_needed(tail)
        if needed > len(tail):
            if needed > size:
                raise Corrupt("the index is longer than the pack", "")
            tail = await self._store.get(key, size - needed, needed)
        return parse_tail(tail, pack, size)

    async def _read_all(self, state: PackState, frames: Sequence[Frame]) -> None:
        for first, count in _reads(frames):
            some = frames[first : first + count]
            start, end = some[0].offset, some[-1].offset + some[-1].stored_length
            hold = await self._account.take(end - start + max(frame.raw_length for frame in some))
            try:
                data = await self._store.get(pack_key(state.pack), start, end - start) if end > start else b""
                bad = await self._lane.run(_damaged, some, data)
            finally:
                hold.release()
            state.bad |= {first + number for number in bad}
            state.bytes_read += end - start
        if state.bad:
            words = f"{len(state.bad)} of its {len(frames)} chunks do not match their hashes"
            key = pack_key(state.pack)
            state.finding = Finding(Kind.FLIPPED, key, f"{key}: {words}")

    async def _take_apart(self, state: PackState, error: Corrupt) -> None:
        """A pack without a good index: say what became of it, and find the chunks that are still whole."""
        key = pack_key(state.pack)
        hold = await self._account.take(min(state.size, _ROOM))
        try:
            data = await self._store.get(key, 0, _ROOM)
            frames, bad, ended = await self._lane.run(_walk, data)
        finally:
            hold.release()
        kind = Kind.TRUNCATED if ended else Kind.FLIPPED
        if _another(data, state.pack):
            kind = Kind.SWAPPED
        state.frames, state.bad = ({}, set()) if kind is Kind.SWAPPED else (frames, bad)
        state.finding = Finding(kind, key, f"{key}: {error.what}" + (f": {error.why}" if error.why else ""))


def _another(data: bytes, pack: bytes) -> bool:
    """Whether these are the bytes of some other object: a whole pack of another name, or none at all."""
    if data[:5] == PACK_MAGIC[:5] and data[:8] != PACK_MAGIC:
        return True
    try:
        nonce, _, length, digest, magic = TRAILER.unpack(data[-TRAILER.size :])
    except struct.error:
        return False
    index = data[-TRAILER.size - length : -TRAILER.size]
    return magic == TRAILER_MAGIC and hash_bytes(index) == digest and pack_id(nonce, index) != pack


def _damaged(frames: Sequence[Frame], data: bytes) -> list[int]:
    start = frames[0].offset
    whole = memoryview(data)
    bad = []
    for number, frame in enumerate(frames):
        at = frame.offset - start
        try:
            view_frame(frame, whole[at : at + frame.stored_length])
        except Corrupt:
            bad.append(number)
    return bad


def _walk(data: bytes) -> tuple[dict[int, Frame], set[int], bool]:
    """Follow the frames from the start; return them by number, the damaged ones, and whether the data just ends."""
    frames: dict[int, Frame] = {}
    bad: set[int] = set()
    at = HEADER.size
    whole = memoryview(data)
    while len(frames) < MAX_FRAMES and at + FRAME.size <= len(data):
        magic, raw, stored, codec, encryption, zero, chunk = FRAME.unpack_from(data, at)
        if magic != FRAME_MAGIC or zero:
            end = at + ROW.size * len(frames) + TRAILER.size  # where the pack would end if this were its index
            return frames, bad, len(data) < end
        frame = Frame(chunk, raw, stored, codec, encryption, at + FRAME.size)
        at += FRAME.size + stored
        if at > len(data):
            return frames, bad, True
        number = len(frames)
        frames[number] = frame
        try:
            view_frame(frame, whole[frame.offset : at])
        except Corrupt:
            bad.add(number)
    return frames, bad, True


def _reads(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Group neighbouring frames into reads, as (first, count)."""
    reads: list[tuple[int, int]] = []
    size = 0
    for number, frame in enumerate(frames):
        if reads and size + frame.stored_length <= _READ_BYTES:
            reads[-1] = (reads[-1][0], reads[-1][1] + 1)
            size += frame.stored_length
        else:
            reads.append((number, 1))
            size = frame.stored_length
    return reads
