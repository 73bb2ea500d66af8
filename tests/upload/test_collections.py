"""What an upload does about collections: the lists of packs it needs, and two uploads of one node that see apart."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from syncd.errors import RemoteUnavailable
from syncd.format.epoch import decode_wip
from syncd.format.keys import parse_pack, parse_wip
from syncd.format.log import Create, Delete, Fence
from syncd.journal.packs import settled_epoch
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from syncd.upload.wip import PACKS_A_TURN, PacksInUse
from tests.kit.collect_kit import add, collect, fresh, keys_of, readable
from tests.kit.flow_kit import Count, Source, upload_job
from tests.kit.stores import FlakyStore, Recording, on, refuse

FILES = {b"a": random.Random(1).randbytes(40_000)}


async def listed(store, txn):
    packs = set()
    for key in await keys_of(store, "wip/"):
        assert parse_wip(key) == txn
        packs.update(decode_wip(await store.get(key), txn).packs)
    return packs


async def test_a_short_upload_writes_no_list(tmp_path):
    async with fresh(MemoryStore(), tmp_path / "one") as node:
        await node.upload(FILES)
        assert not await keys_of(node.store, "wip/")


async def test_a_long_upload_writes_its_packs_down_now_and_then(tmp_path):
    async with fresh(MemoryStore(), tmp_path / "one") as node:
        big = {b"big": random.Random(2).randbytes((PACKS_A_TURN + 8) * (17 << 10))}
        await node.upload(big, txn="long")
        packs = await listed(node.store, "long")
        assert len(packs) >= PACKS_A_TURN
        assert packs <= {parse_pack(key) for key in await keys_of(node.store, "packs/")}


async def test_a_second_life_writes_down_what_the_first_has_stored(tmp_path):
    inner = MemoryStore()
    async with fresh(FlakyStore(inner, on("put", "manifests/", refuse())), tmp_path / "one") as node:
        with pytest.raises(RemoteUnavailable):
            await node.upload(FILES, txn="twice")
    stored = {parse_pack(key) for key in await keys_of(inner, "packs/")}
    async with fresh(inner, tmp_path / "one") as node:
        await node.upload(FILES, txn="twice")
    assert await listed(inner, "twice") and await listed(inner, "twice") <= stored


async def test_lists_that_cannot_be_written_hold_nothing_up(tmp_path):
    store = Recording(FlakyStore(MemoryStore(), on("put", "wip/", refuse())))
    in_use = PacksInUse(store, "t", lambda: {b"r" * 32})
    for number in range(2 * PACKS_A_TURN):
        await in_use.add(number.to_bytes(32, "big"))
    assert len(store.calls) >= 2


async def test_the_epoch_that_was_seen_stands_in_the_entry_and_in_the_names(tmp_path):
    async with fresh(MemoryStore(), tmp_path / "one") as node:
        await node.upload(FILES)
        await add(node, Delete, version=0)
        await collect(node)
        await node.upload(FILES, txn="later")
        await node.upload(FILES, "new", txn="new")
        slots = await node.repository.artifact_log(ArtifactKey("p", "data")).refresh()
        assert slots[-1].entry.gc_seen == 1 and ".later-e1-" in slots[-1].entry.manifest
        first = (await node.repository.artifact_log(ArtifactKey("p", "new")).refresh())[0].entry
        assert isinstance(first, Create) and first.gc_seen == 1
        assert await settled_epoch(node.journal, node.repository.id) == 1


async def test_a_fence_whose_epoch_cannot_be_read_is_waited_for(tmp_path):
    async with fresh(MemoryStore(), tmp_path / "one") as node:
        await node.upload(FILES)
        await add(node, Fence, epoch=1)
        with pytest.raises(RemoteUnavailable, match="epoch 1"):
            await node.upload({b"b": b"2"})


@pytest.mark.parametrize("held", range(1, 6))
async def test_uploads_of_one_node_that_have_seen_other_epochs_do_not_mislead_each_other(tmp_path, held):
    """One stalls behind a put, having seen nothing; meanwhile another has seen what condemns its packs."""
    inner = MemoryStore()
    count = 0
    going = asyncio.Event()
    stalled = asyncio.Event()

    class Gate(Recording):
        async def _wait(self):
            nonlocal count
            count += 1
            if count == held and not going.is_set():
                stalled.set()
                await going.wait()

        async def put(self, key, parts):
            await super().put(key, parts)
            await self._wait()

    async def insist(node, files, name, txn):
        for _ in range(6):
            try:
                return await node.upload(files, name, txn=txn)
            except RemoteUnavailable:
                continue
        raise AssertionError("it does not end")

    async with fresh(inner, tmp_path / "other") as other:
        await other.upload(FILES)
        async with fresh(Gate(inner), tmp_path / "one") as node:
            slow = asyncio.ensure_future(insist(node, FILES | {b"s": b"s" * 9_000}, "slow", "slow"))
            waiting = asyncio.ensure_future(stalled.wait())
            await asyncio.wait([slow, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            await add(other, Delete, version=0)
            await collect(other)
            quick = await insist(node, {b"q": b"q" * 9_000}, "quick", "quick")
            going.set()
            await slow
            # and who comes last, having seen the epoch, finds in the journal only what is there
            third = await insist(node, FILES | {b"t": b"t" * 9_000, b"s": b"s" * 9_000}, "third", "third")
        await collect(other)
        assert await readable(other, tmp_path / "out", quick.version, "quick") == {b"q": b"q" * 9_000}
        whole = FILES | {b"t": b"t" * 9_000, b"s": b"s" * 9_000}
        assert await readable(other, tmp_path / "out", third.version, "third") == whole
        assert await readable(other, tmp_path / "out", 0, "slow") == FILES | {b"s": b"s" * 9_000}


async def test_a_commit_that_had_to_wait_writes_down_what_is_stored(tmp_path):
    inner = MemoryStore()
    flaky = FlakyStore(inner, on("create", "a/", refuse()))
    async with fresh(flaky, tmp_path / "one") as node:
        job = upload_job("waits", files=1)
        uploads = node.uploads(Source(FILES))
        await uploads.store(job, job.spec, Count())
        with pytest.raises(RemoteUnavailable):
            await uploads.commit(job, job.spec, Count())
        assert not await keys_of(inner, "wip/")
        with pytest.raises(RemoteUnavailable):
            await uploads.commit(replace(job, attempt=1), job.spec, Count())
        stored = {parse_pack(key) for key in await keys_of(inner, "packs/")}
        assert await listed(inner, "waits") == stored
