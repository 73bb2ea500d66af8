"""What add_dir makes of a tree: names, links, empty directories, and what cannot be kept."""

import os
import socket
import time
from pathlib import Path

import pytest

from syncd.errors import Conflict, InvalidInput
from tests.kit.pinning import pin_room, spool_files


async def listing(tmp_path: Path, folder: Path, **options: object) -> tuple[dict[bytes, tuple[str, bytes]], list[str]]:
    async with pin_room(tmp_path / "state") as room:
        receipt = await room.pins.add_dir("d", os.fsencode(folder), **options)  # type: ignore[arg-type]
        rows = await room.pins.entries("d", limit=10_000)
        assert receipt.entries == len(rows)
        assert [row.name for row in rows] == sorted(row.name for row in rows)
        await room.pins.drop("d")
        return {row.name: (row.type, row.target) for row in rows}, receipt.gaps


async def test_names_of_any_bytes_modes_links_and_empty_directories_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub" / "empty").mkdir(parents=True)
    odd = os.fsencode(folder) + b"/new\nline \xff\xfe"
    with open(odd, "wb") as file:
        file.write(b"odd")
    os.chmod(odd, 0o754)
    (folder / "sub" / "link").symlink_to("../plain")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "plain").write_bytes(b"")
    async with pin_room(tmp_path / "state") as room:
        receipt = await room.pins.add_dir("d", os.fsencode(folder), b"pre/fix")
        rows = {row.name: row for row in await room.pins.entries("d")}
        assert set(rows) == {
            b"pre/fix/new\nline \xff\xfe", b"pre/fix/sub/empty", b"pre/fix/sub/link", b"pre/fix/dangling",
            b"pre/fix/plain",
        }  # fmt: skip
        assert rows[b"pre/fix/new\nline \xff\xfe"].mode == 0o754
        assert rows[b"pre/fix/sub/empty"].type == "dir"
        assert rows[b"pre/fix/sub/link"].target == b"../plain"
        assert rows[b"pre/fix/dangling"].type == "symlink"
        assert await room.bytes_of("d", b"pre/fix/plain") == b""
        assert await room.bytes_of("d", b"pre/fix/new\nline \xff\xfe") == b"odd"
        assert receipt.files == 2
        assert receipt.entries == 5


async def test_links_out_of_the_directory_are_followed_and_told(tmp_path: Path) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    (folder / "file").symlink_to(outside / "file")
    (folder / "lost").symlink_to("/nowhere/at/all")
    found, gaps = await listing(tmp_path, folder)
    assert found == {b"file": ("file", b"")}
    told = "\n".join(gaps)
    assert "followed" in told
    assert "leads nowhere" in told


async def test_links_that_go_round_and_come_back_inside_are_kept_as_relative_ones(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "step-5" / "deep").mkdir(parents=True)
    (folder / "step-5" / "file").write_bytes(b"x")
    (folder / "latest").symlink_to(folder / "step-5")
    (folder / "step-5" / "deep" / "self").symlink_to(folder)
    (folder / "step-5" / "deep" / "round").symlink_to("../../../data/step-5/file")
    found, gaps = await listing(tmp_path, folder)
    assert found == {
        b"latest": ("symlink", b"step-5"),
        b"step-5/file": ("file", b""),
        b"step-5/deep/self": ("symlink", b"../.."),
        b"step-5/deep/round": ("symlink", b"../file"),
    }
    assert any("stored as the relative one" in gap for gap in gaps)


async def test_a_link_to_a_directory_outside_is_refused_by_name_before_anything_is_pinned(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "stranger").write_bytes(b"private")
    (folder / "mine").write_bytes(b"x" * 100_000)
    (folder / "up").symlink_to("..")
    async with pin_room(tmp_path / "state") as room:
        with pytest.raises(InvalidInput) as refused:
            await room.pins.add_dir("d", os.fsencode(folder))
        assert str(folder / "up") in refused.value.what
        assert refused.value.what.endswith(str(tmp_path))
        assert "add that directory itself" in refused.value.hint
        assert spool_files(tmp_path) == []
        assert (await room.pins.totals("d")).entries == 0


@pytest.mark.parametrize("size", [10, 200_000])
async def test_what_is_wrong_with_a_file_behind_a_link_names_the_link(tmp_path: Path, size: int) -> None:
    folder, outside = tmp_path / "data", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(b"x" * size)
    (folder / "link").symlink_to(outside)
    writer = os.open(outside, os.O_WRONLY)
    try:
        async with pin_room(tmp_path / "state") as room:
            with pytest.raises(Conflict) as refused:
                await room.pins.add_dir("d", os.fsencode(folder), closed_only=True)
    finally:
        os.close(writer)
    assert str(outside) in refused.value.what
    assert f"the symlink {folder / 'link'} leads there" in refused.value.why


async def test_a_name_given_twice_is_refused_with_both_its_sources(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_bytes(name.encode())
    async with pin_room(tmp_path / "state") as room:
        await room.pins.add_dir("d", os.fsencode(tmp_path / "one"))
        with pytest.raises(Conflict, match="'model' is in the artifact already") as refused:
            await room.pins.add_dir("d", os.fsencode(tmp_path / "two"))
        for name in ("one", "two"):
            assert str(tmp_path / name / "model") in refused.value.why
        assert "overwrit" not in str(refused.value)
        (tmp_path / "one" / "model").write_bytes(b"changed")
        with pytest.raises(Conflict) as refused:
            await room.pins.add_dir("d", os.fsencode(tmp_path / "one"))
        assert "has changed since it was added" in refused.value.why


async def test_sockets_and_pipes_are_skipped_and_told_and_spools_are_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / ".syncd-spool-7" / "x").mkdir(parents=True)
    (folder / ".syncd-spool-7" / "x" / "pin").write_bytes(b"pin")
    (folder / "left out").mkdir()
    (folder / "left out" / "file").write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(folder / "door"))
        found, gaps = await listing(tmp_path, folder, skip=(b"left out",))
    assert found == {}
    assert any("pipe" in gap or "door" in gap for gap in gaps if "neither file" in gap)


async def test_a_directory_added_twice_conflicts_only_where_it_changed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "same").write_bytes(b"same")
    (folder / "other").write_bytes(b"one")
    async with pin_room(tmp_path / "state") as room:
        await room.pins.add_dir("d", os.fsencode(folder))
        await room.pins.add_dir("d", os.fsencode(folder))
        (folder / "other").write_bytes(b"another")
        with pytest.raises(Conflict, match="'other' is in the artifact already"):
            await room.pins.add_dir("d", os.fsencode(folder))
        assert await room.bytes_of("d", b"other") == b"one"
        await room.pins.add_dir("d", os.fsencode(folder), merge=True)
        assert await room.bytes_of("d", b"other") == b"another"
        assert await room.bytes_of("d", b"same") == b"same"
        await room.pins.drop("d")
        assert spool_files(tmp_path) == []


async def test_a_depth_of_100_and_not_of_200(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "/".join("d" * 100)).mkdir(parents=True)
    found, _ = await listing(tmp_path, folder)
    assert set(found) == {b"/".join([b"d"] * 100)}
    (folder / "/".join("d" * 200)).mkdir(parents=True)
    with pytest.raises(InvalidInput, match="Invalid artifact path"):
        await listing(tmp_path, folder)


@pytest.mark.scale
async def test_15000_small_files_take_one_blob(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    block = os.urandom(32 << 10)
    for number in range(15_000):
        (folder / str(number)).write_bytes(block)
    async with pin_room(tmp_path / "state") as room:
        begin = time.perf_counter()
        receipt = await room.pins.add_dir("d", os.fsencode(folder))
        print(f"15,000 x 32 KiB pinned in {time.perf_counter() - begin:.2f} s")
        assert receipt.ways == {"blob": 15_000}
        assert len(spool_files(tmp_path)) == 1
        assert await room.bytes_of("d", b"14999") == block


async def test_a_spool_is_skipped_and_told_and_what_is_merely_named_alike_is_data(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in (".syncd-spool-1000", ".syncd-spool-backup"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_bytes(b"x")
    found, gaps = await listing(tmp_path, folder)
    assert list(found) == [b".syncd-spool-backup/file"]
    assert any(".syncd-spool-1000: skipped" in gap for gap in gaps)
