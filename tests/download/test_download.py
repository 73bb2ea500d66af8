"""Restoring a version: verified, resumed, atomic, and never outside of the target."""

from __future__ import annotations

import asyncio
import os
import random
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.budget import Account
from syncd.disk import Disk
from syncd.download.run import discard
from syncd.download.verify import verify_directory, verify_remote
from syncd.errors import Corrupt, LocalDisk, NotFound, RemoteUnavailable, SyncdError
from syncd.format import codec
from syncd.format.keys import REPO
from syncd.lanes import Lane
from syncd.repo.repository import Repository
from syncd.store.memory import MemoryStore
from syncd.upload.parts import UploadParams
from tests.kit.download_kit import BIG, FILES, on_flaky
from tests.kit.flow_kit import Count, Files, Node, node, tree
from tests.kit.repo_kit import open_repository
from tests.kit.stores import FlakyStore, Recording, flip_bit, on, refuse, truncate


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.name.startswith(".syncd-")]


async def test_a_version_is_restored_with_modes_links_and_empty_directories(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    progress = Count()
    result = await one.download(root, progress=progress)
    assert tree(root) == FILES
    assert stat.S_IMODE((root / "a.bin").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "hollow").stat().st_mode) == 0o755
    assert (progress.bytes, progress.files) == (result.bytes, 3)
    assert leftovers(root) == []


async def test_what_is_there_already_is_not_fetched_again_and_gets_its_mode_back(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    await one.download(root)
    (root / "a.bin").chmod(0o600)
    (root / "d" / "b").write_bytes(b"SMALL")
    asked = Recording(one.store)
    progress = Count()
    again = await on_flaky(one, asked)
    await again.download(root, progress=progress)
    assert tree(root) == FILES
    assert stat.S_IMODE((root / "a.bin").stat().st_mode) == 0o640
    assert progress.sent == 5


async def test_a_download_that_was_cut_off_fetches_only_the_rest(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    flaky = FlakyStore(one.store)
    first = await on_flaky(one, flaky)
    reads = [0]

    def cut(call: Any) -> Any:
        if call.op == "get" and call.key.startswith("packs/"):
            reads[0] += 1
            return refuse() if reads[0] > 16 else None
        return None

    flaky.plan = cut
    started = Count()
    with pytest.raises(RemoteUnavailable):
        await first.download(root, progress=started, reads=1)
    assert 0 < started.sent < len(BIG)
    rest = Count()
    second = await on_flaky(one, Recording(one.store))
    await second.download(root, progress=rest)
    assert started.sent + rest.sent == len(BIG) + 5
    assert rest.bytes == len(BIG) + 5
    assert tree(root) == FILES
    assert leftovers(root) == []


async def test_a_half_written_temporary_file_is_believed_only_where_it_hashes_right(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    work = root / ".syncd-job"
    work.mkdir(parents=True)
    spoiled = bytearray(BIG)
    spoiled[1000] ^= 1
    (work / "0").write_bytes(spoiled)
    progress = Count()
    await one.download(root, progress=progress)
    assert tree(root) == FILES
    assert 0 < progress.sent < 10_000


async def test_zeros_come_back_as_holes(tmp_path: Path, store: MemoryStore) -> None:
    async with node(tmp_path / "one", store) as one:
        await one.upload({b"sparse": bytes(4 << 20) + b"end"})
        await one.download(tmp_path / "out")
    restored = (tmp_path / "out" / "sparse").stat()
    assert restored.st_size == (4 << 20) + 3
    assert restored.st_blocks * 512 < 1 << 20


async def test_small_files_share_their_turns_in_the_lane(tmp_path: Path, store: MemoryStore) -> None:
    """Hundreds of files take a turn for what they share (a look, a read, a share to place), not one or more each."""
    rng = random.Random(11)
    files: Files = {b"%03d" % number: rng.randbytes(500) for number in range(200)}
    async with node(tmp_path / "one", store, UploadParams()) as one:
        await one.upload(files)
        for _ in range(2):  # the second finds all files in their places
            lane = CountingLane("files", 2)
            await replace(one, lane=lane).download(tmp_path / "out")
            lane.close()
            assert tree(tmp_path / "out") == files
            assert 0 < len(lane.turns) <= 10, lane.turns


class CountingLane(Lane):
    """Notes what its threads are asked to do, by whomever."""

    def __init__(self, name: str, threads: int) -> None:
        super().__init__(name, threads)
        self.turns: list[Any] = []
        submit = self.executor.submit

        def noting(call: Any, *args: Any, **more: Any) -> Any:
            self.turns.append(call)
            return submit(call, *args, **more)

        self.executor.submit = noting  # type: ignore[method-assign]


async def test_a_discarded_download_leaves_what_is_placed_and_nothing_half(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    (root / ".syncd-job").mkdir(parents=True)
    (root / ".syncd-job" / "0").write_bytes(b"half")
    (root / "placed").write_bytes(b"whole")
    discard(Disk(), os.fsencode(root), "job")
    discard(Disk(), os.fsencode(root), "job")
    discard(Disk(), os.fsencode(tmp_path / "nowhere"), "job")
    assert tree(root) == {b"placed": b"whole"}


# --- damaged objects ----------------------------------------------------------------------------------------


async def damaged(one: Node, plan: Any, root: Path) -> SyncdError:
    victim = await on_flaky(one, FlakyStore(one.store))
    victim.store.plan = plan  # type: ignore[attr-defined]
    with pytest.raises(Corrupt) as caught:
        await victim.download(root)
    return caught.value


@pytest.mark.parametrize("prefix", ["packs/", "manifests/", "a/p/data/log/"])
@pytest.mark.parametrize("bit", [3, 8 * 40, 8 * 100 + 1, -5])
async def test_a_bit_flip_is_corrupt_and_names_the_object(one: Node, tmp_path: Path, prefix: str, bit: int) -> None:
    error = await damaged(one, on("get", prefix, flip_bit(bit)), tmp_path / "out")
    assert prefix in error.what
    assert not (tmp_path / "out" / "a.bin").exists()


@pytest.mark.parametrize("prefix", ["packs/", "manifests/", "a/p/data/log/"])
@pytest.mark.parametrize("length", [0, 10, -1])
async def test_a_truncated_object_is_corrupt_and_named(one: Node, tmp_path: Path, prefix: str, length: int) -> None:
    error = await damaged(one, on("get", prefix, truncate(length)), tmp_path / "out")
    assert prefix in error.what


async def test_every_stored_byte_is_covered(one: Node, tmp_path: Path) -> None:
    """Any bit of any stored object: the damage is found, or the restored bytes are right (frame headers repeat)."""
    rng = random.Random(3)
    objects = {info.key: await one.store.get(info.key) async for info in one.store.list("packs/")}
    for number in range(15):
        key = rng.choice(sorted(objects))
        bit = rng.randrange(len(objects[key]) * 8)
        spoiled = bytearray(objects[key])
        spoiled[bit // 8] ^= 1 << bit % 8
        await one.store.put(key, [bytes(spoiled)])
        victim = await on_flaky(one, FlakyStore(one.store))
        root = tmp_path / f"out{number}"
        try:
            await victim.download(root)
        except Corrupt as error:
            assert "packs/" in error.what
        else:
            assert tree(root) == FILES
        await one.store.put(key, [objects[key]])


@pytest.mark.parametrize("fault", [flip_bit(50), truncate(20)])
async def test_a_damaged_repository_record_is_named(one: Node, fault: Any) -> None:
    with pytest.raises(Corrupt, match=REPO):
        await open_repository(FlakyStore(one.store, on("get", REPO, fault)), one.lane)


@pytest.mark.parametrize("prefix", ["packs/", "manifests/"])
async def test_a_missing_object_is_corrupt_named_and_says_what_to_do(one: Node, tmp_path: Path, prefix: str) -> None:
    for key in [info.key async for info in one.store.list(prefix)]:
        await one.store.delete(key)
    error = await damaged(one, lambda call: None, tmp_path / "out")
    assert prefix in error.what
    assert error.hint


async def test_a_decompression_bomb_is_corrupt(tmp_path: Path, store: MemoryStore) -> None:
    async with node(tmp_path / "one", store) as one:
        text = b"shrinks " * 400
        await one.upload({b"t": text})
        for key in [info.key async for info in store.list("packs/")]:
            frames = await one.repository.packs.index(bytes.fromhex(key[-64:]))
            data = bytearray(await store.get(key))
            for frame in frames:
                if frame.codec == codec.ZSTD and frame.raw_length == len(text):
                    bomb = codec.zstd.compress(bytes(64 << 20))[: frame.stored_length]
                    data[frame.offset : frame.offset + len(bomb)] = bomb
            await store.put(key, [bytes(data)])
        victim = await on_flaky(one, FlakyStore(store))
        with pytest.raises(Corrupt, match="packs/"):
            await victim.download(tmp_path / "out")


async def test_an_unknown_version_or_name_is_not_found(one: Node, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="v7"):
        await one.download(tmp_path / "out", version=7)
    with pytest.raises(NotFound, match="does not exist"):
        await one.download(tmp_path / "out", "nothing")


class Full(Disk):
    """A disk with no room left for restored bytes."""

    def write_into(self, *_: Any) -> None:
        raise OSError(28, "No space left on device")


async def test_a_full_disk_is_a_typed_error_and_the_next_try_goes_on(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    with pytest.raises(LocalDisk, match="cannot write") as caught:
        await one.download(root, disk=Full())
    assert "free space" in caught.value.hint
    assert not (root / "a.bin").exists()
    await one.download(root)
    assert tree(root) == FILES


async def test_what_cannot_fit_is_refused_before_it_is_fetched(
    one: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.download.run._RESERVE", 1 << 60)
    asked = Recording(one.store)
    victim = await on_flaky(one, asked)
    progress = Count()
    with pytest.raises(LocalDisk, match="more bytes"):
        await victim.download(tmp_path / "out", progress=progress)
    assert progress.sent == 0


async def test_two_downloads_share_an_index_and_one_that_is_cancelled_harms_no_other(one: Node) -> None:
    gate, arrived = asyncio.Event(), asyncio.Event()

    class Slow(FlakyStore):
        async def stat(self, key: str) -> Any:
            arrived.set()
            await gate.wait()
            return await super().stat(key)

    repository: Repository = await open_repository(Slow(one.store), one.lane)
    key = (await anext(one.store.list("packs/"))).key
    pack = bytes.fromhex(key[-64:])
    first = asyncio.ensure_future(repository.packs.index(pack))
    await arrived.wait()
    second = asyncio.ensure_future(repository.packs.index(pack))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert await second
    with pytest.raises(asyncio.CancelledError):
        await first


# --- verification -------------------------------------------------------------------------------------------


async def test_a_directory_is_compared_entry_by_entry(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    await one.download(root)
    version = (await one.history()).versions[0]
    assert await verify_directory(one.repository, one.lane, version, os.fsencode(root)) == []
    with (root / "a.bin").open("r+b") as file:
        file.seek(100_000)
        file.write(b"!")
    (root / "d" / "b").write_bytes(b"larger than it was")
    (root / "d" / "link").unlink()
    (root / "extra").touch()
    problems = await verify_directory(one.repository, one.lane, version, os.fsencode(root))
    assert sorted(problem.split(":")[0] for problem in problems) == ["a.bin", "d/b", "d/link", "extra"]


async def test_the_remote_is_verified_and_the_damaged_file_named(one: Node) -> None:
    version = (await one.history()).versions[0]
    asked = []
    take = Account.take

    async def noting(account: Account, size: int, lend: bool = False) -> Any:
        asked.append(size)
        return await take(account, size, lend)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "take", noting)
        assert await verify_remote(one.repository, one.budget, version) == []
    assert sum(asked) >= len(BIG), "what is read counts against the budget"
    assert one.budget.used == 0
    victim = await on_flaky(one, FlakyStore(one.store))
    await victim.history()
    manifest = await victim.repository.manifests.read(version)
    pages = {ref.pack for ref in manifest.pages}
    keys = [info.key async for info in one.store.list("packs/") if bytes.fromhex(info.key[-64:]) not in pages]
    await one.store.put(keys[0], [b"gone bad"])
    problems = await verify_remote(victim.repository, victim.budget, version)
    assert problems
    assert keys[0] in problems[0]
