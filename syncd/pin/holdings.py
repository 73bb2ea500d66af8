"""What is pinned right now: the pins by id and draft, who shares a place, what is promised on the disks.

Changed by the loop only. Lanes and readers look single pins up (one dict operation). The journal is the same knowledge
made durable; the files in the spools are the bytes.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from syncd.disk import Disk
from syncd.journal import pins as journal
from syncd.journal.core import Ledger
from syncd.pin.budget import Budget
from syncd.pin.leases import LeaseTable
from syncd.pin.params import PinLanes
from syncd.pin.place import Pin
from syncd.pin.spool import Spool, Yard


class Holdings:
    """All pins of one daemon."""

    def __init__(
        self, disk: Disk, ledger: Ledger, lanes: PinLanes, budget: Budget, yard: Yard, table: LeaseTable, boot: str
    ) -> None:
        self.disk = disk
        self.ledger = ledger
        self.lanes = lanes
        self.budget = budget
        self.yard = yard
        self.boot = boot
        self.table = table
        self.pins: dict[int, Pin] = {}
        self.changed = asyncio.Event()  # set when an add has ended: its pins are here, or will never be
        self._drafts: dict[str, set[int]] = {}
        self._places: Counter[bytes] = Counter()
        self._spools: Counter[bytes] = Counter()  # pins per spool directory
        self._promises: dict[int, tuple[Spool, int]] = {}
        self._busy = 0
        self._tidying = asyncio.Lock()

    async def begin(self) -> None:
        """Announce that files will appear in spools: none is removed until `end`."""
        async with self._tidying:
            self._busy += 1

    async def end(self) -> None:
        """Announce that they have, and remove spools that stayed empty."""
        self._busy -= 1
        self.announce()
        await self.tidy()

    def announce(self) -> None:
        """Wake whoever waits for pins to be known."""
        self.changed.set()
        self.changed.clear()

    def keep(self, pin: Pin, refuge: Spool | None) -> None:
        """Take a pin in; `refuge` is where room for its rescue was promised, if it is guarded by a lease."""
        self.pins[pin.pin] = pin
        self._drafts.setdefault(pin.draft, set()).add(pin.pin)
        self._enter(pin.place.path)
        if pin.place.way != "none":
            self.budget.pinned += pin.size
        if refuge is not None:
            self._promises[pin.pin] = (refuge, pin.size)
            self.budget.promise(refuge, pin.size)

    def rescued(self, pin: Pin, old: bytes) -> None:
        """Note that a pin has left the place `old` for a copy of its own: the promised room is used.

        A pin that is still being made is not known yet; `keep` will see its new place.
        """
        if pin.pin not in self.pins:
            return
        self._leave(old)
        self._enter(pin.place.path)
        self._fulfil(pin.pin)

    def in_draft(self, draft: str) -> list[int]:
        """Return the pins of a draft."""
        return sorted(self._drafts.get(draft, ()))

    def places(self) -> frozenset[bytes]:
        """Return every place that holds pinned bytes."""
        return frozenset(self._places)

    async def adopt(self, spools: dict[int, Spool]) -> None:
        """Take spools into use, journalled before the first file is put there."""
        fresh = {spool.path: spool for spool in spools.values() if self.yard.by_path.get(spool.path) != spool}
        if fresh:
            await journal.add_spools(self.ledger, [spool.row() for spool in fresh.values()])
        self.yard.adopt(spools)

    async def let_go(self, pins: Iterable[int]) -> None:
        """Forget pins whose rows are gone: leases are released, then the files removed that nobody else needs."""
        numbers = []
        doomed = []
        for number in pins:
            pin = self.pins.pop(number, None)
            if pin is None:
                continue
            numbers.append(number)
            members = self._drafts.get(pin.draft, set())
            members.discard(number)
            if not members:
                self._drafts.pop(pin.draft, None)
            if pin.place.way != "none":
                self.budget.pinned -= pin.size
            self._fulfil(number)
            if self._leave(pin.place.path) and pin.place.way != "none":
                doomed.append(pin.place.path)
        if numbers:
            await self.lanes.pin.run(self._remove, numbers, doomed)

    async def tidy(self) -> None:
        """Remove spools that hold nothing, unless somebody is about to use one."""
        if self._busy or all(path in self._spools for path in self.yard.by_path):
            return
        used = {*self._spools, *(spool.path for spool, _ in self._promises.values())}
        async with self._tidying:
            empty = [path for path in self.yard.by_path if path not in used]
            if self._busy or not empty:
                return
            gone = await self.lanes.pin.run(self._remove_spools, empty)
            for path in gone:
                self.yard.forget(path)
            if gone:
                await journal.forget_spools(self.ledger, gone)

    def _remove(self, numbers: list[int], doomed: list[bytes]) -> None:
        for number in numbers:
            self.table.let_go(number)
        for path in doomed:
            with suppress(OSError):  # a disk that fails now: swept at the next start
                self.disk.remove(path)

    def _remove_spools(self, paths: list[bytes]) -> list[bytes]:
        return [path for path in paths if self.yard.remove(path)]

    def _enter(self, place: bytes) -> None:
        self._places[place] += 1
        self._spools[os.path.dirname(place)] += 1

    def _leave(self, place: bytes) -> bool:
        spool = os.path.dirname(place)
        self._spools[spool] -= 1
        if not self._spools[spool]:
            del self._spools[spool]
        self._places[place] -= 1
        if self._places[place] > 0:
            return False
        del self._places[place]
        return True

    def _fulfil(self, number: int) -> None:
        promised = self._promises.pop(number, None)
        if promised is not None:
            self.budget.fulfil(*promised)
