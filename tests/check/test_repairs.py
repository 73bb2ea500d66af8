"""Repairs that die at every effect, writers that stall while packs are quarantined, sources that are used."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from syncd.errors import RemoteUnavailable
from syncd.format.keys import pack_key
from syncd.format.log import Delete
from syncd.format.pack import parse_tail
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from tests.kit.check_kit import MENDING, change, file_packs, fsck, rot
from tests.kit.collect_kit import Stalled, add, collect, fresh, keys_of, readable
from tests.kit.stores import FlakyStore, lose_reply, refuse

FILES = {f"f{number}".encode(): random.Random(number).randbytes(7_000) for number in range(6)}
NEW = {**FILES, b"more": random.Random(99).randbytes(3_000)}
WRITES = 14
"""More than a repair of this damage makes."""


async def damaged(tmp_path, with_a_copy=True):
    """Two artifacts of the same files in packs of their own; the first one's packs rot."""
    store = MemoryStore()
    async with fresh(store, tmp_path / "one") as one:
        await one.upload(FILES, "data")
    mine = file_packs(store)
    if with_a_copy:
        async with fresh(store, tmp_path / "two") as two:
            await two.upload(FILES, "copy")
    for pack in mine:
        change(store, pack_key(pack), rot)
    return store, mine


def dies_at(number, after):
    """From the n-th write on nothing gets through; `after`: the n-th itself takes effect, its answer is lost."""
    writes = 0

    def plan(call):
        nonlocal writes
        writes += call.op in ("put", "create")
        if writes < number:
            return None
        return lose_reply() if after and writes == number and call.op in ("put", "create") else refuse()

    return plan


@pytest.mark.parametrize("after", [False, True])
async def test_a_repair_that_dies_at_any_write_is_finished_by_the_next_one(tmp_path, after):
    died = 0
    for number in range(1, WRITES):
        base = tmp_path / str(number)
        base.mkdir()
        store, mine = await damaged(base)
        async with fresh(FlakyStore(store), base / "three") as three:
            await three.repository.registered()
            three.store.plan = dies_at(number, after)
            with suppress(RemoteUnavailable):
                await fsck(three, MENDING)
                break
            died += 1
        async with fresh(store, base / "four") as four:
            report = await fsck(four, MENDING)
            assert report.sound, report.findings
            assert (await fsck(four, MENDING)).findings == []
            assert await readable(four, base / "out", 0) == FILES
            version = (await four.history()).versions[0]
            manifest = await four.repository.manifests.read(version)
            used = {ref.pack for ref in manifest.pages}
            async for page in four.repository.manifests.pages(manifest):
                used.update(page.packs)
            assert not used & mine
    assert 6 < died < WRITES - 1, died


@pytest.mark.parametrize("after", [False, True])
async def test_a_writer_stalled_while_its_packs_are_quarantined_does_not_refer_to_them(tmp_path, after):
    for at in range(1, 40):
        store = MemoryStore()
        base = tmp_path / f"{at}"
        async with fresh(Stalled(store), base / "one") as writer, fresh(store, base / "two") as other:
            await writer.upload(FILES, "old")
            bad = file_packs(store)

            async def meanwhile(other=other, bad=bad, store=store):
                for pack in bad:
                    change(store, pack_key(pack), rot)
                report = await fsck(other, MENDING)
                assert not report.sound

            writer.store.begin(at, meanwhile, after)
            for _ in range(5):
                with suppress(RemoteUnavailable):
                    await writer.upload(NEW, "new", txn="the-job")
                    break
            if writer.store.count < at:
                break
        async with fresh(store, base / "three") as reader:
            history = await reader.repository.history(ArtifactKey("p", "new"))
            if history.fence and _commit_slot(reader) < _fence_slot(reader):
                continue  # it was committed before: the repair has seen it
            assert await readable(reader, base / "out", 0, "new") == NEW
    else:
        raise AssertionError("there are more effects than are tried")


def _commit_slot(reader):
    slots = reader.repository.artifact_log(ArtifactKey("p", "new")).slots
    return next(slot.number for slot in slots if slot.entry.txn == "the-job")


def _fence_slot(reader):
    slots = reader.repository.artifact_log(ArtifactKey("p", "new")).slots
    return next((slot.number for slot in slots if slot.entry.txn.startswith("gc-")), 0)


async def test_collection_leaves_quarantined_packs_alone_and_a_repair_later_needs_them_no_more(tmp_path):
    store, mine = await damaged(tmp_path, with_a_copy=False)
    async with fresh(store, tmp_path / "three") as three:
        assert not (await fsck(three, MENDING)).sound
        await collect(three)
        assert {pack_key(pack) for pack in mine} <= set(await keys_of(store, "packs/"))
        await three.upload(FILES, "again")  # stored once more: not a chunk of it is where it was
        assert await readable(three, tmp_path / "out", 0, "again") == FILES
        assert (await fsck(three, MENDING)).sound
        assert await readable(three, tmp_path / "out", 0) == FILES


@pytest.mark.parametrize("condemned", [False, True])
async def test_a_lost_manifest_is_found_in_another_of_the_same_content(tmp_path, condemned):
    store = MemoryStore()
    async with fresh(store, tmp_path / "one") as one:
        await one.upload(FILES, "data")
    (mine,) = await keys_of(store, "manifests/")
    async with fresh(store, tmp_path / "two") as two:
        await two.upload(FILES, "copy")
        if condemned:  # that other one, and its packs, may be deleted at any time
            await add(two, Delete, ArtifactKey("p", "copy"), version=0)
            await collect(two, grace=1e9)
            assert two.repository.epochs.unusable()
    await store.delete(mine)
    async with fresh(store, tmp_path / "three") as three:
        report = await fsck(three, MENDING)
        assert report.sound, report.findings
        if condemned:
            await collect(three)
            assert len(await keys_of(store, "manifests/")) == 1
    async with fresh(store, tmp_path / "four") as four:
        assert await readable(four, tmp_path / "out", 0) == FILES


@pytest.mark.parametrize("damage", ["gone", "rotten"])
async def test_chunks_that_only_a_damaged_mirror_has_are_taken_from_there(tmp_path, damage):
    store = MemoryStore()
    async with fresh(store, tmp_path / "one") as one:
        await one.upload(FILES)
    mirror = MemoryStore()
    for key in await keys_of(store, ""):
        await mirror.put(key, [await store.get(key)])
    packs = sorted(file_packs(store))
    for pack in packs:
        if damage == "gone":
            await store.delete(pack_key(pack))
        else:
            change(store, pack_key(pack), rot)
    whole = await mirror.get(pack_key(packs[0]))
    at = parse_tail(whole, packs[0], len(whole))[3].offset  # another chunk than the one that is rotten here
    change(mirror, pack_key(packs[0]), lambda data: data.__setitem__(at, data[at] ^ 1))
    async with fresh(store, tmp_path / "two") as two:
        report = await fsck(two, MENDING, mirror)
        if damage == "rotten":
            assert report.sound, report.findings
            assert await readable(two, tmp_path / "out", 0) == FILES
        else:
            assert len([finding for finding in report.findings if not finding.mended]) == 1


async def test_a_chunk_of_a_mirror_is_verified_before_it_is_stored(tmp_path):
    store = MemoryStore()
    async with fresh(store, tmp_path / "one") as one:
        await one.upload(FILES)
    mirror = MemoryStore()
    for key in await keys_of(store, ""):
        await mirror.put(key, [await store.get(key)])
    for pack in file_packs(store):
        change(store, pack_key(pack), rot)
        change(mirror, pack_key(pack), rot)
    async with fresh(store, tmp_path / "two") as two:
        report = await fsck(two, MENDING, mirror)
        assert report.damaged == {"p/data:v0": "f0: a chunk of it is nowhere to be had"}


async def test_a_node_remembers_what_is_quarantined_over_its_lives(tmp_path):
    store, _ = await damaged(tmp_path, with_a_copy=False)
    async with fresh(store, tmp_path / "three") as three:
        assert not (await fsck(three, MENDING)).sound
    async with fresh(store, tmp_path / "four") as four:
        await four.upload({b"other": b"bytes"}, "other")  # it reads the epoch, and notes that it has ended
    async with fresh(store, tmp_path / "four") as four:
        await four.upload(NEW)  # the newest version, whose chunks it learns, refers to the damaged packs
        assert await readable(four, tmp_path / "out", 1) == NEW
