"""What may be added, under which name, what it costs, and what is refused in which words."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Awaitable
from dataclasses import astuple
from pathlib import Path

import pytest

from syncd.disk import Disk
from syncd.errors import Conflict, InvalidInput, LocalDisk, NotFound, Refused, SourceLost
from syncd.pin import PinParams
from tests.kit.pinning import open_elsewhere, pin_room, spool_files

BIG = os.urandom(200_000)


def params_for(top: Path, **options: object) -> PinParams:
    return PinParams(spool_tops=(os.fsencode(top),), **{"reserve": 0, "sync_delay": 0, **options})  # type: ignore[arg-type]


async def test_bad_paths_are_typed_errors_that_name_them(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    async with pin_room(tmp_path / "state") as room:
        with pytest.raises(InvalidInput, match="folder is a directory"):
            await room.add("d", tmp_path / "folder")
        with pytest.raises(InvalidInput, match="pipe is not a regular file"):
            await room.add("d", tmp_path / "pipe")
        with pytest.raises(NotFound, match="nothing"):
            await room.pins.add_file("d", os.fsencode(tmp_path / "nothing"), b"f", dev=1, ino=1, size=1)
        with pytest.raises(NotFound, match="nothing"):
            await room.pins.add_dir("d", os.fsencode(tmp_path / "nothing"))
        with pytest.raises(InvalidInput, match="not an absolute path"):
            await room.pins.add_file("d", b"nothing", b"f", dev=1, ino=1, size=1)
        with pytest.raises(InvalidInput, match="not an absolute path"):
            await room.pins.add_file("d", b"/tmp/\x00", b"f", dev=1, ino=1, size=1)
        with pytest.raises(InvalidInput, match="artifact path"):
            await room.add("d", tmp_path / "state" / "journal", b"../x")
        assert astuple(await room.pins.totals("d"))[:3] == (0, 0, 0)


async def test_another_file_at_the_path_than_the_client_saw_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    facts = source.stat()
    async with pin_room(tmp_path / "state") as room:
        with pytest.raises(Conflict, match="another file is at"):
            await room.pins.add_file(
                "d", os.fsencode(source), b"f", dev=facts.st_dev, ino=facts.st_ino + 1, size=facts.st_size
            )
        with pytest.raises(Conflict, match="changed while"):
            await room.pins.add_file("d", os.fsencode(source), b"f", dev=facts.st_dev, ino=facts.st_ino, size=1)
        assert spool_files(tmp_path) == []


async def test_a_name_is_taken_once_unless_overwriting_is_allowed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(BIG)
    two.write_bytes(b"small")
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", one)
        await room.add("d", one)
        assert len(spool_files(tmp_path)) == 1
        with pytest.raises(Conflict, match="'file' is in the artifact already"):
            await room.add("d", two)
        assert await room.bytes_of("d") == BIG
        await room.add("d", two, overwrite=True)
        assert await room.bytes_of("d") == b"small"
        with pytest.raises(Conflict, match="both a file and a directory"):
            await room.add("d", one, b"file/below")
        await room.add("d", one, b"a/b")
        with pytest.raises(Conflict, match="both a file and a directory"):
            await room.add("d", two, b"a")
        assert astuple(await room.pins.totals("d"))[:3] == (2, 5 + len(BIG), 2)
        assert len(spool_files(tmp_path)) == 2


async def test_a_logged_draft_takes_no_more_files(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        await room.journal.write(lambda db: db.execute("UPDATE drafts SET job = 'j'"))
        with pytest.raises(Conflict, match="logged already"):
            await room.add("d", source, b"g")
        assert await room.pins.drafts_idle(before=1e12) == []


async def test_dropping_a_draft_that_was_logged_meanwhile_leaves_the_job_its_bytes(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        await room.journal.write(lambda db: db.execute("UPDATE drafts SET job = 'j'"))
        await room.pins.drop("d")
        (entry,) = await room.pins.entries("d")
        assert entry.pin is not None
        reader = room.pins.reader(entry.pin)
        got = bytearray(len(BIG))
        assert reader.read_at(0, memoryview(got)) == len(BIG)
        reader.close()
        assert bytes(got) == BIG
        await room.pins.release("d")
        assert await room.pins.entries("d") == []


async def test_the_spool_has_a_budget_and_the_disk_a_reserve(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state", params=params_for(tmp_path, spool_budget=300_000)) as room:
        await room.add("one", source)
        with pytest.raises(Refused, match="spool is full"):
            await room.add("two", source)
        await room.pins.release("one")
        await room.add("two", source)
        await room.pins.drop("two")
    async with pin_room(tmp_path / "state", params=params_for(tmp_path, reserve=1 << 60)) as room:
        with pytest.raises(Refused, match="no room to pin"):
            await room.add("two", source)
        assert spool_files(tmp_path) == []


async def test_files_too_large_to_rescue_in_time_and_beyond_the_descriptors_are_copied(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(4):
        (folder / str(number)).write_bytes(BIG + b"x" * number)
    slow = params_for(tmp_path, copy_rate=1000.0, break_time=45.0)
    async with pin_room(tmp_path / "one" / "state", params=slow) as room:
        receipt = await room.pins.add_dir("d", os.fsencode(folder))
        assert receipt.ways == {"copy": 4}
        assert any("too large" in gap for gap in receipt.gaps)
    async with pin_room(tmp_path / "two" / "state", params=params_for(tmp_path, lease_limit=1)) as room:
        receipt = await room.pins.add_dir("d", os.fsencode(folder))
        assert receipt.ways == {"lease": 1, "copy": 3}
        ways = await room.pins.usage()
        assert ways.files == receipt.ways
        # The largest got the lease.
        [place] = [name for name in spool_files(tmp_path) if os.stat(name).st_nlink == 2]
        assert os.stat(place).st_size == len(BIG) + 3


async def test_a_file_that_has_bytes_but_tells_no_size_is_refused_not_stored_empty(tmp_path: Path) -> None:
    async with pin_room(tmp_path / "state") as room:
        for policy in ("mutable", "immutable"):
            with pytest.raises(Conflict, match="cpuinfo"):
                await room.add("d", Path("/proc/cpuinfo"), policy=policy)


async def test_an_immutable_file_is_read_where_it_is_and_a_change_is_loud(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state") as room:
        receipt = await room.add("d", source, policy="immutable")
        assert receipt.ways == {"none": 1}
        assert receipt.gaps
        assert await room.bytes_of("d") == BIG
        assert spool_files(tmp_path) == []
        source.write_bytes(BIG[:-1] + b"!")
        with pytest.raises(SourceLost, match="/f are lost"):
            await room.bytes_of("d")
        await room.pins.release("d")
        assert source.exists()


class Reflinking(Disk):
    """A disk whose clone works everywhere, by copying."""

    def clone(self, fd: int, target: bytes) -> None:
        self.copy(fd, target, os.fstat(fd).st_size)


async def test_reflinks_come_first_where_the_file_system_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from syncd.pin import filesystems

    monkeypatch.setattr(filesystems, "of_fd", lambda fd: filesystems.Abilities("xfs", lease=True, reflink=True))
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "one" / "state", disk=Reflinking()) as room:
        assert (await room.add("d", source)).ways == {"reflink": 1}
        source.write_bytes(b"new")
        assert await room.bytes_of("d") == BIG
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "two" / "state") as room:
        # Here the kernel says no: the next way is taken.
        receipt = await room.add("d", source)
        assert receipt.ways in ({"lease": 1}, {"reflink": 1})


class Unlinkable(Disk):
    """A disk that refuses links."""

    def link_fd(self, fd: int, target: bytes) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")


async def test_where_links_are_refused_the_file_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state", disk=Unlinkable()) as room:
        receipt = await room.add("d", source)
        assert receipt.ways == {"copy": 1}
        source.write_bytes(b"new")
        assert await room.bytes_of("d") == BIG


class Full(Disk):
    """A disk without room for copies."""

    def copy(self, fd: int, target: bytes, size: int, start: int = 0) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def append(self, fd: int, parts: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_spool_is_a_typed_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "big").write_bytes(BIG)
    async with pin_room(tmp_path / "state", params=params_for(tmp_path, lease_limit=0), disk=Full()) as room:
        for name in ("small", "big"):
            with pytest.raises(LocalDisk, match="spool"):
                await room.add("d", tmp_path / name)
        assert spool_files(tmp_path) == []
        assert (await room.pins.usage()).bytes == 0


async def test_only_closed_files_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "small").write_bytes(b"small")
    (folder / "big").write_bytes(BIG)
    async with pin_room(tmp_path / "state") as room:
        for name in ("small", "big"):
            writer = open_elsewhere(folder / name)
            try:
                with pytest.raises(Conflict, match=f"{name} is open for writing"):
                    await room.pins.add_dir("d", os.fsencode(folder), closed_only=True)
            finally:
                writer.kill()
                writer.communicate()
        assert spool_files(tmp_path) == []
        receipt = await room.pins.add_dir("d", os.fsencode(folder), closed_only=True)
        assert receipt.ways == {"blob": 1, "lease": 1}


async def test_a_cancelled_caller_leaves_a_whole_pin(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    async with pin_room(tmp_path / "state") as room:
        task = asyncio.ensure_future(room.add("d", source))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await room.pins.synced()
        if astuple(await room.pins.totals("d"))[:3] != (0, 0, 0):
            assert await room.bytes_of("d") == BIG
        await room.pins.drop("d")
        assert spool_files(tmp_path) == []


async def test_many_callers_at_once(tmp_path: Path) -> None:
    async with pin_room(tmp_path / "state") as room:
        async with asyncio.TaskGroup() as group:
            for number in range(40):
                source = tmp_path / f"f{number}"
                source.write_bytes(b"%d" % number + (BIG if number % 2 else b""))
                group.create_task(room.add(f"d{number % 4}", source, b"%d" % number))
        for number in range(40):
            data = await room.bytes_of(f"d{number % 4}", b"%d" % number)
            assert data == b"%d" % number + (BIG if number % 2 else b"")
        for number in range(4):
            await room.pins.release(f"d{number}")
        assert spool_files(tmp_path) == []
        assert await room.pins.usage() == type(await room.pins.usage())(0, {})


def listen_at(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX)
    door.bind(str(path))
    return door


async def test_adds_at_once_into_a_fresh_spool_never_sweep_each_others_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "f"
    source.write_bytes(BIG)
    listdir = os.listdir

    def slowly(path: bytes | str) -> list[bytes] | list[str]:
        found = listdir(path)
        if b".syncd-spool-" in os.fsencode(path):
            time.sleep(0.05)  # the other lane links its file in between
        return found

    monkeypatch.setattr(os, "listdir", slowly)
    async with pin_room(tmp_path / "state", params=params_for(tmp_path)) as room:
        for number in range(5):
            one, other = f"a{number}", f"b{number}"
            second = asyncio.create_task(_soon(0.075, room.add(other, source)))
            await room.add(one, source)
            await second
            assert await room.bytes_of(one) == BIG
            assert await room.bytes_of(other) == BIG
            await room.pins.release(one)
            await room.pins.release(other)


async def _soon(seconds: float, work: Awaitable[object]) -> None:
    await asyncio.sleep(seconds)
    await work
