"""What nobody needs goes; whatever anybody needs stays, at the worst moment: no age protects anything here."""

import random

import pytest

from syncd.errors import Corrupt, RemoteRefused
from syncd.format.epoch import WorkInProgress, encode_wip
from syncd.format.keys import parse_pack, wip_key
from syncd.format.log import Create, Delete, Keep, Link, Part, Register, Undelete
from syncd.model.names import ArtifactKey
from syncd.store.memory import MemoryStore
from tests.kit.collect_kit import AT_ONCE, add, collect, collector, content, fresh, keys_of, readable
from tests.kit.repo_kit import InstantClock
from tests.kit.stores import FlakyStore, Recording, flip_bit, on, refuse


def noise(seed, size=40_000):
    return random.Random(seed).randbytes(size)


A = {b"a.bin": noise(1), b"small": b"x"}
B = {b"b.bin": noise(2), b"small": b"x"}


@pytest.fixture
def time():
    """The store's own clock."""
    return InstantClock()


@pytest.fixture
async def at(tmp_path, time):
    async with fresh(MemoryStore(time), tmp_path / "one") as node:
        yield node


async def packs(node):
    return await keys_of(node.store, "packs/")


async def test_a_deleted_version_loses_its_bytes_and_others_keep_theirs(at, tmp_path):
    await at.upload(A)
    await at.upload(B)
    before = await packs(at)
    await add(at, Delete, version=0)
    done = await collect(at)
    assert done.freed_bytes > 30_000
    assert len(set(before) - set(await packs(at))) >= 3
    assert await readable(at, tmp_path / "out", 1) == B
    with pytest.raises(Corrupt):
        await at.repository.manifests.read((await at.history()).versions[0])
    assert 0 < (await collect(at)).freed_bytes < 10_000  # the pack that held both small files, rewritten above
    assert (await collect(at)).freed_bytes == 0


async def test_what_went_comes_back_under_other_names(at, tmp_path):
    await at.upload(A, txn="first")
    names = set(await packs(at))
    await add(at, Delete, version=0)
    await collect(at)
    result = await at.upload(A, txn="second")
    assert result.bytes_stored > 30_000
    assert not names & set(await packs(at))
    assert await readable(at, tmp_path / "out", 1) == A


async def test_a_dry_run_deletes_and_writes_nothing(at):
    await at.upload(A)
    await add(at, Delete, version=0)
    before = [info async for info in at.store.list("")]
    totals = await collector(at).plan(AT_ONCE)
    assert totals.now_bytes > 30_000 and totals.later_bytes == 0
    assert [info async for info in at.store.list("")] == before


async def test_what_is_young_or_in_its_grace_stays(at, time):
    await at.upload(A)
    await add(at, Delete, version=0)
    before = await packs(at)
    young = await collect(at, min_age=100.0)
    assert (young.freed_bytes, young.epoch) == (0, 0) and young.totals.young_bytes > 30_000
    time.advance(200)
    condemned = await collect(at, min_age=100.0, grace=50.0)
    assert (condemned.freed_bytes, condemned.epoch) == (0, 1) and condemned.totals.later_bytes > 30_000
    assert await packs(at) == before
    time.advance(49)
    assert (await collect(at, min_age=100.0, grace=50.0)).freed_bytes == 0
    time.advance(2)
    assert (await collect(at, min_age=100.0, grace=50.0)).freed_bytes > 30_000
    assert await packs(at) == []


async def test_a_version_under_keep_stays_though_it_is_deleted(at, tmp_path):
    await at.upload(A)
    await at.upload(B)
    await add(at, Keep, version=0, on=True)
    await add(at, Delete, version=0)
    await collect(at)
    await add(at, Undelete, version=0, gc_seen=at.repository.epochs.newest)
    assert await readable(at, tmp_path / "out", 0) == A
    await add(at, Delete, version=0)
    await add(at, Keep, version=0, on=False)
    assert (await collect(at)).freed_bytes > 30_000


async def test_a_link_keeps_what_its_source_has_lost(at, tmp_path):
    await at.upload(A)
    other = ArtifactKey("p", "other")
    version = (await at.history()).versions[0]
    await at.repository.registry().append(
        "reg", lambda _, prev: Register(txn="reg", prev=prev, project="p", name="other", type="dataset")
    )
    await add(at, Create, other, type="dataset")
    source = {"source_project": "p", "source_name": "data", "source_version": 0}
    await add(at, Link, other, **content(version, 2), **source)
    await add(at, Delete, version=0)
    await collect(at)
    assert await readable(at, tmp_path / "out", 0, "other") == A


async def test_the_parts_of_an_open_group_stay(at, tmp_path):
    await at.upload(B)
    await at.upload(A)
    version = (await at.history()).versions[1]
    await add(at, Part, **content(version, 2), group="g", index=0, of=2)
    await add(at, Delete, version=1)
    await collect(at)
    manifest = await at.repository.manifests.open(version.manifest, version.manifest_hash, version.digest)
    assert [entry.path async for entry in at.repository.manifests.entries(manifest)] == sorted(A)
    assert set(await packs(at))


async def test_packs_in_an_uploads_list_stay_until_it_is_old_or_has_ended(at, time):
    await at.upload(A, txn="gone")
    await add(at, Delete, version=0)
    names = [parse_pack(key) for key in await packs(at)]
    await at.store.put(wip_key("going-on", 0), [encode_wip(WorkInProgress(txn="going-on", packs=tuple(names)))])
    await at.store.put(wip_key("gone", 0), [encode_wip(WorkInProgress(txn="gone", packs=tuple(names)))])
    kept = await collect(at, wip_ttl=100.0)
    assert kept.totals.in_use_bytes > 30_000
    assert {parse_pack(key) for key in await packs(at)} == set(names)
    assert await keys_of(at.store, "wip/") == [wip_key("going-on", 0)]
    time.advance(101)
    assert (await collect(at, wip_ttl=100.0)).freed_bytes > 30_000
    assert await keys_of(at.store, "wip/") == []


async def test_what_cannot_be_read_stops_it_and_is_named(at):
    await at.upload(A)
    await at.upload(B)
    await add(at, Delete, version=0)
    before = await packs(at)
    broken = (await at.history()).versions[1].manifest
    at.store._objects[broken] = (b"rubbish", 0.0)
    with pytest.raises(Corrupt, match="p/data:v1") as stopped:
        await collect(at)
    assert "nothing is deleted" in stopped.value.why and "syncctl rm" in stopped.value.hint
    assert await packs(at) == before
    await add(at, Delete, version=1)
    assert (await collect(at)).freed_bytes > 30_000


async def test_a_damaged_log_stops_it(tmp_path):
    inner = MemoryStore()
    async with fresh(inner, tmp_path / "one") as node:
        await node.upload(A)
        await add(node, Delete, version=0)
    flaky = FlakyStore(inner, on("get", "a/p/data/log/", flip_bit(100)))
    async with fresh(flaky, tmp_path / "two") as node:
        with pytest.raises(Corrupt):
            await collect(node)
    assert await keys_of(inner, "packs/")


@pytest.mark.parametrize("right", ["delete", "list"])
async def test_a_remote_that_does_not_let_us_delete_or_list_is_refused_before_anything_is_written(tmp_path, right):
    inner = MemoryStore()
    store = Recording(FlakyStore(inner, on(right, "", refuse(RemoteRefused(f"no right to {right}")))))
    async with fresh(store, tmp_path / "one") as node:
        await node.upload(A)
        await add(node, Delete, version=0)
        with pytest.raises(RemoteRefused):
            await collect(node)
    assert not await keys_of(inner, "gc/")
    assert await keys_of(inner, "packs/")


async def test_uploads_neither_list_nor_delete(tmp_path):
    store = Recording(MemoryStore())
    async with fresh(store, tmp_path / "one") as node, fresh(store, tmp_path / "two") as other:
        await node.upload(A)
        await add(node, Delete, version=0)
        await collect(node)
        store.calls.clear()
        await other.upload(A)
        assert not [call for call in store.calls if call.op in ("list", "delete")]
