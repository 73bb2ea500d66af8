"""Whatever goes wrong while bytes are rescued: the writer is let in, the loss is told, the next rescue works."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from syncd.disk import Disk
from syncd.errors import Conflict, Corrupt, SourceLost
from syncd.journal.core import Journal
from tests.kit.pinning import Room, other_process, pin_room

T = TypeVar("T")
OLD = os.urandom(200_000)
REWRITE = "import sys; f = open(sys.argv[1], 'r+b'); f.write(b'n' * 200000)"


class OddDisk(Disk):
    """A disk whose `copy`, and then whose `remove`, raise what the test says; whole again when told nothing."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def copy(self, fd: int, target: bytes, size: int, start: int = 0) -> int:
        if self.error is not None:
            raise self.error
        return super().copy(fd, target, size, start)

    def remove(self, path: bytes) -> None:
        if self.error is not None:
            raise self.error
        super().remove(path)


class OddLedger:
    """A journal whose writes raise what the test says."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.error: BaseException | None = None

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        if self.error is not None:
            raise self.error
        return await self.journal.write(act, durable=durable)

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        return await self.journal.read(act)


async def other_writes(room: Room, source: Path) -> None:
    """Rewrite a file in another process; done long before the kernel would let the writer in by itself (45 s)."""
    await other_process(REWRITE, source, deadline=20)
    await room.pins.synced()
    assert source.read_bytes() == b"n" * 200_000


ODD = [ZeroDivisionError("a bug"), OSError("no number"), MemoryError(), Conflict("odd"), KeyError(b"x"), SystemError()]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
async def test_any_error_of_the_disk_lets_the_writer_in_and_is_told(error: Exception, tmp_path: Path) -> None:
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    disk = OddDisk()
    async with pin_room(tmp_path / "state", disk=disk) as room:
        for path in (first, second):
            path.write_bytes(OLD)
            await room.add(path.stem, path)
        disk.error = error
        await other_writes(room, first)
        assert room.meter.count("pins_lost") == 1
        [(draft, reason)] = room.lost
        assert draft == "first"
        assert "first.pt: it could not be saved" in reason
        with pytest.raises(SourceLost, match=r"first\.pt"):
            await room.bytes_of("first")
        disk.error = None
        await other_writes(room, second)
        assert await room.bytes_of("second") == OLD
        assert len(room.lost) == 1


async def test_files_of_one_rescue_are_saved_although_one_of_them_is_not(tmp_path: Path) -> None:
    class OneBad(Disk):
        def copy(self, fd: int, target: bytes, size: int, start: int = 0) -> int:
            if os.fstat(fd).st_size == 100_000:
                raise ZeroDivisionError
            return super().copy(fd, target, size, start)

    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}").write_bytes(OLD[: 100_000 if number == 3 else 200_000])
    async with pin_room(tmp_path / "state", disk=OneBad()) as room:
        await room.pins.add_dir("d", os.fsencode(folder))
        await other_process(
            "import os, sys\nfor n in os.listdir(sys.argv[1]): open(os.path.join(sys.argv[1], n), 'wb')", folder
        )
        await room.pins.synced()
        for number in (0, 1, 2, 4, 5, 6, 7):
            assert await room.bytes_of("d", b"%d" % number) == OLD
        with pytest.raises(SourceLost):
            await room.bytes_of("d", b"3")
        assert room.meter.count("pins_lost") == 1


@pytest.mark.parametrize("error", [Corrupt("the journal is damaged"), sqlite3.OperationalError("odd"), MemoryError()])
async def test_a_journal_that_cannot_note_a_rescue_costs_no_byte_in_this_life(error: Exception, tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    ledgers: list[OddLedger] = []

    def wrap(journal: Journal) -> OddLedger:
        ledgers.append(OddLedger(journal))
        return ledgers[0]

    async with pin_room(tmp_path / "state", wrap=wrap) as room:
        await room.add("d", source)
        ledgers[0].error = error
        await other_writes(room, source)
        assert await room.bytes_of("d") == OLD
        assert not room.lost
        ledgers[0].error = None
    async with pin_room(tmp_path / "state") as room:  # the row tells of the old place: a loud loss, never other bytes
        assert [draft for draft, _ in room.lost] == ["d"]
        with pytest.raises(SourceLost):
            await room.bytes_of("d")


class Untellable(Exception):
    """An error that cannot even be said."""

    def __repr__(self) -> str:
        raise ZeroDivisionError


async def test_a_fault_while_a_fault_is_told_holds_no_writer_either(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    disk = OddDisk()
    async with pin_room(tmp_path / "state", disk=disk) as room:
        await room.add("d", source)
        disk.error = Untellable()
        await other_writes(room, source)
        assert room.meter.count("pins_lost") == 1
        with pytest.raises(SourceLost):
            await room.bytes_of("d")
        disk.error = None
