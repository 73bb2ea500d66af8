"""A collection that stalls at any effect while others write, delete and collect deletes nothing that is needed.

The same for one that dies there: the next one ends what it began, and the garbage goes all the same.
"""

import asyncio
import random

import pytest

from syncd.errors import RemoteUnavailable
from syncd.format.log import Delete
from syncd.store.memory import MemoryStore
from tests.collect.test_stalled_writers import NEW, OLD, check, from_call, nothing_left_over, upload
from tests.kit.collect_kit import Stalled, add, collect, fresh, keys_of, readable
from tests.kit.stores import FlakyStore

EFFECTS = 70


async def test_a_collection_stalled_at_any_effect_while_others_upload_delete_and_collect(tmp_path):
    counts = []
    for at in range(1, EFFECTS):
        inner = MemoryStore()
        base = tmp_path / str(at)
        async with (
            fresh(inner, base / "one") as writer,
            fresh(inner, base / "two") as other,
            fresh(Stalled(inner), base / "three") as stalled,
        ):
            await writer.upload(OLD)
            await writer.upload({b"gone": random.Random(7).randbytes(3000)}, "other")
            await add(other, Delete, version=0)

            async def meanwhile(writer=writer, other=other):
                await upload(writer, "data")
                await collect(other)
                await upload(writer, "new", "another-job")

            stalled.store.begin(at, meanwhile)
            await collect(stalled)
            counts.append(stalled.store.count)
            if stalled.store.count < at:
                break
        await check(inner, base / "four", base / "out", "data", 1)
        await check(inner, base / "four", base / "out", "new", 0)
        if at % 5 == 0:
            await nothing_left_over(inner, base / "five")
            await check(inner, base / "six", base / "out", "data", 1)
    assert len(counts) < EFFECTS - 1, "there are more effects than are tried"


async def test_a_collection_that_dies_at_any_effect_is_ended_by_the_next(tmp_path):
    died = 0
    for at in range(1, EFFECTS):
        inner = MemoryStore()
        base = tmp_path / str(at)
        async with fresh(inner, base / "one") as writer, fresh(FlakyStore(inner), base / "two") as dying:
            await writer.upload(OLD)
            await writer.upload(NEW)
            await add(writer, Delete, version=0)
            dying.store.plan = from_call(at)
            try:
                await collect(dying)
            except RemoteUnavailable:
                died += 1
            else:
                break
            await writer.upload(OLD, "other", txn="beside")
        await nothing_left_over(inner, base / "three")
        epochs = await keys_of(inner, "gc/")
        assert len([key for key in epochs if key.endswith(".done")]) * 2 == len(epochs), "an epoch has no end"
        await check(inner, base / "four", base / "out", "data", 1)
        await check(inner, base / "four", base / "out", "other", 0, OLD)
    assert died > 20


@pytest.mark.parametrize("seed", range(8))
async def test_collections_at_once_beside_writers_delete_what_nobody_needs_and_nothing_else(tmp_path, seed):
    rng = random.Random(seed)
    inner = MemoryStore()
    pieces = [rng.randbytes(3_000) for _ in range(6)]
    nodes = []
    async with (
        fresh(inner, tmp_path / "a") as a,
        fresh(inner, tmp_path / "b") as b,
        fresh(inner, tmp_path / "c") as c,
    ):
        nodes = [a, b, c]
        promised = {}

        async def write(node, number):
            for turn in range(4):
                name = rng.choice(["data", "more"])
                files = {b"%d" % i: piece for i, piece in enumerate(pieces) if rng.random() < 0.6}
                files[b"own"] = b"%d %d" % (number, turn)
                result = await insist(node, files, name, f"job-{number}-{turn}")
                promised[name, result.version] = files
                if rng.random() < 0.5:
                    gone = rng.choice([key for key in promised if promised[key] is not None])
                    promised[gone] = None
                    await add(node, Delete, (await node.history(gone[0])).key, version=gone[1])

        async def sweep(node):
            for _ in range(4):
                await collect(node)

        await asyncio.gather(*(write(node, n) for n, node in enumerate(nodes)), sweep(a), sweep(b), sweep(c))
    await nothing_left_over(inner, tmp_path / "d")
    async with fresh(inner, tmp_path / "e") as reader:
        for (name, version), files in promised.items():
            if files is not None:
                assert await readable(reader, tmp_path / "out", version, name) == files


async def insist(node, files, name, txn):
    for _ in range(9):
        try:
            return await node.upload(files, name, txn=txn)
        except RemoteUnavailable:
            continue
    raise AssertionError("it does not end")
