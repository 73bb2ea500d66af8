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
from tests.kit.stores import FlakyStore, Recording, on, refuse

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


class AfterTheRegistry(Recording):
    """Does something else once its caller has put an entry into the registry's log."""

    meanwhile = None

    async def create(self, key, data):
        await super().create(key, data)
        if key.startswith("reg/log") and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()


async def test_slot_0_from_a_stalled_collection_lets_in_nobody_whom_a_later_one_did_not_see(tmp_path):
    """It has fenced the registry and stalls; a later one goes by; then the artifact is registered, by who has seen."""
    inner = MemoryStore()
    early, late = FlakyStore(inner), FlakyStore(inner)
    async with (
        fresh(AfterTheRegistry(inner), tmp_path / "a") as stalled,
        fresh(inner, tmp_path / "b") as other,
        fresh(early, tmp_path / "c") as first,
        fresh(late, tmp_path / "d") as second,
    ):
        await other.upload(OLD)
        await add(other, Delete, version=0)

        async def meanwhile():
            early.plan = on("create", "reg/log/", refuse())  # everything is stored, having seen epoch 1
            with pytest.raises(RemoteUnavailable):
                await first.upload(NEW, "new", txn="first")
            await collect(other)  # epoch 2 condemns that and deletes it
            late.plan = on("create", "a/p/new/log/", refuse())  # registered, having seen epoch 2; no slot 0
            with pytest.raises(RemoteUnavailable):
                await second.upload(OLD, "new", txn="second")

        stalled.store.meanwhile = meanwhile
        await collect(stalled)
        early.plan = late.plan = lambda call: None
        result = await first.upload(NEW, "new", txn="first")
        await check(inner, tmp_path / "e", tmp_path / "out", "new", result.version)


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
