"""Second stage: read, cut, hash. Windows are read and cut in order, hashed side by side.

A window starts where the last chunk before it ended, so cutting a file window by window gives the same chunks as
cutting it whole; the tail behind the last boundary is read again with the next window. Reading goes through the pin's
reader, which never gives other bytes than were promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from syncd.budget import Account, Hold
from syncd.errors import SourceLost
from syncd.format.digest import hash_bytes
from syncd.journal.packs import ChunkRow
from syncd.journal.pins import FileRow
from syncd.lanes import Lane
from syncd.model.names import printable
from syncd.upload.parts import Chunking, Cut, FileCut, Piece


class Reader(Protocol):
    """One pinned file, open."""

    def read_at(self, offset: int, view: memoryview) -> int:
        """Fill the view with the promised bytes from `offset`; return how many there were."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


_FEW = 4  # reads of less than this part of a window get a buffer of their own

OpenPin = Callable[[int], Reader]
StoredPrefix = Callable[[bytes], Awaitable[list[ChunkRow]]]


class CutStage:
    """Turns groups of files into cuts.

    Args:
        open_pin: opens the reader of a pin by its number; called in the lane.
        prefix: chunks of a file (by name) that an earlier life of the job has stored.
        chunking: how to cut.
        lane: threads for reading and hashing.
        account: what the buffers count against.
        window: bytes one call takes.
    """

    def __init__(
        self, open_pin: OpenPin, prefix: StoredPrefix, chunking: Chunking, lane: Lane, account: Account, window: int
    ) -> None:
        self._open_pin = open_pin
        self._prefix = prefix
        self._chunking = chunking
        self._lane = lane
        self._account = account
        self._window = max(window, chunking.params.maximum)

    async def cuts(self, group: list[FileRow], tasks: asyncio.TaskGroup) -> AsyncGenerator[Awaitable[Cut], None]:
        """Yield the cuts of a group in order, as awaitables that may still be at work in the lane."""
        if len(group) == 1 and group[0].size > self._window:
            async for cut in self._large(group[0], tasks):
                yield cut
            return
        known = {row.name: await self._known(row) for row in group if row.type == "file" and row.size}
        size = sum(row.size for row in group if known.get(row.name) == [])
        hold = await self._take(size)
        files = tasks.create_task(self._lane.run(self._cut_small, group, known, _space(hold, size)))
        yield tasks.create_task(_with_hold(files, hold))

    async def _known(self, row: FileRow) -> list[ChunkRow]:
        """Return the chunks of a small file if all of it is stored: it is not worth reading in parts."""
        known = await self._prefix(row.name)
        return known if known and known[-1].offset + known[-1].length == row.size else []

    async def _large(self, row: FileRow, tasks: asyncio.TaskGroup) -> AsyncGenerator[Awaitable[Cut], None]:
        known = await self._prefix(row.name)
        offset = known[-1].offset + known[-1].length if known else 0
        if known:
            yield _ready(Cut([FileCut(row, [], offset == row.size, known)], Hold(self._account)))
        if offset == row.size:
            return
        reader = await self._lane.run(self._open, row)
        try:
            while offset < row.size:
                size = min(self._window, row.size - offset)
                hold = await self._take(size)
                data = _space(hold, size)
                ends = await self._lane.run(self._read_window, reader, row, offset, data)
                last = offset + ends[-1] == row.size
                hashing = tasks.create_task(self._lane.run(_hash_window, data, ends, offset))
                yield tasks.create_task(_window_cut(row, hashing, last, hold))
                offset += ends[-1]
        finally:
            reader.close()

    async def _take(self, size: int) -> Hold:
        """Wait for room for a read of `size` bytes: a whole window, in a buffer used again, unless it is small."""
        small = size * _FEW < self._window
        return await self._account.take(size if small else self._window, lend=not small)

    def _open(self, row: FileRow) -> Reader:
        if row.pin is None:
            raise SourceLost(f"{printable(row.name)} has no pin", "the journal lost it", "log the file again")
        return self._open_pin(row.pin)

    def _read_window(self, reader: Reader, row: FileRow, offset: int, data: memoryview) -> list[int]:
        got = reader.read_at(offset, data)
        if got != len(data):
            raise SourceLost(
                f"{printable(row.name)} became shorter than when it was logged",
                f"{offset + got} of {row.size} bytes are there",
                "log the file again",
            )
        final = offset + len(data) == row.size
        return self._chunking.cutter.boundaries(data, self._chunking.params, final)

    def _cut_small(self, rows: list[FileRow], known: dict[bytes, list[ChunkRow]], space: memoryview) -> list[FileCut]:
        cuts = []
        for row in rows:
            stored = known.get(row.name, [])
            if row.type != "file" or not row.size or stored:
                cuts.append(FileCut(row, [], True, stored))
            else:
                cuts.append(FileCut(row, self._pieces(row, space[: row.size]), True))
                space = space[row.size :]
        return cuts

    def _pieces(self, row: FileRow, data: memoryview) -> list[Piece]:
        reader = self._open(row)
        try:
            ends = self._read_window(reader, row, 0, data)
        finally:
            reader.close()
        return _hash_window(data, ends, 0)


def _space(hold: Hold, size: int) -> memoryview:
    return memoryview(hold.buffer or bytearray(size))[:size]


def _hash_window(data: memoryview, ends: list[int], offset: int) -> list[Piece]:
    pieces = []
    start = 0
    for end in ends:
        piece = data[start:end]
        pieces.append(Piece(offset + start, piece, hash_bytes(piece)))
        start = end
    return pieces


async def _window_cut(row: FileRow, hashing: Awaitable[list[Piece]], last: bool, hold: Hold) -> Cut:
    return Cut([FileCut(row, await hashing, last)], hold)


async def _with_hold(files: Awaitable[list[FileCut]], hold: Hold) -> Cut:
    return Cut(await files, hold)


def _ready(cut: Cut) -> Awaitable[Cut]:
    future: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
    future.set_result(cut)
    return future
