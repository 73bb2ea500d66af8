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
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "file").write_bytes(b"outside")
    (outside / "deep" / "inner").symlink_to("file")
    (outside / "deep" / "back").symlink_to(outside)
    (folder / "file").symlink_to(outside / "deep" / "file")
    (folder / "tree").symlink_to("../outside")
    (folder / "self").symlink_to(folder)
    (folder / "lost").symlink_to("/nowhere/at/all")
    found, gaps = await listing(tmp_path, folder)
    assert found[b"file"][0] == "file"
    assert found[b"tree/deep/file"][0] == "file"
    assert found[b"tree/deep/inner"] == ("symlink", b"file")
    assert not any(name.startswith((b"self", b"tree/deep/back", b"lost")) for name in found)
    told = "\n".join(gaps)
    assert "followed" in told
    assert "leads back" in told
    assert "leads nowhere" in told


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
