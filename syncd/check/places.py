"""Files of this node that may hold what the remote has lost: restored directories, and the spool.

A file is believed when its chunks, cut as the version was cut, have the digest of the entry; and once more, chunk by
chunk, when one of them is taken: it may be changed meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from syncd.budget import Account
from syncd.errors import NotFound, SourceLost
from syncd.format.chunker import Cutter, Params
from syncd.format.digest import FileDigest, hash_bytes
from syncd.format.manifest import Entry
from syncd.journal.core import Ledger
from syncd.journal.jobs import DownloadSpec, JobRows
from syncd.journal.pins import all_pins
from syncd.lanes import Lane

_WINDOW = 8 << 20


class Reader(Protocol):
    """A local file, open; used inside a lane."""

    def read_at(self, offset: int, view: memoryview) -> int:
        """Fill the view from `offset`; return how many bytes there were."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


Open = Callable[[], Reader]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file that had an entry's content when it was read: where from, its chunks as (offset, length, hash)."""

    source: str
    open: Open
    chunks: tuple[tuple[int, int, bytes], ...]


class LocalPlaces:
    """Looks for files on this node.

    Args:
        pins: opens the reader of a pin by its number.
        cutter: the chunker.
        account: what is read counts against it.
    """

    def __init__(
        self, ledger: Ledger, pins: Callable[[int], Reader], cutter: Cutter, lane: Lane, account: Account
    ) -> None:
        self._ledger = ledger
        self._pins = pins
        self._cutter = cutter
        self._lane = lane
        self._account = account

    async def find(self, entry: Entry, chunker: Params) -> LocalFile | None:
        """Return a file with the content of an entry, None when this node has none."""
        async with aclosing(self._candidates(entry)) as candidates:
            async for source, open_it in candidates:
                hold = await self._account.take(_WINDOW)
                try:
                    chunks = await self._lane.run(_cut, open_it, entry, chunker, self._cutter)
                finally:
                    hold.release()
                if chunks is not None:
                    return LocalFile(source, open_it, chunks)
        return None

    async def chunk(self, file: LocalFile, number: int) -> bytes | None:
        """Return one chunk of a file, None when it is not what it was any more."""
        return await self._lane.run(_read, file, number)

    async def _candidates(self, entry: Entry) -> AsyncGenerator[tuple[str, Open], None]:
        for root in await self._roots():
            path = os.path.join(root, entry.path)
            if _looks_like(path, entry.size):
                yield "a downloaded directory", lambda path=path: _Plain(path)  # type: ignore[misc]
        for pin in await all_pins(self._ledger):
            if pin.size == entry.size and not pin.lost and not pin.start:
                yield "the spool", lambda number=pin.pin: self._pins(number)  # type: ignore[misc]

    async def _roots(self) -> list[bytes]:
        rows = await JobRows(self._ledger).downloads()
        return list(dict.fromkeys(row.spec.root for row in rows if isinstance(row.spec, DownloadSpec)))


class _Plain:
    def __init__(self, path: bytes) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def read_at(self, offset: int, view: memoryview) -> int:
        return os.preadv(self._fd, [view], offset)

    def close(self) -> None:
        os.close(self._fd)


def _looks_like(path: bytes, size: int) -> bool:
    try:
        state = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size == size


def _cut(open_it: Open, entry: Entry, chunker: Params, cutter: Cutter) -> tuple[tuple[int, int, bytes], ...] | None:
    """Return a file's chunks if they are those of the entry."""
    try:
        reader = open_it()
    except (OSError, NotFound):
        return None
    digest = FileDigest()
    chunks: list[tuple[int, int, bytes]] = []
    buffer = memoryview(bytearray(min(max(_WINDOW, chunker.maximum), entry.size)))
    offset = 0
    try:
        while offset < entry.size:
            data = buffer[: min(len(buffer), entry.size - offset)]
            if reader.read_at(offset, data) != len(data):
                return None
            start = 0
            for end in cutter.boundaries(data, chunker, offset + len(data) == entry.size):
                hashed = hash_bytes(data[start:end])
                digest.add(end - start, hashed)
                chunks.append((offset + start, end - start, hashed))
                start = end
            if not start:
                return None
            offset += start
    except (OSError, SourceLost):
        return None
    finally:
        reader.close()
    return tuple(chunks) if digest.finish() == entry.digest else None


def _read(file: LocalFile, number: int) -> bytes | None:
    offset, length, hashed = file.chunks[number]
    data = bytearray(length)
    try:
        reader = file.open()
        try:
            whole = reader.read_at(offset, memoryview(data)) == length
        finally:
            reader.close()
    except (OSError, NotFound, SourceLost):
        return None
    return bytes(data) if whole and hash_bytes(data) == hashed else None
