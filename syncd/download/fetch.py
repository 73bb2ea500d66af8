"""Second stage: the bytes of a group of files, from what is here already and from the remote, each chunk verified."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncd.budget import Account
from syncd.disk import Disk, Write, disk_error
from syncd.download.place import Target
from syncd.download.plan import Wanted
from syncd.errors import LocalDisk
from syncd.format.codec import ZEROS
from syncd.format.digest import hash_bytes
from syncd.format.manifest import Entry
from syncd.format.pack import Frame
from syncd.format.restore import Chunk
from syncd.lanes import Lane
from syncd.model.buffer import Buffer
from syncd.model.names import printable
from syncd.repo.packs import Packs

_READ_BYTES = 8 << 20
_RAW_BYTES = 16 << 20
_GAP_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Held:
    """What is here of a file: `placed` when its final place already has the right bytes, else the chunks missing."""

    placed: bool
    missing: list[Chunk]
    have: int


@dataclass(frozen=True, slots=True)
class Goal:
    """Where one fetched chunk goes: a temporary file and an offset in it."""

    path: bytes
    chunk: Chunk


class FetchStage:
    """Fills temporary files.

    Args:
        packs: verified chunks of the remote.
        lane: threads for hashing and writing.
        reads: ranged reads at once over all groups.
        account: what is read and unpacked counts against it until it is written.
        target: open, and the only place written to.
    """

    def __init__(self, packs: Packs, disk: Disk, lane: Lane, reads: int, account: Account, target: Target) -> None:
        self._packs = packs
        self._disk = disk
        self._lane = lane
        self._room = asyncio.Semaphore(reads)
        self._account = account
        self._target = target

    async def look(self, files: Sequence[tuple[Wanted, list[Chunk]]]) -> list[Held]:
        """Find out what an earlier try or the target itself already holds of files, all in one turn of the lane.

        A file that is in its place already gets its mode; each other one gets a temporary file.
        """
        return await self._lane.run(self._look_at_all, files)

    async def fill(self, goals: Sequence[Goal], fetched: Callable[[int], None]) -> None:
        """Fetch, verify and write chunks, telling `fetched` the bytes; on return all are in their files, not synced."""
        async with asyncio.TaskGroup() as tasks:
            for read in coalesce(goals):
                await self._room.acquire()
                task = tasks.create_task(self._read(read, fetched))
                task.add_done_callback(lambda _: self._room.release())

    async def _read(self, read: list[Goal], fetched: Callable[[int], None]) -> None:
        frames: list[Frame] = []
        for goal in read:
            if not frames or frames[-1] is not goal.chunk.frame:
                frames.append(goal.chunk.frame)
        hold = await self._account.take(self._packs.holds(frames))
        try:
            await self._copy(read, frames, fetched)
        finally:
            hold.release()

    async def _copy(self, read: list[Goal], frames: list[Frame], fetched: Callable[[int], None]) -> None:
        pieces = await self._packs.chunks(read[0].chunk.pack, frames)
        by_frame = {id(frame): piece for frame, piece in zip(frames, pieces, strict=True)}
        writes = _joined(read, by_frame)
        try:
            await self._disk.restore(self._lane, writes)
        except OSError as error:
            raise disk_error(error, "cannot write restored files", self._target.root) from error
        fetched(sum(len(part) for write in writes for part in write.parts))

    def _look_at_all(self, files: Sequence[tuple[Wanted, list[Chunk]]]) -> list[Held]:
        return [self._look(wanted.entry, wanted.number, chunks) for wanted, chunks in files]

    def _look(self, entry: Entry, number: int, chunks: list[Chunk]) -> Held:
        try:
            if self._in_place(entry, chunks):
                return Held(True, [], entry.size)
            missing = self._missing_of_temporary(number, entry.size, chunks)
        except OSError as error:
            path = os.path.join(self._target.root, entry.path)
            raise disk_error(error, "cannot prepare a restored file", path) from error
        return Held(False, missing, entry.size - sum(chunk.frame.raw_length for chunk in missing))

    def _in_place(self, entry: Entry, chunks: list[Chunk]) -> bool:
        fd = self._target.existing(entry.path, entry.size)
        if fd is None:
            return False
        try:
            if _missing(self._disk, fd, chunks):
                return False
            self._disk.set_mode(fd, entry.mode)
        finally:
            os.close(fd)
        return True

    def _missing_of_temporary(self, number: int, size: int, chunks: list[Chunk]) -> list[Chunk]:
        fd = self._disk.open_or_create(self._target.temporary(number))
        try:
            was = os.fstat(fd).st_size
            if was != size:
                self._disk.resize(fd, size)
            if was == 0:  # zeros are there already, as holes
                return [chunk for chunk in chunks if chunk.frame.codec != ZEROS]
            return _missing(self._disk, fd, chunks)
        finally:
            os.close(fd)


def _missing(disk: Disk, fd: int, chunks: list[Chunk]) -> list[Chunk]:
    missing = []
    for chunk in chunks:
        data = memoryview(bytearray(chunk.frame.raw_length))
        if disk.read_at(fd, chunk.offset, data) != len(data) or hash_bytes(data) != chunk.frame.hash:
            missing.append(chunk)
    return missing


def coalesce(goals: Sequence[Goal]) -> list[list[Goal]]:
    """Group chunks into reads: neighbours of one pack, gaps of at most 64 KiB, 8 MiB a read and 16 MiB unpacked."""
    reads: list[list[Goal]] = []
    start = end = raw = 0
    for goal in sorted(goals, key=lambda goal: (goal.chunk.pack, goal.chunk.number)):
        frame = goal.chunk.frame
        last = reads[-1][-1].chunk if reads else None
        near = last is not None and last.pack == goal.chunk.pack and frame.offset - end <= _GAP_BYTES
        fits = frame.offset + frame.stored_length - start <= _READ_BYTES and raw + frame.raw_length <= _RAW_BYTES
        if near and fits:
            reads[-1].append(goal)
        else:
            reads.append([goal])
            start, end, raw = frame.offset, 0, 0
        end = max(end, frame.offset + frame.stored_length)
        raw += frame.raw_length
    return reads


def _joined(read: list[Goal], by_frame: dict[int, Buffer]) -> list[Write]:
    """Bring together chunks that follow each other in one file: each file is written as few times as possible."""
    writes: list[Write] = []
    parts: list[Buffer] = []
    path, end = b"", 0
    for goal in sorted(read, key=lambda goal: (goal.path, goal.chunk.offset)):
        data = by_frame[id(goal.chunk.frame)]
        if (goal.path, goal.chunk.offset) != (path, end):
            parts = []
            writes.append(Write(goal.path, goal.chunk.offset, parts))
        parts.append(data)
        path, end = goal.path, goal.chunk.offset + len(data)
    return writes


def check_space(target: Target, goals: Sequence[Goal], reserve: int) -> None:
    """Refuse to fetch what the target's file system cannot take (LocalDisk); `reserve` bytes of it stay free."""
    size = sum(goal.chunk.frame.raw_length for goal in goals)
    free = max(0, target.free_bytes() - reserve)
    if size > free:
        raise LocalDisk(
            f"{printable(target.root)} must take {size:,} more bytes, {free:,} are free",
            f"{reserve:,} bytes are kept free",
            "free space or choose another root; what was fetched stays for the next try",
        )
