"""After the daemon died: the old bytes, or a loud loss that names the file; never other bytes, never a leak."""

import os
import shutil
from dataclasses import astuple
from pathlib import Path

import pytest

from syncd.errors import SourceLost
from syncd.pin import PinParams
from tests.kit.pinning import open_elsewhere, other_process, pin_room, spool_files
from tests.pin.test_interference import INTERFERENCES, OLD

HARMLESS = {"delete", "rename over"}


async def life_one(top: Path, boot: str = "boot-1", synced: bool = True) -> Path:
    source = top / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(top / "state", boot=boot) as room:
        await room.add("d", source)
        await room.add("d", top / "model.pt", b"again")
        if synced:
            await room.pins.synced()
    return source


@pytest.mark.parametrize("how", INTERFERENCES)
async def test_a_file_changed_while_the_daemon_was_dead_is_the_old_one_or_lost(how: str, tmp_path: Path) -> None:
    source = await life_one(tmp_path)
    await other_process(INTERFERENCES[how], source)
    async with pin_room(tmp_path / "state") as room:
        if how in HARMLESS:
            assert await room.bytes_of("d") == OLD
            assert not room.lost
        else:
            assert [draft for draft, _ in room.lost] == ["d"]
            assert "model.pt" in room.lost[0][1]
            with pytest.raises(SourceLost, match=r"model\.pt"):
                await room.bytes_of("d")
        await room.pins.drop("d")
        assert spool_files(tmp_path) == []


async def test_an_unchanged_file_is_guarded_again(tmp_path: Path) -> None:
    source = await life_one(tmp_path)
    async with pin_room(tmp_path / "state") as room:
        await other_process(INTERFERENCES["rewrite"], source)
        assert await room.bytes_of("d") == await room.bytes_of("d", b"again") == OLD


async def test_a_file_held_open_by_a_writer_at_the_start_is_copied(tmp_path: Path) -> None:
    source = await life_one(tmp_path)
    writer = open_elsewhere(source)
    try:
        async with pin_room(tmp_path / "state") as room:
            source.write_bytes(b"new")
            assert await room.bytes_of("d") == OLD
            assert (await room.pins.usage()).files == {"copy": 2}
    finally:
        writer.kill()
        writer.communicate()


async def test_another_boot_loses_what_was_not_synced_and_keeps_what_was(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    await life_one(tmp_path / "one", synced=True)
    async with pin_room(tmp_path / "one" / "state", boot="boot-2") as room:
        assert await room.bytes_of("d") == OLD
    source = tmp_path / "two" / "model.pt"
    source.write_bytes(OLD)
    params = PinParams(spool_tops=(os.fsencode(tmp_path),), reserve=0, sync_delay=1000)
    async with pin_room(tmp_path / "two" / "state", params=params) as room:
        await room.add("d", source)
    async with pin_room(tmp_path / "two" / "state", boot="boot-2") as room:
        assert "restarted" in room.lost[0][1]
        with pytest.raises(SourceLost, match=r"model\.pt"):
            await room.bytes_of("d")


async def test_a_spool_that_went_away_loses_its_pins_loudly(tmp_path: Path) -> None:
    await life_one(tmp_path)
    for spool in tmp_path.glob(".syncd-spool-*"):
        shutil.rmtree(spool)
    async with pin_room(tmp_path / "state") as room:
        assert "spool is gone" in room.lost[0][1]
        await room.pins.drop("d")


async def test_a_spool_that_is_another_directory_now_loses_its_pins(tmp_path: Path) -> None:
    await life_one(tmp_path)
    [spool] = tmp_path.glob(".syncd-spool-*/*")
    spool.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", spool)
    async with pin_room(tmp_path / "state") as room:
        assert "spool is gone" in room.lost[0][1]


async def test_files_that_no_row_knows_are_swept_and_neighbours_are_not(tmp_path: Path) -> None:
    await life_one(tmp_path)
    [spool] = tmp_path.glob(".syncd-spool-*/*")
    (spool / "orphan").write_bytes(b"left by a crash")
    neighbour = spool.parent / "of-another-daemon"
    neighbour.mkdir()
    (neighbour / "pin").write_bytes(b"promised by another daemon")
    async with pin_room(tmp_path / "state") as room:
        assert not (spool / "orphan").exists()
        assert (neighbour / "pin").exists()
        assert await room.bytes_of("d") == OLD


async def test_a_blob_and_its_drafts_survive_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        (folder / str(number)).write_bytes(b"x" * number)
    async with pin_room(tmp_path / "state") as room:
        receipt = await room.pins.add_dir("d", os.fsencode(folder), b"set")
        assert receipt.ways == {"blob": 20}
    shutil.rmtree(folder)
    async with pin_room(tmp_path / "state") as room:
        assert await room.bytes_of("d", b"set/7") == b"x" * 7
        assert astuple(await room.pins.totals("d"))[:3] == (20, 190, 20)
        assert await room.pins.drafts_idle(before=1e12) == ["d"]
        await room.pins.drop("d")
        assert await room.pins.drafts_idle(before=1e12) == []
        assert spool_files(tmp_path) == []


async def test_a_cut_short_copy_is_lost(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    params = PinParams(spool_tops=(os.fsencode(tmp_path),), reserve=0, lease_limit=0)
    async with pin_room(tmp_path / "state", params=params) as room:
        await room.add("d", source)
    [copy] = spool_files(tmp_path)
    os.truncate(copy, 10)
    async with pin_room(tmp_path / "state") as room:
        assert "too short" in room.lost[0][1]
        assert room.meter.count("pins_lost") == 1


async def test_what_was_copied_into_the_state_directory_is_there_after_a_restart(tmp_path: Path) -> None:
    source = tmp_path / "small"
    source.write_bytes(OLD[:100])
    params = PinParams(spool_tops=(os.fsencode(tmp_path / "nowhere"),), reserve=0, sync_delay=0)
    async with pin_room(tmp_path / "state", params=params) as room:
        await room.add("d", source)
    source.unlink()
    for _ in range(2):
        async with pin_room(tmp_path / "state", params=params) as room:
            assert not room.lost
            assert await room.bytes_of("d") == OLD[:100]
