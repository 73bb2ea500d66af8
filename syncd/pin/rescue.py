"""Saving the bytes a writer waits to overwrite, then letting the writer in.

1. copy what the remote does not have yet into the refuge (room was promised when the pin was made)
2. prove the copy: the lease was in force to its end, nothing was written
3. journal row: the pin is there now
4. the pin in memory: readers that read from the old place meanwhile read again from the new one
5. release the lease (the writer goes on), remove the old link

A crash before 3 leaves a copy without a row (swept) and a link whose file the writer changes: lost loudly at the next
start. If 1 or 2 fail, in whatever way, the writer is let in nevertheless: the pin is marked lost first, so no reader
returns what is there. A mistake of our own is no reason to hold a trainer for the kernel's 45 seconds, so every
exception ends that way, and the next break is rescued as if nothing had been.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.journal import pins as journal
from syncd.meter import Meter
from syncd.model.names import printable
from syncd.pin.errands import Errands
from syncd.pin.holdings import Holdings
from syncd.pin.leases import Held
from syncd.pin.place import Pin, Place
from syncd.pin.spares import Spares

log = logging.getLogger(__name__)

_GROUP_FILES = 64
_GROUP_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one rescue: a new place, or why there is none; neither when the pin was let go meanwhile."""

    held: Held
    place: Place | None = None
    failure: str = ""


class Rescuer:
    """Runs rescues in their own lane, several at once, the oldest breaks first. Lives in the loop."""

    def __init__(
        self,
        holdings: Holdings,
        clock: Clock,
        meter: Meter,
        errands: Errands,
        on_lost: Callable[[str, str], None],
        on_moved: Callable[[list[Pin]], None],
        name: Callable[[], bytes],
        spares: Spares,
    ) -> None:
        self._holdings = holdings
        self._clock = clock
        self._meter = meter
        self._errands = errands
        self._on_lost = on_lost
        self._on_moved = on_moved
        self._name = name
        self._spares = spares

    def broken(self, held: list[Held]) -> None:
        """Rescue the pins of broken leases; returns at once."""
        # Of breaks seen in one look the smallest go first: that lets most writers go soonest.
        held.sort(key=lambda one: (one.broken_at or 0.0, one.pin.size))
        for group in _groups(held):
            self._errands.start(self._rescue(group))

    def close(self) -> None:
        """Give back what is kept for rescues: none will come."""
        self._spares.close()

    async def _rescue(self, group: list[Held]) -> None:
        try:
            await self._carry_out(group)
        except Exception as error:
            log.exception("a rescue of %d files went wrong", len(group))
            await self._give_up(group, f"it could not be saved from being overwritten: {error!r}")
        with suppress(SyncdError):  # an empty spool stays until the next one is tidied
            await self._holdings.tidy()

    async def _carry_out(self, group: list[Held]) -> None:
        holdings = self._holdings
        outcomes = await holdings.lanes.rescue.run(self._save_all, group)  # 1, 2
        # Pins still being made: their rows will tell the new place, so their writers need not wait for rows.
        early = [one for one in outcomes if not one.held.told]
        await self._finish(early)
        rest = [one for one in outcomes if one not in early]
        for one in rest:
            await self._journalled(one.held)
        saved = [_moved_row(one, holdings.boot) for one in rest if one.place]
        if saved:
            try:
                await journal.move(holdings.ledger, saved)  # 3
            except Exception:  # the copy holds in this life; after a restart the old row is lost loudly
                log.exception("%d rescued files have no row that says so", len(saved))
        await self._finish(rest)

    async def _give_up(self, group: list[Held], reason: str) -> None:
        """Let in every writer of the group who still waits; what they waited for is lost."""
        left = [Outcome(held, None, reason) for held in group if self._holdings.table.get(held.pin.pin) is held]
        for one in left:
            one.held.pin.lost = one.held.pin.lost or reason
            self._let_in(one.held)
        await self._tell(left)

    async def _finish(self, outcomes: list[Outcome]) -> None:
        moved, doomed = self._switch(outcomes)  # 4
        self._meter.add("pins_rescued", len(moved))
        for one in outcomes:
            self._let_in(one.held)  # 5
        await self._tell([one for one in outcomes if one.failure])
        if doomed:
            await self._holdings.lanes.rescue.run(self._remove, doomed)
        self._on_moved(moved)

    def _let_in(self, held: Held) -> None:
        """Release a lease, in the loop: neither call waits, and a lane would first save all that are queued."""
        if self._holdings.table.let_go(held.pin.pin) is not None:
            self._meter.observe("pin_held_seconds", self._clock.monotonic() - (held.broken_at or 0.0))

    async def _journalled(self, held: Held) -> None:
        """Wait until a pin whose row is being written stands or is undone."""
        number = held.pin.pin
        while number not in self._holdings.pins and self._holdings.table.get(number) is held:
            await self._holdings.changed.wait()

    def _save_all(self, group: list[Held]) -> list[Outcome]:
        return [self._save(held) for held in group]

    def _save(self, held: Held) -> Outcome:
        table, disk, pin = self._holdings.table, self._holdings.disk, held.pin
        start = min(pin.stored, pin.size)
        target = os.path.join(held.refuge.path, self._name())
        failure = ""
        try:
            copied = self._spares.use(lambda: disk.copy(held.fd, target, pin.size, start))
            if copied != pin.size - start or not proven(self._holdings, held):
                failure = "it was overwritten before it could be saved: the kernel let the writer in"
        except OSError as error:
            failure = f"it could not be saved from being overwritten: {error.strerror or error!r}"
        except Exception as error:  # a bug, no memory: this writer goes on, and so do the rescues of the others
            log.exception("%s could not be saved", printable(pin.source))
            failure = f"it could not be saved from being overwritten: {error!r}"
        if not failure and table.get(pin.pin) is held:
            return Outcome(held, Place("copy", target, 0, start))
        self._remove([target])
        return Outcome(held, None, failure if table.get(pin.pin) is held else "")

    def _switch(self, outcomes: list[Outcome]) -> tuple[list[Pin], list[bytes]]:
        """Point pins at their new places; return those moved, and the files that nobody needs now."""
        moved = []
        doomed = []
        for outcome in outcomes:
            pin, place = outcome.held.pin, outcome.place
            old = pin.place.path
            if self._holdings.table.get(pin.pin) is not outcome.held:
                doomed.extend([place.path] if place else [])  # let go meanwhile
            elif place is None:
                pin.lost = pin.lost or outcome.failure
            else:
                pin.place = place
                self._holdings.rescued(pin, old)
                moved.append(pin)
                doomed.append(old)
        return moved, doomed

    def _remove(self, doomed: list[bytes]) -> None:
        for path in doomed:
            try:
                self._holdings.disk.remove(path)
            except Exception:  # swept at the next start
                log.exception("%s stays until the next start", printable(path))

    async def _tell(self, failed: list[Outcome]) -> None:
        if not failed:
            return
        self._meter.add("pins_lost", len(failed))
        reasons: dict[str, str] = {}
        for one in failed:
            reasons.setdefault(one.held.pin.draft, f"{printable(one.held.pin.source)}: {one.failure}")
        try:
            await journal.lose(self._holdings.ledger, [(one.held.pin.pin, one.failure) for one in failed])
        except Exception:  # lost in memory already; the next start compares and finds it again
            log.exception("%d lost files have no row that says so", len(failed))
        for draft, reason in reasons.items():
            self._on_lost(draft, reason)


def proven(holdings: Holdings, held: Held) -> bool:
    """Whether everything read from a leased file up to now were the pinned bytes (see leases.py)."""
    facts = os.fstat(held.fd)
    if (facts.st_size, facts.st_mtime_ns) != (held.pin.size, held.pin.mtime_ns):
        return False
    return holdings.table.vouches(held, held.fd)


def _groups(held: list[Held]) -> Iterator[list[Held]]:
    group: list[Held] = []
    size = 0
    for one in held:
        group.append(one)
        size += one.pin.size
        if len(group) >= _GROUP_FILES or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _moved_row(outcome: Outcome, boot: str) -> journal.PinRow:
    place = outcome.place
    assert place is not None
    pin = outcome.held.pin
    return journal.PinRow(
        pin.pin, pin.draft, place.way, place.path, place.offset, place.start, pin.size, pin.dev, pin.ino,
        pin.mtime_ns, pin.source, boot,
    )  # fmt: skip
