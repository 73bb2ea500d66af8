"""Making pinned bytes durable in the background, so that a power cut later costs nothing.

fdatasync of the file, fsync of the spool's directory and of the two that name it, then `synced` in the journal. Until
then another boot id means the pin is lost. A failure leaves it unsynced: that is the truth, and the next start tries
again.
"""

from __future__ import annotations

import os
from contextlib import suppress

from syncd.clock import Clock
from syncd.errors import LocalDisk
from syncd.journal import pins as journal
from syncd.pin.errands import Errands
from syncd.pin.holdings import Holdings
from syncd.pin.place import Pin


class Syncer:
    """Syncs pins, one add after the other, in the sync lane."""

    def __init__(self, holdings: Holdings, clock: Clock, delay: float) -> None:
        self._holdings = holdings
        self._clock = clock
        self._delay = delay
        self._errands = Errands()

    def sync(self, pins: list[Pin]) -> None:
        """Sync pins in the background; returns at once."""
        if pins:
            self._errands.start(self._sync([(pin.pin, pin.place.path) for pin in pins]))

    async def close(self) -> None:
        """Stop: what is not synced yet stays so."""
        await self._errands.cancel()

    async def settle(self) -> None:
        """Wait until everything asked for so far was tried."""
        await self._errands.settle()

    async def _sync(self, places: list[tuple[int, bytes]]) -> None:
        # A gigabyte on its way to the disk would hold up the fsync of the journal that the caller's log waits for.
        await self._clock.sleep(self._delay)
        paths = dict.fromkeys(path for _, path in places)
        durable = await self._holdings.lanes.sync.run(self._flush, list(paths))
        done = [(pin, path) for pin, path in places if path in durable]
        if done:
            with suppress(LocalDisk):
                await journal.mark_synced(self._holdings.ledger, done)

    def _flush(self, paths: list[bytes]) -> set[bytes]:
        durable = set()
        directories = set()
        for path in paths:
            with suppress(OSError):  # let go meanwhile, or the disk fails: not durable
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    self._holdings.disk.sync(fd)
                finally:
                    os.close(fd)
                durable.add(path)
                directories.add(os.path.dirname(path))
        for directory in directories:
            try:
                self._holdings.disk.sync_directory(directory)
                outer = os.path.dirname(directory)
                self._holdings.disk.sync_directory(outer)
                with suppress(PermissionError):  # /home may be 0711: then the name in it is not ours to worry about
                    self._holdings.disk.sync_directory(os.path.dirname(outer))
            except OSError:
                durable = {path for path in durable if os.path.dirname(path) != directory}
        return durable
