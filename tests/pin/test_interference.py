"""Whatever the trainer does to a file after add_file returned, the promised bytes stay readable."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.errors import SourceLost
from syncd.pin import PinParams
from tests.kit.pinning import open_elsewhere, other_process, pin_room, spool_files, until

SIZE = 300_000
OLD = os.urandom(SIZE)

INTERFERENCES = {
    "delete": "import os, sys; os.unlink(sys.argv[1])",
    "rename over": "import os, sys; p = sys.argv[1]; open(p + '.n', 'wb').write(b'n' * 300000); os.rename(p + '.n', p)",
    "truncate": "import sys; open(sys.argv[1], 'wb').write(b'new')",
    "append": "import sys; open(sys.argv[1], 'ab').write(b'new')",
    "rewrite": "import sys; f = open(sys.argv[1], 'r+b'); f.write(b'n' * 300000)",
    "truncate call": "import os, sys; os.truncate(sys.argv[1], 7)",
}


@pytest.fixture(params=["beside", "shm"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file beside the state directory, or on another file system: tmpfs."""
    if request.param == "beside":
        yield tmp_path / "model.pt"
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        yield folder / "model.pt"
    finally:
        shutil.rmtree(folder)


def params_for(*tops: Path) -> PinParams:
    return PinParams(spool_tops=tuple(os.fsencode(top) for top in tops), reserve=0, sync_delay=0)


@pytest.mark.parametrize("code", INTERFERENCES.values(), ids=INTERFERENCES)
async def test_a_writer_cannot_change_what_was_pinned(code: str, source: Path, tmp_path: Path) -> None:
    source.write_bytes(OLD)
    params = params_for(tmp_path, source.parent)
    async with pin_room(tmp_path / "state", params=params) as room:
        receipt = await room.add("d", source)
        assert receipt.ways == {"lease": 1}
        await other_process(code, source)
        assert await room.bytes_of("d") == OLD
        assert not room.lost
        only_the_name = code in (INTERFERENCES["delete"], INTERFERENCES["rename over"])
        assert room.meter.count("pins_rescued") == (0 if only_the_name else 1)
        await room.pins.release("d")
        assert spool_files(tmp_path) == spool_files(source.parent) == []
    assert not any(name.startswith(".syncd") for name in os.listdir(source.parent))


async def test_a_file_whose_mount_has_no_spool_is_copied(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        source = Path(folder) / "model.pt"
        source.write_bytes(OLD)
        async with pin_room(tmp_path / "state", params=params_for(tmp_path)) as room:
            receipt = await room.add("d", source)
            assert receipt.ways == {"copy": 1}
            await other_process(INTERFERENCES["rewrite"], source)
            assert await room.bytes_of("d") == OLD


async def test_a_reader_that_is_half_through_goes_on_with_the_old_bytes(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        [row] = await room.pins.entries("d")
        assert row.pin is not None
        reader = room.pins.reader(row.pin)
        half, rest = bytearray(SIZE // 2), bytearray(SIZE - SIZE // 2)
        reader.read_at(0, memoryview(half))
        await other_process(INTERFERENCES["rewrite"], source)
        reader.read_at(SIZE // 2, memoryview(rest))
        reader.close()
        assert bytes(half + rest) == OLD
        assert (await room.pins.usage()).files == {"copy": 1}


async def test_a_rescue_copies_only_what_the_remote_does_not_have(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        [row] = await room.pins.entries("d")
        assert row.pin is not None
        room.pins.advance(row.pin, 200_000)
        await other_process(INTERFERENCES["truncate"], source)
        reader = room.pins.reader(row.pin)
        rest = bytearray(100_000)
        assert reader.read_at(200_000, memoryview(rest)) == 100_000
        assert bytes(rest) == OLD[200_000:]
        with pytest.raises(SourceLost, match=r"model\.pt"):
            reader.read_at(199_999, memoryview(rest))
        reader.close()


async def test_a_file_open_for_writing_elsewhere_is_copied_and_the_receipt_says_so(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    writer = open_elsewhere(source)
    try:
        async with pin_room(tmp_path / "state") as room:
            receipt = await room.add("d", source)
            assert receipt.ways == {"copy": 1}
            assert any("open for writing" in gap and "model.pt" in gap for gap in receipt.gaps)
            source.write_bytes(b"new")
            assert await room.bytes_of("d") == OLD
    finally:
        writer.kill()
        writer.communicate()


async def test_one_file_in_two_drafts_is_saved_for_both(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(tmp_path / "state") as room:
        await room.add("one", source)
        await room.add("two", source)
        await other_process(INTERFERENCES["rewrite"], source)
        assert await room.bytes_of("one") == await room.bytes_of("two") == OLD
        await room.pins.release("one")
        assert await room.bytes_of("two") == OLD


async def test_a_rescue_that_fails_lets_the_writer_go_and_is_loud(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        [row] = await room.pins.entries("d")
        assert row.pin is not None
        # The refuge goes away under the daemon: the copy cannot be made.
        for folder in tmp_path.glob(".syncd-spool-*/*[0-9a-f]"):
            os.rename(folder, tmp_path / "elsewhere")
        await other_process(INTERFERENCES["rewrite"], source)
        await until(lambda: bool(room.lost))
        assert room.lost[0][0] == "d"
        assert "model.pt" in room.lost[0][1]
        assert room.meter.count("pins_lost") == 1
        with pytest.raises(SourceLost, match=r"model\.pt"):
            room.read(row.pin)


async def test_a_writer_may_start_while_the_pin_is_being_made(tmp_path: Path) -> None:
    async with pin_room(tmp_path / "state") as room:
        for number in range(10):
            source = tmp_path / f"model-{number}.pt"
            source.write_bytes(OLD)
            async with asyncio.TaskGroup() as group:
                group.create_task(room.add(f"d{number}", source))
                group.create_task(other_process("import sys; open(sys.argv[1], 'ab')", source))
            assert await room.bytes_of(f"d{number}") == OLD
