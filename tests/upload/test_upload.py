"""One upload after the other: what is sent, what is not sent again, what becomes of trouble."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import Conflict, RemoteUnavailable, SourceLost
from syncd.format.chunker import load
from syncd.format.codec import RAW, ZEROS, ZSTD
from syncd.format.digest import file_digest, hash_bytes
from syncd.format.log import Commit, Start
from syncd.journal.jobs import RunFacts
from syncd.journal.packs import stored_bytes
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from syncd.upload.parts import UploadParams
from tests.kit.flow_kit import SMALL, Count, Files, Node, Source, node, tree, upload_job
from tests.kit.pinning import until
from tests.kit.repo_kit import CHUNKER
from tests.kit.stores import FlakyStore, Held, Recording, nth, on, refuse


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def one(tmp_path: Path, store: MemoryStore) -> AsyncIterator[Node]:
    async with node(tmp_path / "one", store) as made:
        yield made


def put_bytes(recording: Recording, prefix: str = "packs/") -> int:
    return sum(call.size for call in recording.of("put") if call.key.startswith(prefix))


async def test_windows_cut_as_the_whole_file_is_cut(one: Node) -> None:
    data = noise(100_000)
    await one.upload({b"f": data})
    version = (await one.history()).versions[0]
    (page,) = [page async for page in one.repository.manifests.pages(await one.repository.manifests.read(version))]
    ends = load().boundaries(memoryview(data), CHUNKER, True)
    starts = [0, *ends[:-1]]
    chunks = [data[a:b] for a, b in zip(starts, ends, strict=True)]
    assert page.entries[0].digest == file_digest((len(c), hash_bytes(c)) for c in chunks)
    assert sum(run.count for run in page.entries[0].runs) == len(chunks)


async def test_everything_comes_back(one: Node, tmp_path: Path) -> None:
    files: Files = {
        b"a": noise(50_000),
        b"dir/b": b"",
        b"dir/caf\xe9 \xff\n": b"x",
        b"dir/link": "b",
        b"empty": None,
        b"sparse": bytes(200_000) + noise(100, 1) + bytes(100_000),
        **{b"many/%04d" % n: noise(n, n) for n in range(1, 150)},
    }
    progress = Count()
    result = await one.upload(files, progress=progress)
    sizes = [len(content) for content in files.values() if isinstance(content, bytes)]
    assert (progress.bytes, progress.files) == (sum(sizes), len(sizes)) == (result.bytes, result.files)
    await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == files


async def test_a_chunk_is_stored_once_within_a_job(one: Node) -> None:
    data = noise(60_000)
    result = await one.upload({b"a": data, b"b": data, b"c": data})
    assert result.bytes == 3 * len(data)
    assert result.bytes_stored < 1.2 * len(data)


async def test_the_same_content_again_sends_nothing(one: Node) -> None:
    files: Files = {b"a": noise(60_000), b"d/b": noise(3000, 1)}
    await one.upload(files)
    again = await one.upload(files, aliases=("stable",))
    assert (again.version, again.new_version, again.bytes_stored) == (0, False, 0)
    assert "same content" in again.warnings[0]
    assert (await one.history()).aliases == {"stable": 0}


async def test_what_another_node_stored_is_not_sent_by_this_one(tmp_path: Path, store: MemoryStore) -> None:
    data = noise(80_000)
    async with node(tmp_path / "one", store) as one:
        await one.upload({b"a": data})
    recording = Recording(store)
    async with node(tmp_path / "two", recording) as two:
        result = await two.upload({b"a": data, b"b": b"more"})
        assert result.version == 1
        assert put_bytes(recording) < 3000
        recording.calls.clear()
        await two.upload({b"a": data, b"b": b"other"})
        assert not [call for call in recording.of("get") if call.key.startswith("packs/")], "it knew that version"


async def test_a_change_of_one_file_of_thousands_sends_that_file_and_one_page(
    tmp_path: Path, store: MemoryStore
) -> None:
    files: Files = {b"%05d" % n: b"%d" % n for n in range(5_000)}
    async with node(tmp_path / "one", store, UploadParams(), 8 << 20) as one:
        first = await one.upload(files)
        recording = Recording(store)
    async with node(tmp_path / "one", recording, UploadParams(), 8 << 20) as one:
        second = await one.upload(files | {b"01000": b"changed"})
    assert (first.version, second.version) == (0, 1)
    assert put_bytes(recording) < 10_000, "one small pack with the file, one with its page"
    assert len([call for call in recording.of("put") if call.key.startswith("packs/")]) == 2


async def test_a_second_life_of_a_job_sends_only_what_is_missing(tmp_path: Path, store: MemoryStore) -> None:
    files: Files = {b"%02d" % n: noise(4000, n) for n in range(30)} | {b"zz": noise(90_000, 99), b"empty": None}
    recording = Recording(store)
    broken = FlakyStore(recording, nth("put", 6, refuse()))
    async with node(tmp_path / "one", broken) as one:
        with pytest.raises(RemoteUnavailable):
            await one.upload(files, txn="job-1")
    sent = {call.key for call in recording.of("put")}
    recording.calls.clear()
    async with node(tmp_path / "one", recording) as one:
        source = Source(files)
        await one.upload(source, txn="job-1")
        assert len(sent & {call.key for call in recording.of("put")}) <= SMALL.sends
        # Three packs were noted before the sixth put began; a file half in one of them is read again.
        whole = 3 * (SMALL.pack_target - 2 * 4000)
        assert sum(size for *_, size in source.read) <= 210_000 - whole, "stored files were read again"
        await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == files


@pytest.mark.parametrize("failing", range(1, 14))
async def test_whichever_put_fails_the_next_life_finishes_in_order(
    tmp_path: Path, store: MemoryStore, failing: int
) -> None:
    files: Files = {b"%02d" % n: noise(2500 + 700 * (n % 5), n) for n in range(40)} | {b"05x": "05", b"07x": None}
    async with node(tmp_path / "one", FlakyStore(store, nth("put", failing, refuse()))) as one:
        try:
            await one.upload(files, txn="job-1")
        except RemoteUnavailable:
            await one.upload(files, txn="job-1")
        assert len((await one.history()).versions) == 1
        await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == files


async def test_a_pack_that_is_gone_is_found_and_its_chunks_are_sent_again(one: Node, tmp_path: Path) -> None:
    data = noise(60_000)
    await one.upload({b"a": data})
    packs = [info.key async for info in one.store.list("packs/")]
    for key in packs:
        await one.store.delete(key)
    await one.upload({b"a": data, b"b": b"1"}, "other")
    await one.download(tmp_path / "out", "other")
    assert tree(tmp_path / "out") == {b"a": data, b"b": b"1"}


async def test_a_pack_that_vanishes_during_the_upload_is_found_before_the_commit(tmp_path: Path) -> None:
    store = MemoryStore()
    data = noise(60_000)

    class Vanishing(FlakyStore):
        """Loses the first version's packs as soon as the second's manifest is stored."""

        doomed: tuple[str, ...] = ()

        async def put(self, key: str, parts: Any) -> None:
            await super().put(key, parts)
            if key.startswith("manifests/"):
                for pack in self.doomed:
                    await store.delete(pack)

    vanishing = Vanishing(store)
    async with node(tmp_path / "one", vanishing) as one:
        await one.upload({b"a": data})
        vanishing.doomed = tuple([info.key async for info in store.list("packs/")][:2])
        with pytest.raises(RemoteUnavailable, match="packs this node knew are gone"):
            await one.upload({b"a": data, b"b": b"1"}, "other", txn="again")
        assert await one.repository.artifact_log(_key("other")).refresh() == []
        vanishing.doomed = ()
        await one.upload({b"a": data, b"b": b"1"}, "other", txn="again")
        await one.download(tmp_path / "out", "other")
    assert tree(tmp_path / "out") == {b"a": data, b"b": b"1"}


def _key(name: str) -> ArtifactKey:
    return ArtifactKey("p", name)


async def test_a_pin_advances_only_over_bytes_that_are_stored(tmp_path: Path, store: MemoryStore) -> None:
    source = Source({b"a": noise(100_000)})
    async with node(tmp_path / "one", FlakyStore(store, nth("put", 4, refuse()))) as one:
        with pytest.raises(RemoteUnavailable):
            await one.upload(source, txn="t")
        kept = await stored_bytes(one.journal, "t")
        assert source.advanced.get(b"a", 0) <= kept
        await one.upload(source, txn="t")
    assert source.advanced[b"a"] == 100_000


async def test_a_pin_does_not_advance_over_a_pack_that_is_still_on_its_way(tmp_path: Path, store: MemoryStore) -> None:
    later, go_on = asyncio.Event(), asyncio.Event()

    class FirstIsSlow(FlakyStore):
        puts = 0

        async def put(self, key: str, parts: Any) -> None:
            self.puts += 1
            if self.puts == 1:
                await go_on.wait()
            await super().put(key, parts)

    class Told(Count):
        def stored(self, size: int) -> None:  # a pack is noted; pins advance in the same step of the loop
            super().stored(size)
            later.set()

    source = Source({b"a": noise(100_000)})
    async with node(tmp_path / "one", FirstIsSlow(store)) as one:
        task = asyncio.ensure_future(one.upload(source, txn="t", progress=Told()))
        await later.wait()
        assert source.advanced == {}
        go_on.set()
        await task
    assert source.advanced[b"a"] == 100_000


async def test_lost_bytes_end_the_upload_with_their_own_error(one: Node) -> None:
    source = Source({b"a": noise(50_000), b"b": b"x"})
    source.lost = {b"b"}
    with pytest.raises(SourceLost, match="b"):
        await one.upload(source)
    with pytest.raises(Exception, match="does not exist"):
        await one.history()


async def test_a_file_that_became_shorter_is_lost_too(one: Node) -> None:
    source = Source({b"a": noise(50_000)})

    class Shrinking(Source):
        async def entries(self, draft: str, after: bytes = b"", limit: int = 1000) -> Any:
            rows = await super().entries(draft, after, limit)
            self.files[b"a"] = noise(50_000)[:30_000]
            return rows

    with pytest.raises(SourceLost, match="shorter"):
        await one.upload(Shrinking(source.files))


@pytest.mark.parametrize("memory", [1, 9 << 10, 20 << 10, 64 << 10])
async def test_what_is_in_flight_stays_within_the_budget_and_goes_on(tmp_path: Path, memory: int) -> None:
    """A slow remote stops the reading; a budget too small for a whole pack makes smaller packs, not a standstill."""
    files: Files = {b"big": noise(120_000)} | {b"s%02d" % n: noise(3000, n) for n in range(20)}
    store = MemoryStore()
    async with node(tmp_path / "init", store):
        pass  # repo.json is made
    held = Held(store)
    async with node(tmp_path / "one", held, UploadParams(8 << 10, 16 << 10, 3), memory) as one:
        source = Source(files)
        task = asyncio.ensure_future(one.upload(source))
        await held.arrived.wait()
        await until(lambda: bool(one.budget._waiting))  # the reader is told to wait, and nothing is given back
        ahead = sum(size for *_, size in source.read)
        assert ahead <= max(memory, 8 << 10) + (8 << 10) * 2, "it read on though nothing was taken from it"
        held.let_go()
        async with asyncio.timeout(20):
            await task
        await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == files


async def test_a_failing_put_ends_the_flow_and_leaves_no_task_behind(tmp_path: Path, store: MemoryStore) -> None:
    async with node(tmp_path / "one", FlakyStore(store, on("put", "packs/", refuse()))) as one:
        before = asyncio.all_tasks()
        with pytest.raises(RemoteUnavailable):
            await one.upload({b"a": noise(200_000)})
        assert asyncio.all_tasks() == before


async def test_cancelling_an_upload_ends_it_at_once(tmp_path: Path) -> None:
    store = MemoryStore()
    async with node(tmp_path / "init", store):
        pass
    held = Held(store)
    async with node(tmp_path / "one", held) as one:
        task = asyncio.ensure_future(one.upload({b"a": noise(200_000)}))
        await held.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await task


@pytest.mark.parametrize(("compress", "codec"), [(True, ZSTD), (False, RAW)])
async def test_compression_is_used_where_it_is_wanted(one: Node, compress: bool, codec: int) -> None:
    one.params = UploadParams(8 << 10, 16 << 10, 3, compress)
    text = b"".join(b"line %d of a text that shrinks\n" % n for n in range(3000))
    await one.upload({b"t": text, b"z": bytes(50_000)})
    frames = [frame async for info in one.store.list("packs/") for frame in await _frames(one, info.key)]
    sizes = {kind: sum(f.raw_length for f in frames if f.codec == kind) for kind in (RAW, ZSTD, ZEROS)}
    assert sizes[codec] >= len(text)
    assert sizes[ZEROS] > 0
    assert sum(frame.stored_length for frame in frames if frame.codec == ZEROS) == 0


async def _frames(one: Node, key: str) -> Any:
    return await one.repository.packs.index(bytes.fromhex(key.rpartition("/")[2]))


async def test_another_type_is_refused_before_anything_is_sent(one: Node) -> None:
    await one.upload({b"a": b"1"}, type_="model")
    recording = Recording(one.store)
    one.repository.store = recording
    with pytest.raises(Conflict, match="already exists with type 'model'"):
        await one.upload({b"a": noise(50_000)}, type_="dataset")
    assert recording.of("put") == []


async def test_a_newest_version_that_cannot_be_read_costs_bandwidth_and_a_warning(
    tmp_path: Path, store: MemoryStore
) -> None:
    async with node(tmp_path / "one", store) as one:
        await one.upload({b"a": noise(30_000)})
    async for info in store.list("manifests/"):
        await store.delete(info.key)
    async with node(tmp_path / "two", store) as two:
        assert (await two.upload({b"a": noise(30_000), b"b": b"1"})).version == 1
        assert "deduplication" in two.warnings[0]


async def test_the_run_is_noted_once_before_its_first_commit_and_its_inputs_stand_in_it(one: Node) -> None:
    run = RunFacts("run 1", "p", name="first", group="g", job_type="train", started=5.0)
    for number in range(2):
        await one.upload({b"a": b"%d" % number}, run=run, inputs=("p/data:v3",))
    (slot,) = await one.repository.run_log("p", "run 1").refresh()
    assert isinstance(slot.entry, Start)
    assert (slot.entry.name, slot.entry.group, slot.entry.job_type, slot.entry.at) == ("first", "g", "train", 5.0)
    commits = [s.entry for s in one.repository.artifact_log(_key("data")).slots if isinstance(s.entry, Commit)]
    assert [(c.run, c.run_project, c.inputs) for c in commits] == [("run 1", "p", ("p/data:v3",))] * 2


async def test_a_run_that_cannot_be_noted_does_not_hold_up_the_commit(tmp_path: Path, store: MemoryStore) -> None:
    async with node(tmp_path / "one", FlakyStore(store, on("create", "r/", refuse()))) as one:
        result = await one.upload({b"a": b"1"}, run=RunFacts("r1", "p"))
        assert result.version == 0
        assert "run r1" in result.warnings[0]


async def test_a_journal_that_lost_what_was_prepared_stores_it_again(one: Node) -> None:
    source = Source({b"a": noise(20_000)})
    row = upload_job("t1", files=1)
    uploads = one.uploads(source)
    await uploads.store(row, row.spec, Count())  # type: ignore[arg-type]
    await one.journal.write(lambda db: db.execute("DELETE FROM prepared"))
    assert (await uploads.commit(row, row.spec, Count())).version == 0  # type: ignore[arg-type]
