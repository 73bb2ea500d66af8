"""A pin room on real files: builders, a writer in another process, readers of what was promised."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncd.clock import SystemClock
from syncd.disk import Disk
from syncd.journal.core import Journal, Ledger, open_journal
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.model.views import ReceiptView
from syncd.pin import PinLanes, PinParams, Pins, open_pins

DEADLINE = 30.0


@dataclass
class Room:
    """One life of a pin room."""

    pins: Pins
    journal: Journal
    meter: Meter
    lost: list[tuple[str, str]] = field(default_factory=list)

    async def add(self, draft: str, path: Path | bytes, name: bytes = b"file", **options: object) -> ReceiptView:
        facts = os.stat(path)
        return await self.pins.add_file(
            draft, os.fsencode(path), name, dev=facts.st_dev, ino=facts.st_ino, size=facts.st_size, **options  # type: ignore[arg-type]
        )  # fmt: skip

    async def bytes_of(self, draft: str, name: bytes = b"file") -> bytes:
        rows = {row.name: row for row in await self.pins.entries(draft, limit=100_000)}
        pin = rows[name].pin
        assert pin is not None
        return self.read(pin)

    def read(self, pin: int) -> bytes:
        reader = self.pins.reader(pin)
        try:
            data = bytearray(reader.size)
            assert reader.read_at(0, memoryview(data)) == reader.size
            return bytes(data)
        finally:
            reader.close()


@asynccontextmanager
async def pin_room(
    state: Path, boot: str = "boot-1", params: PinParams | None = None, disk: Disk | None = None,
    wrap: Callable[[Journal], Ledger] = lambda journal: journal,
) -> AsyncIterator[Room]:  # fmt: skip
    """Open a room on a state directory; spools stay below the state's parent unless `params` say otherwise."""
    state.mkdir(parents=True, exist_ok=True)
    params = params or PinParams(spool_tops=(os.fsencode(state.parent),), reserve=0, sync_delay=0)
    lanes = [Lane("journal"), Lane("pin", 2), Lane("rescue", 2), Lane("sync")]
    journal = await open_journal(str(state / "journal"), lanes[0])
    meter = Meter(threading.Lock())
    lost: list[tuple[str, str]] = []
    try:
        pins = await open_pins(
            params, disk or Disk(), wrap(journal), PinLanes(*lanes[1:]), SystemClock(), meter, os.fsencode(state),
            lambda draft, why: lost.append((draft, why)), boot,
        )  # fmt: skip
        try:
            yield Room(pins, journal, meter, lost)
        finally:
            await pins.close()
    finally:
        await journal.close()
        for lane in lanes:
            lane.close()


def spool_files(top: Path) -> list[bytes]:
    """Return every file in any spool below `top`."""
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(os.fsencode(top))
        if b".syncd-spool-" in folder or b"/spool/" in folder
        for name in names
    ]


async def until(condition: Callable[[], bool], deadline: float = DEADLINE) -> None:
    """Wait until a condition holds; fail at the deadline."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while not condition():
        assert loop.time() < end, "it never happened"
        await asyncio.sleep(0.005)


async def other_process(code: str, *arguments: str | bytes | Path, deadline: float = DEADLINE) -> None:
    """Run Python code in another process and wait for its end, the loop free meanwhile."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", code, *map(os.fsencode, arguments))
    async with asyncio.timeout(deadline):
        assert await process.wait() == 0


def open_elsewhere(path: Path, mode: str = "r+b") -> subprocess.Popen[bytes]:
    """Start a process that holds a file open; it has it when this returns. Kill it when done."""
    code = "import sys; f = open(sys.argv[1], sys.argv[2]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, os.fsencode(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process
