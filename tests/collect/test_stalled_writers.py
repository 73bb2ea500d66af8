"""A writer that stalls at any effect of its upload, for as long as whole collections take, loses nothing.

What it refers to is made garbage while it stalls: the version whose chunks it reuses is deleted, and nothing protects
by its age. The same with a writer that dies there and comes back, and with a collection that is overtaken by another.
"""

import itertools
import random
from contextlib import suppress

import pytest

from syncd.errors import RemoteUnavailable
from syncd.format.log import Delete
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from tests.kit.collect_kit import Stalled, add, collect, fresh, keys_of, readable
from tests.kit.stores import FlakyStore, lose_reply, refuse

OLD = {b"a.bin": random.Random(1).randbytes(9_000), b"b.bin": random.Random(2).randbytes(3_000)}
NEW = {b"a.bin": OLD[b"a.bin"], b"c.bin": random.Random(3).randbytes(5_000)}
EFFECTS = 46
"""More than an upload has; beyond its last effect a case is the same as one without a stall, and cheap."""


def from_call(number):
    """The reply to this call is lost, and from the next on nothing gets through: as if the process had died."""
    calls = itertools.count(1)

    def plan(call):
        now = next(calls)
        return lose_reply() if now == number else refuse() if now > number else None

    return plan


async def upload(writer, name, txn="the-job", files=NEW, **spec):
    """Upload as the engine does: what the remote may mend is tried again, as the same job."""
    for _ in range(5):
        with suppress(RemoteUnavailable):
            return await writer.upload(files, name, txn=txn, **spec)
    raise AssertionError("it does not end")


async def check(store, state, out, name, number, files=NEW):
    async with fresh(store, state) as reader:
        history = await reader.repository.history(ArtifactKey("p", name))
        assert [v.number for v in history.versions if not v.deleted] == [number]
        assert await readable(reader, out, number, name) == files


async def nothing_left_over(store, state):
    """Two more collections, for what the first rewrites, leave only what is needed."""
    async with fresh(store, state) as node:
        for _ in range(3):
            await collect(node)
        last = await collect(node)
        assert (last.freed_bytes, last.totals.needed_packs) == (0, last.totals.packs)


@pytest.mark.parametrize("name", ["data", "new"])
@pytest.mark.parametrize("bait", ["deleted before", "deleted meanwhile"])
async def test_a_writer_stalled_at_any_effect_while_a_whole_collection_runs(tmp_path, name, bait):
    counts = set()
    for at in range(1, EFFECTS):
        for after in (False, True):
            inner = MemoryStore()
            base = tmp_path / f"{at}-{after}"
            async with fresh(Stalled(inner), base / "one") as writer, fresh(inner, base / "two") as other:
                await writer.upload(OLD)
                if bait == "deleted before":
                    await add(other, Delete, version=0)

                async def meanwhile(other=other):
                    if bait == "deleted meanwhile":
                        await add(other, Delete, version=0)
                    await collect(other)

                writer.store.begin(at, meanwhile, after)
                result = await upload(writer, name)
                counts.add(writer.store.count)
                if writer.store.count < at:
                    break  # it has no such effect
                assert result.new_version
            await check(inner, base / "three", base / "out", name, result.version)
            if at % 7 == 0:
                await nothing_left_over(inner, base / "four")
                await check(inner, base / "five", base / "out", name, result.version)
    assert max(counts) < EFFECTS, "there are more effects than are tried"


@pytest.mark.parametrize("name", ["data", "new"])
async def test_a_writer_that_dies_at_any_effect_and_comes_back_after_a_collection(tmp_path, name):
    died = 0
    for at in range(1, EFFECTS):
        inner = MemoryStore()
        base = tmp_path / str(at)
        async with fresh(inner, base / "two") as other:
            async with fresh(inner, base / "one") as writer:
                await writer.upload(OLD)
            async with fresh(FlakyStore(inner), base / "one") as writer:
                writer.store.plan = from_call(at)
                try:
                    await writer.upload(NEW, name, txn="the-job")
                except RemoteUnavailable:
                    died += 1
            await add(other, Delete, version=0)
            await collect(other)
            async with fresh(inner, base / "one") as writer:
                result = await writer.upload(NEW, name, txn="the-job")
        await check(inner, base / "three", base / "out", name, result.version)
    assert died > 12


async def test_the_last_rank_of_a_group_stalled_at_any_effect(tmp_path):
    """The other rank's part is all that keeps its bytes; the last one merges what it refers to."""
    bait = {b"r1/old": OLD[b"b.bin"]}
    mine = bait | {b"r1/new": NEW[b"c.bin"]}
    theirs = {b"r0/x": random.Random(5).randbytes(6_000)}
    ended = False
    for at in range(1, 2 * EFFECTS):
        inner = MemoryStore()
        base = tmp_path / str(at)
        async with fresh(Stalled(inner), base / "one") as last, fresh(inner, base / "two") as other:
            await last.upload(bait)
            group = {"group": "g", "world_size": 2}
            await other.upload(theirs, "grouped", txn="rank-0", rank=0, **group)

            async def meanwhile(other=other):
                await add(other, Delete, version=0)
                await collect(other)

            last.store.begin(at, meanwhile)
            result = await upload(last, "grouped", files=mine, rank=1, **group)
            if last.store.count < at:
                ended = True
                break
        await check(inner, base / "three", base / "out", "grouped", result.version, theirs | mine)
    assert ended, "there are more effects than are tried"


async def test_an_upload_beside_one_collection_after_the_other_ends(tmp_path):
    """Whenever the writer is about to append, another epoch begins; it gives way, and ends when they do."""
    inner = MemoryStore()
    async with fresh(Stalled(inner), tmp_path / "one") as writer, fresh(inner, tmp_path / "two") as other:
        await writer.upload(OLD)
        await add(other, Delete, version=0)
        rounds = 0

        async def meanwhile():
            nonlocal rounds
            rounds += 1
            await collect(other)
            if rounds < 5:
                writer.store.begin(writer.store.count and 8, meanwhile)

        writer.store.begin(8, meanwhile)
        result = await upload(writer, "data")
        assert rounds == 5
    await check(inner, tmp_path / "three", tmp_path / "out", "data", result.version)
    assert len(await keys_of(inner, "gc/")) >= 4
