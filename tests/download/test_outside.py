"""What lies in the way, and what leads elsewhere: nothing is ever written outside of the target."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from syncd.disk import Disk
from syncd.download.run import discard
from syncd.errors import Conflict, Corrupt, Refused, SyncdError
from syncd.format import codec, seal
from syncd.format.digest import hash_bytes
from syncd.format.keys import pack_key, slot_key
from syncd.format.log import decode_entry, encode_entry
from syncd.format.manifest import PAGE_MAGIC, decode_manifest, manifest_hash
from syncd.format.pack import PackBuilder
from syncd.store.memory import MemoryStore
from tests.kit.download_kit import FILES, UNPACKED, on_flaky
from tests.kit.flow_kit import Files, Node, node, tree
from tests.kit.stores import FlakyStore


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (b"x", "/etc/passwd"), (b"x", ".."), (b"x", "../x"), (b"d/x", "../../x"), (b"x", "d/../../x"),
        (b"x", "./../x"), (b"x", "d/up/.."),
    ],
)  # fmt: skip
async def test_a_link_that_leads_out_is_refused_before_a_byte_is_written(
    tmp_path: Path, store: MemoryStore, name: bytes, target: str
) -> None:
    async with node(tmp_path / "one", store) as one:
        await one.upload({b"a": b"1", b"d/up": "..", name: target})
        with pytest.raises(Refused, match="outside of the artifact"):
            await one.download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


async def test_links_that_stay_inside_are_restored(tmp_path: Path, store: MemoryStore) -> None:
    files: Files = {b"a/b/l": "../../c", b"c": b"1", b"l2": "a/../c", b"l3": "nowhere", b"a/l4": "./b/l"}
    async with node(tmp_path / "one", store) as one:
        await one.upload(files)
        await one.download(tmp_path / "out")
    assert tree(tmp_path / "out") == files


async def test_a_link_in_the_target_is_never_followed(one: Node, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "d").symlink_to(elsewhere)
    with pytest.raises(Conflict, match="no directory"):
        await one.download(root)
    assert list(elsewhere.iterdir()) == []


async def test_a_link_where_a_file_must_be_is_replaced_not_written_through(one: Node, tmp_path: Path) -> None:
    root, victim = tmp_path / "out", tmp_path / "victim"
    root.mkdir()
    victim.write_bytes(b"precious")
    (root / "a.bin").symlink_to(victim)
    await one.download(root)
    assert victim.read_bytes() == b"precious"
    assert tree(root) == FILES


@pytest.mark.parametrize("swapped", ["d", ".syncd-job", "."])
async def test_a_directory_swapped_for_a_link_during_the_download_leads_nothing_away(
    one: Node, tmp_path: Path, swapped: str
) -> None:
    root, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "d").mkdir(parents=True)

    class Swapping(FlakyStore):
        async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
            path = root / swapped
            if key.startswith("packs/") and not path.is_symlink() and (root / ".syncd-job").exists():
                path.rename(tmp_path / "moved")
                path.symlink_to(elsewhere)
            return await super().get(key, offset, length)

    swapping = await on_flaky(one, Swapping(one.store))
    with suppress(SyncdError):
        await swapping.download(root)
    assert list(elsewhere.iterdir()) == []


async def test_a_link_for_a_work_directory_is_refused(one: Node, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / ".syncd-job").symlink_to(elsewhere)
    with pytest.raises(Conflict, match="in the way"):
        await one.download(root)
    assert list(elsewhere.iterdir()) == []


async def test_nothing_is_to_be_let_go_where_nothing_could_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for root in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "nowhere"):
        discard(Disk(), bytes(root), "j1")
    assert (tmp_path / "file").read_bytes() == b"x"


async def test_what_is_in_the_way_is_named_and_not_deleted(one: Node, tmp_path: Path) -> None:
    root = tmp_path / "out"
    (root / "a.bin" / "kept").mkdir(parents=True)
    with pytest.raises(Conflict, match=r"a\.bin: a directory is in the way"):
        await one.download(root)
    assert (root / "a.bin" / "kept").is_dir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "d").write_bytes(b"a file")
    with pytest.raises(Conflict, match="d, which is no directory, is in the way"):
        await one.download(other)
    assert (other / "d").read_bytes() == b"a file"


async def hostile(store: MemoryStore, change: Callable[[bytes], bytes]) -> None:
    """Rewrite the only page of version 0 as an attacker would who can make every hash above it fit."""
    log = "a/p/data/log"
    commit_key = slot_key(log, 1)
    commit: Any = decode_entry(await store.get(commit_key))
    manifest = decode_manifest(await store.get(commit.manifest), commit.manifest_hash)
    (ref,) = manifest.pages
    pack = await store.get(pack_key(ref.pack))
    start = pack.index(PAGE_MAGIC)  # stored as it is: nothing is compressed in these tests
    page = change(pack[start : start + ref.length])
    builder = PackBuilder(bytes(16))
    builder.add(hash_bytes(page), len(page), codec.RAW, page)
    sealed = builder.seal()
    await store.put(pack_key(sealed.pack), sealed.parts)
    changed = {name: getattr(ref, name) for name in ref.__struct_fields__}
    changed |= {"pack": sealed.pack, "frame": 0, "length": len(page), "hash": hash_bytes(page)}
    fields = {name: getattr(manifest, name) for name in manifest.__struct_fields__} | {"pages": (type(ref)(**changed),)}
    data = seal.seal(seal.magic(b"SYNCDMF"), seal.squeeze(seal.pack_value(type(manifest)(**fields))))
    await store.put(commit.manifest, [data])
    facts = {name: getattr(commit, name) for name in commit.__struct_fields__}
    facts |= {"manifest_hash": manifest_hash(data), "manifest_size": len(data)}
    await store.put(commit_key, [encode_entry(type(commit)(**facts))])


@pytest.mark.parametrize("path", [b"../evil", b"/etc/evil", b"a/../evil", b"a/./evil", b"a//evil", b"a\x00evil"])
async def test_a_path_that_leads_out_of_the_target_is_corrupt_and_nothing_is_written(
    tmp_path: Path, store: MemoryStore, path: bytes
) -> None:
    name = b"n" * len(path)
    async with node(tmp_path / "one", store) as one:
        one.params = UNPACKED
        await one.upload({name: b"payload"})
        await hostile(store, lambda page: page.replace(name, path))
        victim = await on_flaky(one, FlakyStore(store))
        with pytest.raises(Corrupt):
            await victim.download(tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()
    assert not list(tmp_path.glob("**/evil*"))


async def test_the_forger_of_these_tests_forges_well(tmp_path: Path, store: MemoryStore) -> None:
    """An innocent page forged the same way is believed: it was the path that was refused."""
    async with node(tmp_path / "one", store) as one:
        one.params = UNPACKED
        await one.upload({b"name": b"payload"})
        await hostile(store, lambda page: page.replace(b"name", b"evil"))
        victim = await on_flaky(one, FlakyStore(store))
        with pytest.raises(Corrupt, match="not what its manifest says"):
            await victim.download(tmp_path / "out")
        await hostile(store, lambda page: page.replace(b"evil", b"name"))
        victim = await on_flaky(one, FlakyStore(store))
        await victim.download(tmp_path / "out")
    assert tree(tmp_path / "out") == {b"name": b"payload"}
