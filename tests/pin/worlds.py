"""Run by test_worlds in a process of its own, under other rights or on another file system; prints what it saw."""

import asyncio
import mmap
import os
import sys
from dataclasses import astuple
from pathlib import Path

from syncd.errors import SyncdError
from syncd.pin import PinParams
from tests.kit.pinning import pin_room

OLD = b"old" * 100_000


async def another_owner(top: Path) -> None:
    """Files of another user: one readable, one not."""
    async with pin_room(top / "state") as room:
        receipt = await room.add("d", top / "readable", b"readable")
        assert receipt.ways == {"copy": 1}, receipt
        assert await room.bytes_of("d", b"readable") == OLD
        print("copied")
        try:
            await room.add("d", top / "unreadable", b"unreadable")
        except SyncdError as error:
            print(error.code, error.what.replace(str(top), ""))


async def overlay(top: Path) -> None:
    """A file on overlayfs that nobody has open, and then a writer through a memory map."""
    source = top / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(top / "state") as room:
        receipt = await room.add("d", source)
        with open(source, "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        mapped[:3] = b"new"
        mapped.flush()
        assert source.read_bytes()[:3] == b"new"
        assert await room.bytes_of("d") == OLD
        print(*receipt.ways)


async def full(top: Path) -> None:
    """A disk without room for a copy."""
    source = top / "model.pt"
    source.write_bytes(OLD)
    params = PinParams(spool_tops=(os.fsencode(top),), reserve=0, lease_limit=0)
    async with pin_room(top / "state", params=params) as room:
        try:
            await room.add("d", source)
        except SyncdError as error:
            print(error.code)
        assert astuple(await room.pins.totals("d"))[:3] == (0, 0, 0)


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
