"""Run by test_storm in a process of its own: N leased files are overwritten at once; prints how many are as before."""

import asyncio
import os
import resource
import sys
from pathlib import Path

from syncd.pin import PinParams, mask_signals
from tests.kit.pinning import other_process, pin_room

# An open that would block breaks the lease all the same: so every lease is broken before the first writer is let in.
WRITERS = """
import os, sys
paths = [f"{sys.argv[1]}/{number}" for number in range(int(sys.argv[2]))]
for path in paths:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except BlockingIOError:
        pass
for path in paths:
    with open(path, "r+b") as file:
        file.write(b"new")
"""


async def main(top: Path, count: int) -> int:
    files = top / "files"
    files.mkdir()
    for number in range(count):
        (files / str(number)).write_bytes(b"%d" % number + b"o" * 100)
    params = PinParams(spool_tops=(os.fsencode(top),), reserve=0, copy_limit=0)
    right = 0
    async with pin_room(top / "state", params=params) as room:
        receipt = await room.pins.add_dir("d", os.fsencode(files))
        assert receipt.ways == {"lease": count}, receipt
        await other_process(WRITERS, files, str(count), deadline=90)
        for row in await room.pins.entries("d", limit=count):
            right += room.read(row.pin) == row.name + b"o" * 100
        assert not room.lost
        held = room.meter.snapshot().times["pin_held_seconds", ()]
        assert held[0] == count, held
    return right


if __name__ == "__main__":
    mask_signals()
    if int(sys.argv[3]):
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (int(sys.argv[3]), int(sys.argv[3])))
    print(asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]))))
