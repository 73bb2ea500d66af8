"""The durable verbs: what is synced when, what a failure leaves, and that bytes arrive whole."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.disk import Disk, Write, disk_error, moving
from syncd.disk.moving import copy_range
from syncd.lanes import Lane


@pytest.fixture
def here(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    """A file of 10,000 bytes, open for reading."""
    (tmp_path / "source").write_bytes(bytes(range(250)) * 40)
    fd = os.open(tmp_path / "source", os.O_RDONLY)
    yield fd
    os.close(fd)


class Watching(Disk):
    """A disk that notes which directories it synced."""

    def __init__(self) -> None:
        self.synced: list[bytes] = []

    def sync_directory(self, path: bytes) -> None:
        super().sync_directory(path)
        self.synced.append(path)


def test_reading_fills_the_view_and_stops_at_the_end(opened: int):
    view = bytearray(100)
    assert Disk().read_at(opened, 250, memoryview(view)) == 100
    assert bytes(view) == bytes(range(100))
    assert Disk().read_at(opened, 9_990, memoryview(view)) == 10
    assert Disk().read_at(opened, 20_000, memoryview(view)) == 0
    assert Disk().read(opened, 9_998, 100) == bytes([248, 249])
    assert Disk().read(opened, 0, 10_000) == bytes(range(250)) * 40


def test_reading_goes_on_where_the_kernel_gave_less(opened: int, monkeypatch: pytest.MonkeyPatch):
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: whole(fd, min(length, 7), offset))
    assert Disk().read(opened, 3, 100) == (bytes(range(250)) * 2)[3:103]
    assert Disk().read(opened, 9_990, 100) == bytes(range(240, 250))


def test_a_new_file_never_replaces_one(here: bytes):
    path = os.path.join(here, b"new\xff")
    Disk().write_new(path, [b"one", memoryview(b"two"), b""])
    with pytest.raises(FileExistsError):
        Disk().write_new(path, [b"three"])
    os.symlink(path, os.path.join(here, b"link"))
    with pytest.raises(FileExistsError):
        Disk().write_new(os.path.join(here, b"link"), [b"x"])
    with open(path, "rb") as file:
        assert file.read() == b"onetwo"


def test_writing_goes_on_where_the_kernel_took_less(here: bytes, monkeypatch: pytest.MonkeyPatch):
    whole = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, views: whole(fd, [views[0][:3]]))
    parts = [b"abcdefg", b"", bytearray(b"hi"), memoryview(b"jklmno")]
    Disk().write_new(os.path.join(here, b"f"), parts)
    with open(os.path.join(here, b"f"), "rb") as file:
        assert file.read() == b"abcdefghijklmno"


def test_a_name_given_is_a_name_synced(here: bytes):
    disk = Watching()
    one, two, three = (os.path.join(here, name) for name in (b"one", b"two", b"three"))
    disk.write_new(one, [b"x"])
    disk.rename(one, two)
    disk.link(two, three)
    assert disk.synced == [here, here]
    with pytest.raises(FileExistsError):
        disk.link(two, three)


def test_directories_are_made_one_by_one_each_name_synced(here: bytes):
    disk = Watching()
    disk.make_directory(os.path.join(here, b"a", b"b", b"c"))
    assert disk.synced == [here, os.path.join(here, b"a"), os.path.join(here, b"a", b"b")]


def test_a_directory_that_somebody_has_just_made_is_synced_all_the_same(here: bytes):
    disk = Watching()
    os.mkdir(os.path.join(here, b"a"))
    disk.make_directory(os.path.join(here, b"a/"))
    assert disk.synced == [here]


def test_a_file_in_the_place_of_a_directory_is_an_error(here: bytes):
    Disk().write_new(os.path.join(here, b"a"), [])
    with pytest.raises(FileExistsError):
        Disk().make_directory(os.path.join(here, b"a"))
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        Disk().make_directory(os.path.join(here, b"a", b"b"))


def test_an_open_file_gets_a_name_though_its_path_is_another_file_by_now(here: bytes, opened: int):
    source, linked = os.path.join(here, b"source"), os.path.join(here, b"linked")
    os.rename(source, os.path.join(here, b"moved"))
    Disk().write_new(source, [b"another file"])
    Disk().link_fd(opened, linked)
    assert os.path.samestat(os.stat(linked), os.fstat(opened))


def test_a_clone_that_cannot_be_leaves_nothing(here: bytes, opened: int):
    target = os.path.join(here, b"clone")
    try:
        Disk().clone(opened, target)
    except OSError:
        assert not os.path.exists(target)
    else:
        with open(target, "rb") as file:
            assert file.read() == bytes(range(250)) * 40


@pytest.mark.parametrize("in_kernel", [True, False])
def test_a_copy_has_the_bytes_asked_for_at_their_offsets(
    here: bytes, opened: int, in_kernel: bool, monkeypatch: pytest.MonkeyPatch
):
    if not in_kernel:
        monkeypatch.setattr(os, "copy_file_range", _cross_device)
        monkeypatch.setattr(moving, "_COPY_STEP", 777)
    target = os.path.join(here, b"copy")
    assert Disk().copy(opened, target, 9_000, start=1_000) == 8_000
    with open(target, "rb") as file:
        assert file.read() == bytes(1_000) + (bytes(range(250)) * 40)[1_000:9_000]


def test_a_copy_of_a_file_that_became_shorter_says_so(here: bytes, opened: int):
    assert Disk().copy(opened, os.path.join(here, b"copy"), 20_000) == 10_000


def test_a_copy_that_fails_is_removed(here: bytes, opened: int, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        Disk().copy(opened, os.path.join(here, b"copy"), 10_000)
    assert os.listdir(here) == [b"source"]


def test_a_copy_to_another_file_system_arrives(opened: int):
    target = os.path.join(b"/dev/shm", b"syncd-test-%d" % os.getpid())
    try:
        assert Disk().copy(opened, target, 10_000) == 10_000
        with open(target, "rb") as file:
            assert file.read() == bytes(range(250)) * 40
    finally:
        Disk().remove(target)


def test_a_file_that_is_there_is_opened_as_it_is_and_no_link_is_followed(here: bytes):
    path, link = os.path.join(here, b"f"), os.path.join(here, b"link")
    for size in (5, 5, 2):
        fd = Disk().open_or_create(path)
        Disk().resize(fd, size)
        os.close(fd)
        assert os.stat(path).st_size == size
    Disk().symlink(path, link)
    assert os.readlink(link) == path
    with pytest.raises(FileExistsError):
        Disk().symlink(path, link)
    with pytest.raises(OSError, match="symbolic links"):
        Disk().open_or_create(link)


def test_directories_come_and_go_below_an_open_one(here: bytes):
    top = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Disk().make_directory_at(top, b"d", 0o700)
        with pytest.raises(FileExistsError):
            Disk().make_directory_at(top, b"d", 0o700)
        inner = os.open(b"d", os.O_PATH | os.O_DIRECTORY, dir_fd=top)
        Disk().set_mode(inner, 0o111)
        os.close(inner)
        assert os.stat(os.path.join(here, b"d")).st_mode & 0o777 == 0o111
        Disk().remove_directory_at(top, b"d")
    finally:
        os.close(top)
    assert os.listdir(here) == []


def _cross_device(*_: object) -> int:
    raise OSError(errno.EXDEV, "other device")


def test_copying_nothing_copies_nothing(opened: int):
    assert copy_range(opened, opened, 5, start=5) == 0


def test_removing_may_be_repeated(here: bytes):
    path = os.path.join(here, b"f")
    Disk().write_new(path, [])
    Disk().remove(path)
    Disk().remove(path)
    assert os.listdir(here) == []


async def test_a_file_is_restored_at_offsets_in_any_order(here: bytes):
    lane = Lane("test-disk", 2)
    path = os.path.join(here, b"restored")
    Disk().write_new(path, [bytes(10)])
    await Disk().restore(lane, [Write(path, 6, [memoryview(b"67"), b"89"]), Write(path, 0, [b"012345"])])
    lane.close()
    with open(path, "rb") as file:
        assert file.read() == b"0123456789"


async def test_a_restore_ends_at_the_first_failure_and_keeps_what_it_wrote(here: bytes):
    lane = Lane("test-disk", 2)
    good, link, late = (os.path.join(here, name) for name in (b"good", b"link", b"late"))
    for path in (good, late):
        Disk().write_new(path, [bytes(3)])
    os.symlink(late, link)
    with pytest.raises(OSError, match="symbolic links"):
        await Disk().restore(lane, [Write(path, 0, [b"abc"]) for path in (good, link, late)])
    lane.close()
    with open(good, "rb") as first, open(late, "rb") as last:
        assert (first.read(), last.read()) == (b"abc", bytes(3))


@pytest.mark.parametrize(
    ("code", "hint"),
    [(errno.ENOSPC, "free space"), (errno.EROFS, "read-only"), (errno.EIO, "kernel log"), (errno.EBUSY, "")],
)
def test_an_error_names_the_path_and_the_remedy(code: int, hint: str):
    error = disk_error(OSError(code, os.strerror(code)), "cannot write the spool", b"/a/b\xff")
    assert error.what == "cannot write the spool: /a/b\\xff"
    assert error.why == os.strerror(code)
    assert hint in error.hint


async def test_a_cancelled_restore_has_ended_when_its_caller_goes_on(tmp_path: Path) -> None:
    """A thread left behind would write to, or open, what somebody else owns by then."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    lane = Lane("restore", 1)
    blocked, go_on = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        go_on.wait(10)

    lane.executor.submit(block)
    blocked.wait(10)
    task = asyncio.ensure_future(Disk().restore(lane, [Write(bytes(path), 10, [b"late"])]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert path.read_bytes()[10:14] == b"late"
    lane.close()
