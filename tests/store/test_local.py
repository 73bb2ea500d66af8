"""The local store keeps the contract, and keeps it through crashes, links, strangers and a root that goes away."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from syncd.disk import Disk
from syncd.errors import Conflict, InvalidInput, NotFound, RemoteRefused, RemoteUnavailable, SyncdError
from syncd.lanes import Lane
from syncd.model.buffer import Buffer
from syncd.store.base import Store
from syncd.store.local import LocalStore
from tests.store.conformance import StoreContract, keys


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test-store", 4)
    yield lane
    lane.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "mnt" / "remote"


async def opened(root: Path, lane: Lane, disk: Disk | None = None, writer: str = "me", seed: int = 1) -> LocalStore:
    store = LocalStore(os.fsencode(root), disk or Disk(), lane, writer, random.Random(seed))
    await store.make_root()
    return store


@pytest.fixture
async def store(root: Path, lane: Lane) -> LocalStore:
    return await opened(root, lane)


def temporaries(root: Path) -> list[str]:
    return sorted(os.listdir(root / ".tmp"))


class TestLocalStore(StoreContract):
    @pytest.fixture(autouse=True)
    def leaves_no_temporary_file(self, store: Store, root: Path) -> Iterator[None]:
        yield
        assert temporaries(root) == []


class Failing(Disk):
    """A disk whose named verb fails with an errno, after `good` calls that go well."""

    def __init__(self, verb: str, code: int, good: int = 0) -> None:
        self.verb, self.code, self.good = verb, code, good

    def _maybe(self, verb: str) -> None:
        if verb == self.verb:
            if self.good == 0:
                raise OSError(self.code, os.strerror(self.code))
            self.good -= 1

    def write_new(self, path: bytes, parts: Sequence[Buffer], mode: int = 0o600) -> None:
        super().write_new(path, parts, mode)
        self._maybe("write_new")

    def rename(self, source: bytes, target: bytes) -> None:
        self._maybe("rename")
        super().rename(source, target)

    def link(self, source: bytes, target: bytes) -> None:
        self._maybe("link")
        super().link(source, target)
        self._maybe("link_reply")


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (errno.ENOSPC, RemoteUnavailable, "full"),
        (errno.EDQUOT, RemoteUnavailable, "full"),
        (errno.EIO, RemoteUnavailable, "Input/output"),
        (errno.ESTALE, RemoteUnavailable, "mount it again"),
        (errno.EROFS, RemoteRefused, "read-only"),
        (errno.EACCES, RemoteRefused, "owner and mode"),
        (errno.EPERM, RemoteRefused, "hard links"),
        (errno.EXDEV, RemoteRefused, "one file system"),
    ],
)
@pytest.mark.parametrize(("op", "verb"), [("put", "write_new"), ("put", "rename"), ("create", "link")])
async def test_what_the_kernel_refuses_is_said_with_the_remedy_and_leaves_nothing(
    root: Path, lane: Lane, op: str, verb: str, code: int, error: type[SyncdError], words: str
):
    store = await opened(root, lane, Failing(verb, code))
    with pytest.raises(error) as caught:
        await (store.put("a/b", [b"x"]) if op == "put" else store.create("a/b", b"x"))
    assert words in str(caught.value)
    assert "a/b" in caught.value.what
    assert str(root) in caught.value.what
    assert temporaries(root) == []
    assert await keys(store, "") == []


class RepliesLikeNfs(Disk):
    """The server did the link, the reply was lost, the kernel asked again and was told EEXIST."""

    synced = 0

    def link(self, source: bytes, target: bytes) -> None:
        os.link(source, target)
        self.synced = 0
        os.link(source, target)

    def sync_directory(self, path: bytes) -> None:
        super().sync_directory(path)
        self.synced += 1


async def test_a_create_whose_reply_was_lost_on_nfs_knows_its_own_object(root: Path, lane: Lane):
    disk = RepliesLikeNfs()
    store = await opened(root, lane, disk)
    await store.create("log/0", b"mine")
    assert disk.synced == 2  # the object's directory, and the root: "log" is new in it
    assert await store.get("log/0") == b"mine"
    assert temporaries(root) == []
    with pytest.raises(Conflict):
        await store.create("log/0", b"mine")


async def test_a_create_that_failed_after_its_effect_is_there_for_whoever_reads_back(root: Path, lane: Lane):
    store = await opened(root, lane, Failing("link_reply", errno.EIO))
    with pytest.raises(RemoteUnavailable):
        await store.create("log/0", b"mine")
    assert await store.get("log/0") == b"mine"
    assert temporaries(root) == []


class Dead(BaseException):
    """The process died here, as far as the disk can tell."""


class Dying(Disk):
    """A disk that dies in a verb and then refuses everything, cleanup too."""

    dead = False

    def rename(self, source: bytes, target: bytes) -> None:
        self.dead = True
        raise Dead

    link = rename

    def remove(self, path: bytes) -> None:
        if self.dead:
            raise Dead
        super().remove(path)


async def test_a_sweep_removes_what_a_crash_of_this_writer_left_and_nothing_else(root: Path, lane: Lane):
    for writer in ("me", "me2", "other"):
        dying = await opened(root, lane, Dying(), writer)
        for attempt in (dying.put("a/b", [b"half"]), dying.create("a/c", b"half")):
            with pytest.raises(Dead):
                await attempt
    assert len(temporaries(root)) == 6
    survivor = await opened(root, lane, writer="me", seed=2)
    await survivor.put("a/whole", [b"x"])
    assert await survivor.sweep() == 2
    assert [name.partition(".")[0] for name in temporaries(root)] == ["me2", "me2", "other", "other"]
    assert await keys(survivor, "") == ["a/whole"]


async def test_a_cancelled_put_waits_for_its_thread_and_leaves_no_temporary_file(root: Path, lane: Lane):
    entered, go_on = threading.Event(), threading.Event()

    class Slow(Disk):
        def write_new(self, path: bytes, parts: Sequence[Buffer], mode: int = 0o600) -> None:
            super().write_new(path, parts, mode)
            entered.set()
            assert go_on.wait(30)

    store = await opened(root, lane, Slow())
    putting = asyncio.ensure_future(store.put("a/b", [b"x" * 100_000]))
    assert await asyncio.get_running_loop().run_in_executor(None, entered.wait, 30)
    assert len(temporaries(root)) == 1
    putting.cancel()
    await asyncio.wait([putting], timeout=0.05)
    assert not putting.done()
    go_on.set()
    await asyncio.wait([putting], timeout=30)
    assert putting.cancelled()
    assert temporaries(root) == []
    assert await keys(store, "") in ([], ["a/b"])


async def test_a_root_that_was_removed_is_away_and_never_made_again(store: LocalStore, root: Path):
    await store.put("a/b", [b"x"])
    os.rename(root, root.with_name("gone"))
    for verb in (
        store.get("a/b"),
        store.put("a/b", [b"y"]),
        store.create("c", b""),
        store.stat("a/b"),
        keys(store, ""),
    ):
        with pytest.raises(RemoteUnavailable, match="away"):
            await verb
    for verb in (store.delete("a/b"), keys(store, "a/"), store.sweep()):
        with pytest.raises(RemoteUnavailable, match="away"):
            await verb
    assert not root.exists()
    os.rename(root.with_name("gone"), root)
    assert await store.get("a/b") == b"x"


async def test_an_empty_mount_point_is_not_the_remote_and_nothing_is_written_into_it(store: LocalStore, root: Path):
    await store.put("a/b", [b"x"])
    os.rename(root, root.with_name("unmounted"))
    root.mkdir()
    for verb in (
        store.put("a/b", [b"y"]),
        store.get("a/b"),
        store.create("n/e/w", b""),
        keys(store, ""),
        keys(store, "a"),
    ):
        with pytest.raises(RemoteUnavailable, match="not the remote"):
            await verb
    assert os.listdir(root) == []
    root.rmdir()
    os.rename(root.with_name("unmounted"), root)
    await store.put("a/c", [b"y"])
    assert await keys(store, "") == ["a/b", "a/c"]


async def test_a_remote_swapped_for_another_gets_its_directories_made_again(store: LocalStore, root: Path, lane: Lane):
    await store.put("a/b", [b"x"])
    os.rename(root, root.with_name("old"))
    await opened(root, lane, writer="other")
    with pytest.raises(RemoteUnavailable):
        await store.put("a/b", [b"y"])
    await store.put("a/b", [b"y"])
    assert await store.get("a/b") == b"y"


async def test_links_are_never_followed_out_of_the_root(store: LocalStore, root: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    await store.put("in/side", [b"x"])
    (root / "door").symlink_to(outside)
    (root / "in" / "window").symlink_to(outside / "secret")
    (root / "in" / "hole").symlink_to(outside / "nothing")
    for verb in (
        store.get("door/secret"),
        store.stat("door/secret"),
        store.put("door/new", [b"x"]),
        store.create("door/new", b"x"),
        store.delete("door/secret"),
        store.get("in/window"),
        store.stat("in/window"),
        store.create("in/window", b"x"),
        store.create("in/hole", b"x"),
    ):
        with pytest.raises(RemoteRefused):
            await verb
    assert await keys(store, "") == ["in/side"]
    await store.put("in/hole", [b"x"])  # a rename replaces the link itself
    await store.put("in/window", [b"x"])
    await store.delete("in/window")
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_strangers_in_the_directory_are_neither_listed_nor_waited_for(store: LocalStore, root: Path):
    await store.put("a/b", [b"x"])
    os.mkfifo(root / "a" / "fifo")
    (root / "a" / "with space").write_bytes(b"")
    with open(os.path.join(os.fsencode(root), b"a", b"\xff\xfe"), "wb"):
        pass
    (root / "lost+found").mkdir()
    assert await keys(store, "") == ["a/b"]
    with pytest.raises(RemoteRefused):
        await store.get("a/fifo")
    with pytest.raises(RemoteRefused):
        await store.get("a")


async def test_names_of_two_sessions_with_leftovers_never_meet(root: Path, lane: Lane):
    dying = await opened(root, lane, Dying(), seed=1)
    with pytest.raises(Dead):
        await dying.put("a", [b"half"])
    again = await opened(root, lane, seed=2)
    await again.put("a", [b"whole"])
    assert await again.get("a") == b"whole"


async def test_objects_follow_the_umask(root: Path, lane: Lane):
    before = os.umask(0o027)
    try:
        store = await opened(root, lane)
        await store.put("a/b", [b"x"])
    finally:
        os.umask(before)
    assert (root / "a" / "b").stat().st_mode & 0o777 == 0o640
    assert (root / "a").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("root", "writer"), [(b"relative", "w"), (b"/nul\0", "w"), (b"/ok", "a.b"), (b"/ok", "a/b"), (b"/ok", "")]
)
def test_a_root_or_writer_that_cannot_work_is_refused(lane: Lane, root: bytes, writer: str):
    with pytest.raises(InvalidInput):
        LocalStore(root, Disk(), lane, writer, random.Random(1))


async def test_a_missing_root_is_told_from_a_missing_object(tmp_path: Path, lane: Lane):
    never = LocalStore(os.fsencode(tmp_path / "never"), Disk(), lane, "me", random.Random(1))
    with pytest.raises(RemoteUnavailable):
        await never.get("repo.json")
    with pytest.raises(NotFound):
        await (await opened(tmp_path / "there", lane)).get("repo.json")
