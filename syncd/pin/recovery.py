"""Taking up the promises of an earlier life: which still hold, which are lost, what a crash left behind.

A link is trusted when size and mtime are those of the pin, looked at *after* a new lease was taken. A copy is ours and
only checked for its size. What was not on disk before another boot is lost. Files no row knows are removed. What lies
in a directory that is no spool of ours any more is lost, and nothing there is removed when its pin goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from syncd.errors import Conflict
from syncd.journal import pins as journal
from syncd.journal.pins import PinRow, SpoolRow
from syncd.pin import filesystems, leases
from syncd.pin.copying import Copier
from syncd.pin.holdings import Holdings
from syncd.pin.leases import Answer, Held
from syncd.pin.place import Pin, Place, pin_of
from syncd.pin.spool import Spool

GONE = "its spool is gone"
MISSING = "its file in the spool is gone"
CHANGED = "it was changed while the daemon was not running"
POWER = "the machine restarted before its bytes were on disk"
SHORT = "its copy in the spool is too short"


@dataclass(slots=True)
class Findings:
    """What a look at the spools found; applied by the loop."""

    spools: list[Spool] = field(default_factory=list)
    gone: list[bytes] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    held: dict[int, Held] = field(default_factory=dict)
    moved: list[Pin] = field(default_factory=list)
    unsynced: list[Pin] = field(default_factory=list)
    lost: list[Pin] = field(default_factory=list)


class Recovery:
    """One start's work. `slots`: leases that may be taken."""

    def __init__(self, holdings: Holdings, copier: Copier, slots: int, name: Callable[[], bytes]) -> None:
        self._holdings = holdings
        self._copier = copier
        self._slots = slots
        self._name = name
        self._sizes: dict[bytes, int | None] = {}

    async def run(self) -> Findings:
        """Check everything, journal what changed, fill the holdings. Raises LocalDisk."""
        holdings = self._holdings
        rows = await journal.all_pins(holdings.ledger)
        spools = await journal.spools(holdings.ledger)
        findings = await holdings.lanes.pin.run(self._check, rows, spools)
        if findings.lost:
            await journal.lose(holdings.ledger, [(pin.pin, pin.lost) for pin in findings.lost])
        if findings.moved:
            await journal.move(holdings.ledger, [pin.row(holdings.boot) for pin in findings.moved])
        if findings.gone:
            await journal.forget_spools(holdings.ledger, findings.gone)
        for pin in findings.pins:
            held = findings.held.get(pin.pin)
            holdings.keep(pin, held.refuge if held else None)
        holdings.announce()
        await holdings.lanes.pin.run(self._sweep)
        return findings

    def _check(self, rows: list[PinRow], spools: list[SpoolRow]) -> Findings:
        findings = Findings()
        yard = self._holdings.yard
        same_boot = all(row.boot == self._holdings.boot for row in rows)
        for known in spools:
            spool = yard.open_known(known, same_boot)
            if spool is None:
                findings.gone.append(known.path)
            else:
                findings.spools.append(spool)
        # The known ones first: a spool that is made anew is swept, and the state directory's may hold pins.
        yard.adopt({-2 - number: spool for number, spool in enumerate(findings.spools)})
        yard.adopt({-1: yard.prepare({})[-1]})
        # The largest first, as when they were pinned: leases are the scarce thing.
        for row in sorted(rows, key=lambda row: -row.size):
            self._check_pin(row, findings)
        return findings

    def _check_pin(self, row: PinRow, findings: Findings) -> None:
        pin = pin_of(row)
        findings.pins.append(pin)
        if pin.place.way != "none" and self._holdings.yard.spool_of(pin.place.path) is None:
            pin.place = Place("none", pin.place.path)  # not ours to remove
            if not pin.lost:
                pin.lost = GONE
                findings.lost.append(pin)
        if pin.lost:
            return
        if not row.synced:
            if row.boot != self._holdings.boot:
                pin.lost = POWER
            else:
                findings.unsynced.append(pin)
        if not pin.lost:
            pin.lost = self._verify(pin, findings)
        if pin.lost:
            findings.lost.append(pin)

    def _verify(self, pin: Pin, findings: Findings) -> str:
        """Return why a pin is lost, or an empty string."""
        place = pin.place
        if place.way == "lease":
            return self._guard_again(pin, findings)
        if place.way == "none":
            try:
                facts = os.stat(place.path, follow_symlinks=False)
            except OSError:
                return CHANGED
            same = (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (pin.ino, pin.size, pin.mtime_ns)
            return "" if same else CHANGED
        size = self._size(place.path)
        if size is None:
            return MISSING
        return "" if size >= place.offset + pin.size else SHORT

    def _guard_again(self, pin: Pin, findings: Findings) -> str:
        try:
            fd = os.open(pin.place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except PermissionError:
            return ""  # its owner may give the right back; till then a read says what is missing
        except OSError:
            return MISSING
        answer = Answer.REFUSED
        seen = self._holdings.table.now()
        if len(findings.held) < self._slots:
            answer = leases.take(fd)
        if not _unchanged(fd, pin):
            leases.release(fd)
            os.close(fd)
            return CHANGED
        spool = self._holdings.yard.spool_of(pin.place.path)
        if answer is Answer.GRANTED and spool is not None:
            held = Held(
                fd, pin, self._holdings.yard.refuge(spool), seen, os.fstat(fd).st_ctime_ns, told=True
            )  # fmt: skip
            findings.held[pin.pin] = held
            self._holdings.table.add(held)
            return ""
        try:
            return self._copy(fd, pin, findings)
        finally:
            os.close(fd)

    def _copy(self, fd: int, pin: Pin, findings: Findings) -> str:
        """Copy a file that cannot be guarded again. Where that fails the link stays: every read compares it."""
        spool = self._holdings.yard.refuge(self._holdings.yard.by_path[os.path.dirname(pin.place.path)])
        target = os.path.join(spool.path, self._name())
        with suppress(OSError, Conflict):
            facts = self._copier.copy(fd, target, pin.source, filesystems.of_fd(fd).lease)
            if (facts.st_size, facts.st_mtime_ns) != (pin.size, pin.mtime_ns):
                self._holdings.disk.remove(target)
                return CHANGED
            pin.place = Place("copy", target)
            findings.moved.append(pin)
        return ""

    def _size(self, place: bytes) -> int | None:
        if place not in self._sizes:
            try:
                self._sizes[place] = os.stat(place, follow_symlinks=False).st_size
            except OSError:
                self._sizes[place] = None
        return self._sizes[place]

    def _sweep(self) -> None:
        keep = self._holdings.places()
        for path in self._holdings.yard.by_path:
            with suppress(OSError):  # a spool that cannot be listed keeps its orphans until the next start
                self._holdings.yard.sweep(path, keep)


def _unchanged(fd: int, pin: Pin) -> bool:
    facts = os.fstat(fd)
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (pin.ino, pin.size, pin.mtime_ns)
