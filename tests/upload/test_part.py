"""Versions of several ranks: parts that add up, clash, come twice; on real journals and stores, each node its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import Aborted, Conflict, InvalidInput, RemoteUnavailable
from syncd.format.log import Abort, Fence
from syncd.journal.jobs import JobResult, UploadSpec
from syncd.journal.pins import FileRow
from syncd.model.buffer import Buffer
from syncd.model.names import ArtifactKey
from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from syncd.upload.part import JOIN_SECONDS, check_group
from tests.kit.clocks import ManualClock
from tests.kit.flow_kit import Count, Files, Node, Source, node, tree, upload_job
from tests.kit.stores import Call, FlakyStore

KEY = ArtifactKey("p", "data")


class Drafts:
    """Several drafts at once: what the uploads of one daemon read instead of pins."""

    def __init__(self, files: Sequence[Files]) -> None:
        self._sources = [Source(one) for one in files]

    async def entries(self, draft: str, after: bytes = b"", limit: int = 1000) -> list[FileRow]:
        number = int(draft.rpartition("-")[2])
        rows = await self._sources[number].entries(draft, after, limit)
        return [
            FileRow(
                row.draft, row.name, row.type, row.mode, row.size, row.target,
                None if row.pin is None else row.pin + 1000 * number,
            )
            for row in rows
        ]  # fmt: skip

    def reader(self, pin: int) -> Any:
        return self._sources[pin // 1000].reader(pin % 1000)

    def advance(self, pin: int, offset: int) -> None:
        self._sources[pin // 1000].advance(pin % 1000, offset)


def shard(rank: int) -> Files:
    """A rank's files: one large enough for several chunks, one in a directory that others use too."""
    return {b"shard-%d.bin" % rank: bytes([rank + 1]) * 5000 + b"x" * rank, b"meta/%d.json" % rank: b"{%d}" % rank}


async def put(one: Node, rank: int, files: Files | None = None, of: int = 2, **more: Any) -> JobResult:
    more.setdefault("group", "g")
    return await one.upload(shard(rank) if files is None else files, rank=rank, world_size=of, **more)


async def together(
    one: Node, files: Sequence[Files], of: int, clock: Any = None, local: int = 0, name: str = "t"
) -> list[Any]:
    """All ranks of one daemon at once; what each came to, errors too."""
    drafts = Drafts(files)
    one.clock = clock or ManualClock()  # it stands still: who waits for a rank that does not come waits for ever
    uploads = one.uploads(drafts)  # type: ignore[arg-type]

    async def run(rank: int) -> JobResult:
        count = sum(isinstance(content, bytes) for content in files[rank].values())
        row = upload_job(
            f"{name}-{rank}", files=count, group="g", rank=rank, world_size=of, local_world_size=local or len(files)
        )
        assert isinstance(row.spec, UploadSpec)
        await uploads.store(row, row.spec, Count())
        return await uploads.commit(row, row.spec, Count())

    return await asyncio.gather(*map(run, range(len(files))), return_exceptions=True)


@asynccontextmanager
async def nodes(tmp_path: Path, count: int, store: Store | None = None) -> AsyncIterator[list[Node]]:
    store = store or MemoryStore()
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node(tmp_path / f"n{number}", store)) for number in range(count)]


def kinds(one: Node) -> list[str]:
    return [type(slot.entry).__name__ for slot in one.repository.artifact_log(KEY).slots]


def union(*ranks: int) -> Files:
    return {name: content for rank in ranks for name, content in shard(rank).items()}


async def test_a_version_appears_with_the_last_part_and_holds_the_files_of_all(tmp_path: Path) -> None:
    async with nodes(tmp_path, 3) as (one, two, reader):
        first = await put(one, 1, aliases=("a",))
        assert (first.version, (await reader.history()).versions) == (None, [])
        last = await put(two, 0, aliases=("b",))
        history = await reader.history()
        assert (last.version, last.new_version, history.aliases) == (0, True, {"a": 0, "b": 0})
        assert history.versions[0].files == 4
        await reader.download(tmp_path / "out")
        assert tree(tmp_path / "out") == union(0, 1)


async def test_a_rank_that_comes_again_with_the_same_bytes_has_nothing_to_do(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        assert (await put(two, 0)).version is None
        assert kinds(two) == ["Create", "Part"]
        await put(two, 1)
        assert (await put(one, 0)).version == 0
        assert kinds(one) == ["Create", "Part", "Part"]


async def test_a_rank_that_comes_again_with_other_bytes_needs_a_new_attempt(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        with pytest.raises(Conflict, match="other bytes") as refused:
            await put(two, 0, {b"shard-0.bin": b"others"})
        assert "another group name" in refused.value.hint
        assert kinds(two) == ["Create", "Part"]


class Overtaken(FlakyStore):
    """Lets somebody else act right before its next create."""

    first: Callable[[], Awaitable[object]] | None = None

    async def create(self, key: str, data: Buffer) -> None:
        first, self.first = self.first, None
        if first is not None:
            await first()
        await super().create(key, data)


async def test_a_rank_that_becomes_the_last_while_it_writes_brings_the_whole(tmp_path: Path) -> None:
    store = MemoryStore()
    overtaken = Overtaken(store)
    async with nodes(tmp_path, 2, store) as (one, three), node(tmp_path / "two", overtaken) as two:
        await put(one, 0, of=3)
        overtaken.first = lambda: put(three, 2, of=3)
        assert (await put(two, 1, of=3)).version == 0
        assert kinds(one) == ["Create", "Part"] and kinds(two) == ["Create", "Part", "Part", "Part"]
        await one.history()
        await one.download(tmp_path / "out")
        assert tree(tmp_path / "out") == union(0, 1, 2)


async def test_two_attempts_at_once_are_two_groups(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        results = await asyncio.gather(
            put(one, 0, group="try-1"), put(two, 0, {b"shard-0.bin": b"later"}, group="try-2"),
            put(one, 1, group="try-2"), put(two, 1, group="try-1"),
        )  # fmt: skip
        history = await one.history()
        assert sorted(result.version for result in results if result.version is not None) == [0, 1]
        assert {name: group.open for name, group in history.groups.items()} == {"try-1": False, "try-2": False}


async def test_who_counts_other_ranks_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        sent = Count()
        with pytest.raises(Conflict, match="of 2 ranks, not 3"):
            await put(two, 1, of=3, progress=sent)
        assert sent.bytes == 0


@pytest.mark.parametrize(
    ("mine", "why"),
    [
        ({b"shard-0.bin": b"another"}, "they differ"),
        ({b"shard-0.bin/below": b"x"}, "it lies below shard-0.bin"),
        ({b"meta": b"a file"}, "it lies below meta"),
        ({b"shard-0.bin": "target"}, "they differ"),
    ],
)
async def test_ranks_that_clash_make_no_version_and_are_named(tmp_path: Path, mine: Files, why: str) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        with pytest.raises(Aborted) as told:
            await put(two, 1, mine)
        assert why in told.value.why and "rank 0" in told.value.why and "rank 1" in told.value.why
        history = await one.history()
        assert history.versions == [] and kinds(one) == ["Create", "Part", "Abort"]
        with pytest.raises(Aborted):
            await put(one, 0)


async def test_what_ranks_have_alike_is_one_entry_and_a_directory_filled_by_another_is_not_empty(
    tmp_path: Path,
) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0, {b"config": b"same", b"d": None, b"d-1": b"one", b"e": None})
        await put(two, 1, {b"config": b"same", b"d/x": b"filled", b"d-0": b"two", b"e": None})
        await one.download(tmp_path / "out")
        assert tree(tmp_path / "out") == {
            b"config": b"same", b"d-0": b"two", b"d-1": b"one", b"d/x": b"filled", b"e": None,
        }  # fmt: skip


async def test_an_abort_ends_the_group_for_ranks_that_come_later(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        log = two.repository.artifact_log(KEY)
        await log.append("a", lambda _, prev: Abort(txn="a", prev=prev, group="g", reason="node 7 burns"))
        with pytest.raises(Aborted) as told:
            await put(two, 1)
        assert told.value.why == "node 7 burns"


async def test_an_abort_at_any_effect_of_the_last_part_wins_or_loses_for_all(tmp_path: Path) -> None:
    calls = 0
    strike = 0
    struck = asyncio.Event()

    def plan(_: Call) -> None:
        nonlocal calls
        calls += 1
        if calls == strike:
            struck.set()

    store = MemoryStore()
    async with nodes(tmp_path, 2, store) as (one, three), node(tmp_path / "two", FlakyStore(store, plan)) as two:
        log = three.repository.artifact_log(KEY)
        outcomes = []
        for turn in range(1, 40):
            group = f"g{turn}"
            await put(one, 0, {b"f": b"%d" % turn}, group=group)
            await log.refresh()
            strike = calls + turn
            struck.clear()

            async def abort(txn: str = f"abort-{turn}", name: str = group) -> None:
                await struck.wait()
                await log.append(txn, lambda _, prev: Abort(txn=txn, prev=prev, group=name, reason="no"))

            aborting = asyncio.ensure_future(abort())
            try:
                version: int | None = (await put(two, 1, group=group)).version
            except Aborted:
                version = None
            if not struck.is_set():
                aborting.cancel()
                break
            await aborting
            seen = (await one.history()).groups[group]
            assert (seen.open, seen.version) == (False, version)
            outcomes.append(version is None)
        assert set(outcomes) == {True, False}, "the race was never met"


async def test_the_ranks_of_one_daemon_share_one_entry(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, reader):
        results = await together(one, [shard(rank) for rank in range(8)], of=8)
        assert [result.version for result in results] == [0] * 8
        assert kinds(one) == ["Create", "Part"]
        await reader.download(tmp_path / "out")
        assert tree(tmp_path / "out") == union(*range(8))


async def test_ranks_of_several_daemons_with_several_each_make_one_version(tmp_path: Path) -> None:
    async with nodes(tmp_path, 3) as (one, two, reader):
        await together(one, [shard(rank) for rank in range(4)], of=6)
        assert (await reader.history()).groups["g"].missing == [4, 5]
        await put(two, 5, of=6)
        assert (await put(two, 4, of=6)).version == 0
        await reader.download(tmp_path / "out")
        assert tree(tmp_path / "out") == union(*range(6))


async def test_a_rank_of_a_shared_part_that_comes_again_is_told_by_its_own_bytes(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await together(one, [shard(rank) for rank in range(3)], of=4)
        assert (await put(two, 1, of=4)).version is None
        with pytest.raises(Conflict, match="other bytes"):
            await put(two, 1, {b"shard-1.bin": shard(1)[b"shard-1.bin"]}, of=4)
        assert kinds(two) == ["Create", "Part"]


async def test_a_local_rank_that_does_not_come_holds_the_others_up_for_a_bounded_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with nodes(tmp_path, 1) as (one,):
        running = asyncio.ensure_future(together(one, [shard(0), shard(1)], of=3, clock=clock, local=3))
        async with asyncio.timeout(10):
            while len(clock.slept) < 2:  # the second to come begins the waiting anew
                await asyncio.sleep(0)
        assert kinds(one) == ["Create"]
        await clock.sleeping()
        clock.advance(JOIN_SECONDS)
        await running
        assert kinds(one) == ["Create", "Part"]
        assert [result.version for result in running.result()] == [None, None]


async def test_ranks_of_one_daemon_that_clash_abort_the_group_for_everybody(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        results = await together(one, [{b"f": b"0"}, {b"f": b"1"}], of=3)
        assert all(isinstance(result, Aborted) for result in results)
        with pytest.raises(Aborted, match="was aborted"):
            await put(two, 2, of=3)


async def test_a_part_gives_way_to_a_collection_and_is_chosen_anew(tmp_path: Path) -> None:
    async with nodes(tmp_path, 2) as (one, two):
        await put(one, 0)
        log = two.repository.artifact_log(KEY)
        await log.append("gc-1", lambda _, prev: Fence(txn="gc-1", prev=prev, epoch=1, gc_seen=1))
        with pytest.raises(RemoteUnavailable, match="epoch 1"):  # nobody wrote the epoch: it cannot be read
            await put(two, 1)
        assert kinds(one) == ["Create", "Part"] and (await one.history()).versions == []


@pytest.mark.parametrize(
    "wrong", [{"group": "g" * 129}, {"group": "a\nb"}, {"rank": 2, "world_size": 2}, {"rank": -1}, {"world_size": 0}]
)
def test_a_group_that_no_log_can_hold_is_refused_at_once(wrong: dict[str, Any]) -> None:
    spec = UploadSpec("t", "dataset", **{"group": "g", "rank": 0, "world_size": 2, **wrong})
    with pytest.raises(InvalidInput):
        check_group(spec)
