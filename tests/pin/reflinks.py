"""Run by test_reflinks with a directory on a real xfs or btrfs, mounted for it alone."""

import asyncio
import mmap
import os
import subprocess
import sys
from pathlib import Path

from syncd.commands.checks_disk import _pin
from syncd.pin.spool import PREFIX
from tests.kit.pinning import open_elsewhere, other_process, pin_room, spool_files

OLD = b"old" * 100_000
HOLE = 48 << 20

INTERFERENCES = {
    "rewritten in place": "with open(sys.argv[1], 'r+b') as f: f.write(b'new' * 1000)",
    "truncated": "open(sys.argv[1], 'wb').close()",
    "cut short": "import os; os.truncate(sys.argv[1], 5)",
    "appended to": "with open(sys.argv[1], 'ab') as f: f.write(b'new')",
    "deleted": "import os; os.unlink(sys.argv[1])",
    "renamed over": "import os; f = sys.argv[1]; open(f + '+', 'wb').write(b'new'); os.replace(f + '+', f)",
}


async def guarded(top: Path) -> None:
    """Whatever is done to the file, by whom, with the daemon or without it: the bytes are those of the pin."""
    made = {}
    async with pin_room(top / "state") as room:
        for number, (what, code) in enumerate(INTERFERENCES.items()):
            source, draft = top / f"file{number}", f"d{number}"
            made[draft] = OLD + b"%d" % number
            source.write_bytes(made[draft])
            receipt = await room.add(draft, source)
            assert receipt.ways == {"reflink": 1}, (what, receipt)
            assert not any("while the daemon is dead" in gap for gap in receipt.gaps), receipt
            await other_process(f"import sys\n{code}", source)
            assert await room.bytes_of(draft) == made[draft], what
        source = top / "later"
        made["later"] = OLD + b"later"
        source.write_bytes(made["later"])
        assert (await room.add("later", source)).ways == {"reflink": 1}
        assert all(PREFIX in path for path in spool_files(top)), "the spool is on the files' own mount"
    source.write_bytes(b"changed while no daemon was there")
    async with pin_room(top / "state") as room:
        for draft, content in made.items():
            assert await room.bytes_of(draft) == content, draft
            await room.pins.release(draft)
        assert spool_files(top) == []
    print("guarded")


async def open_for_writing(top: Path) -> None:
    """Somebody has the file open, even mapped, all the time; a lease would be refused."""
    source = top / "model.pt"
    source.write_bytes(OLD)
    writer = open_elsewhere(source)
    try:
        with open(source, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        mapped[:6] = b"before"
        async with pin_room(top / "state") as room:
            receipt = await room.add("d", source)
            mapped[:6] = b"behind"
            mapped.flush()
            assert (await room.bytes_of("d"))[:9] == b"beforeold"
            assert source.read_bytes()[:9] == b"behindold"
            print(*receipt.ways)
    finally:
        writer.kill()
        writer.communicate()


async def sparse(top: Path) -> None:
    """A file that is mostly a hole stays one in the spool."""
    source = top / "sparse"
    with source.open("wb") as file:
        file.seek(HOLE)
        file.write(OLD)
    async with pin_room(top / "state") as room:
        receipt = await room.add("d", source)
        with source.open("r+b") as file:
            file.write(b"new")
        (place,) = spool_files(top)
        assert os.stat(place).st_blocks * 512 < 2 * len(OLD)
        assert await room.bytes_of("d") == bytes(HOLE) + OLD
        print(*receipt.ways)


async def shared(top: Path) -> None:
    """Pins of one file take its room once: copies of it would not fit."""
    source = top / "large"
    block = os.urandom(1 << 20)
    with source.open("wb") as file:
        for number in range(100):
            file.write(number.to_bytes(4, "little") + block[4:])
    os.sync()
    async with pin_room(top / "state") as room:
        for number in range(5):
            assert (await room.add(f"d{number}", source)).ways == {"reflink": 1}
        os.sync()
        assert os.statvfs(top).f_bavail * os.statvfs(top).f_frsize > 50 << 20
        assert room.read(1)[: 1 << 20] == bytes(4) + block[4:]
    print("shared")


async def not_shareable(top: Path) -> None:
    """A file whose blocks cannot be shared is pinned the next best way."""
    source = top / "nocow" / "file"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(OLD)
    async with pin_room(top / "state") as room:
        receipt = await room.add("d", source)
        await other_process("import sys\nopen(sys.argv[1], 'wb').close()", source)
        assert await room.bytes_of("d") == OLD
        print(*receipt.ways)


async def subvolume(top: Path) -> None:
    """Links do not reach from one btrfs subvolume into another; reflinks do."""
    subprocess.run(["btrfs", "-q", "subvolume", "create", top / "sub"], check=True)
    source = top / "sub" / "file"
    source.write_bytes(OLD)
    async with pin_room(top / "state") as room:
        receipt = await room.add("d", source)
        source.write_bytes(b"new")
        assert await room.bytes_of("d") == OLD
        print(*receipt.ways)


async def doctor(top: Path) -> None:
    """What `syncd doctor` says of the directory is what add_file does there."""
    finding = _pin(os.fsencode(top))
    assert finding.verdict == "ok", finding
    print("reflink" if "by reflink" in finding.text else finding.text)


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
