"""Packs of which little is needed are emptied; the versions that needed it stay what they were."""

import asyncio
import random
from contextlib import suppress

import pytest

from syncd.errors import RemoteUnavailable
from syncd.format.log import Delete, Rebase
from syncd.store.memory import MemoryStore
from syncd.upload.parts import UploadParams
from tests.kit.collect_kit import add, collect, fresh, keys_of, readable
from tests.kit.stores import FlakyStore, nth, refuse

BIG = UploadParams(window=8 << 10, pack_target=1 << 20, sends=3)
SMALL = random.Random(1).randbytes(5_000)
OLD = {b"big": random.Random(2).randbytes(90_000), b"small": SMALL}
NEW = {b"other": random.Random(3).randbytes(20_000), b"small": SMALL}


@pytest.fixture
async def at(tmp_path):
    async with fresh(MemoryStore(), tmp_path / "one") as node:
        node.params = BIG
        await node.upload(OLD)
        await node.upload(NEW)
        await node.upload(NEW | {b"third": b"3"})
        await add(node, Delete, version=0)
        yield node


async def size(store):
    return sum([info.size async for info in store.list("packs/")])


async def test_a_pack_of_which_little_is_needed_is_rewritten_and_goes(at, tmp_path):
    digests = [version.digest for version in (await at.history()).versions]
    done = await collect(at)
    assert done.rewritten_versions == 2 and 5_000 < done.rewritten_bytes < 10_000
    assert done.totals.sparse_packs == 1
    await collect(at)
    assert await size(at.store) < 35_000
    async with fresh(at.store, tmp_path / "two") as other:
        assert await readable(other, tmp_path / "out", 1) == NEW
        assert await readable(other, tmp_path / "out", 2) == NEW | {b"third": b"3"}
        assert [version.digest for version in (await other.history()).versions] == digests
    last = await collect(at)
    assert (last.freed_bytes, last.rewritten_bytes) == (0, 0)


async def test_a_rewrite_that_was_cut_short_is_done_again_and_leaves_nothing(at, tmp_path):
    inner = at.store
    for number in range(1, 12):
        async with fresh(FlakyStore(inner, nth("put", number, refuse())), tmp_path / f"n{number}") as node:
            with suppress(RemoteUnavailable):
                await collect(node)
    for _ in range(4):
        await collect(at)
    assert await size(inner) < 35_000
    assert len(await keys_of(inner, "manifests/")) == 2
    async with fresh(inner, tmp_path / "two") as other:
        assert await readable(other, tmp_path / "out", 1) == NEW
        assert await readable(other, tmp_path / "out", 2) == NEW | {b"third": b"3"}


async def test_two_that_rewrite_at_once_write_one_entry_a_version(at, tmp_path):
    async with fresh(at.store, tmp_path / "two") as other:
        await asyncio.gather(collect(at), collect(other))
        await collect(at)
        slots = await other.repository.artifact_log((await other.history()).key).refresh()
        txns = [slot.entry.txn for slot in slots if isinstance(slot.entry, Rebase)]
        assert len(txns) == len(set(txns)) >= 2
        assert await readable(other, tmp_path / "out", 1) == NEW
