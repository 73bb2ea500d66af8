"""The room's verbs: add, list, read, let go. Order and gaps are told in the package docstring.

A verb that was begun runs to its end even when its caller is gone: a half-made pin has one owner.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence

from syncd.clock import Clock
from syncd.disk import Disk
from syncd.errors import NotFound
from syncd.journal import pins as journal
from syncd.journal.core import Ledger
from syncd.journal.pins import FileRow
from syncd.journal.tally import Tally
from syncd.meter import Meter
from syncd.model.names import printable
from syncd.model.views import ReceiptView
from syncd.pin import leases
from syncd.pin.adding import Adder
from syncd.pin.batch import Terms
from syncd.pin.budget import Budget
from syncd.pin.claims import Claims, own_spool_id
from syncd.pin.copying import Copier
from syncd.pin.errands import Errands
from syncd.pin.holdings import Holdings
from syncd.pin.leases import Held, LeaseTable
from syncd.pin.params import PinLanes, PinParams, PinUsage
from syncd.pin.place import Pin
from syncd.pin.rate import RescueRate
from syncd.pin.reader import PinReader
from syncd.pin.recovery import Recovery
from syncd.pin.rescue import Rescuer
from syncd.pin.sources import immutable
from syncd.pin.spares import Spares
from syncd.pin.spool import Yard
from syncd.pin.syncing import Syncer
from syncd.pin.walk import look_at_directory, look_at_file
from syncd.pin.watcher import Watcher

OnLost = Callable[[str, str], None]


async def open_pins(
    params: PinParams,
    disk: Disk,
    ledger: Ledger,
    lanes: PinLanes,
    clock: Clock,
    meter: Meter,
    state_dir: bytes,
    on_lost: OnLost,
    boot: str,
) -> Pins:
    """Take up what an earlier life promised and return the room, open; `leases.mask_signals` was called before.

    Args:
        params: what may be set.
        disk: the verbs on files.
        ledger: the journal.
        lanes: `pin` serves callers, `rescue` frees held writers, `sync` flushes.
        clock: time.
        meter: counts pins_lost, pins_rescued, pin_held_seconds.
        state_dir: the daemon's own directory; holds the spool of last resort.
        on_lost: called in the loop with (draft, reason) when pinned bytes are lost; must not block.
        boot: the kernel's boot id; pins not synced before another boot are lost.

    Raises:
        LocalDisk: the journal or the state directory cannot be used.
    """
    leases.mask_signals()
    limit = leases.raise_descriptor_limit(params.lease_share)
    slots = limit if params.lease_limit is None else params.lease_limit
    claims = Claims()
    spool_id = await own_spool_id(ledger, lanes.pin, claims)
    names = _Names(os.urandom(6).hex().encode())
    rate = RescueRate(params, disk, clock)
    table = LeaseTable(rate.break_time, clock)
    yard = Yard(disk, state_dir, params.spool_tops, spool_id.encode(), names.nonce, claims)
    holdings = Holdings(disk, ledger, lanes, Budget(params), yard, table, boot)
    syncer = Syncer(holdings, clock, params.sync_delay)
    errands = Errands()
    spares = Spares()
    rescuer = Rescuer(holdings, clock, meter, errands, on_lost, syncer.sync, names.next, spares)
    loop = asyncio.get_running_loop()
    watcher = Watcher(table, clock, lambda held: _hand_over(loop, rescuer, held))
    # Before the first lease is taken: a writer may come while the others are looked at.
    watcher.start()
    try:
        findings = await Recovery(holdings, Copier(disk, clock), slots, names.next).run()
    except BaseException:
        await lanes.rescue.run(watcher.close)
        spares.close()
        claims.close()
        raise
    first = 1 + max(holdings.pins, default=0)
    adder = Adder(holdings, params, clock, rate, slots, names.next, first, syncer.sync)
    syncer.sync(findings.unsynced + findings.moved)
    _tell_lost(findings.lost, meter, on_lost)
    await holdings.tidy()
    return Pins(holdings, adder, rescuer, syncer, watcher, errands, clock)


def _tell_lost(lost: Sequence[Pin], meter: Meter, on_lost: OnLost) -> None:
    if lost:
        meter.add("pins_lost", len(lost))
    reasons = {pin.draft: f"{printable(pin.source)}: {pin.lost}" for pin in reversed(lost)}
    for draft, reason in reasons.items():
        on_lost(draft, reason)


class _Names:
    """Names for files in spools: never one twice, and this life's told from an earlier one's by the nonce."""

    def __init__(self, nonce: bytes) -> None:
        self.nonce = nonce
        self._numbers = itertools.count(1)

    def next(self) -> bytes:
        """Return the next name. Any thread."""
        return b"%s-%x" % (self.nonce, next(self._numbers))


class Pins:
    """The promise that logged bytes do not change. Made by `open_pins`: what is here is open."""

    def __init__(
        self, holdings: Holdings, adder: Adder, rescuer: Rescuer, syncer: Syncer, watcher: Watcher, errands: Errands,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._holdings = holdings
        self._adder = adder
        self._rescuer = rescuer
        self._syncer = syncer
        self._watcher = watcher
        self._errands = errands
        self._clock = clock
        self._disk = holdings.disk
        self._ledger = holdings.ledger
        self._lanes = holdings.lanes

    async def close(self) -> None:
        """Finish what was begun, save what writers wait for, give every lease back. The journal keeps the pins."""
        await self._syncer.close()
        await self._lanes.rescue.run(self._watcher.close)
        self._rescuer.broken(self._holdings.table.newly_broken())
        await self._errands.settle()
        await self._syncer.close()
        for pin in self._holdings.pins:
            self._holdings.table.let_go(pin)
        self._rescuer.close()
        self._holdings.yard.close()

    @property
    def watching(self) -> bool:
        """Whether the thread that notices waiting writers runs: the watchdog asks."""
        return self._watcher.alive

    async def add_file(
        self,
        draft: str,
        path: bytes,
        name: bytes,
        *,
        dev: int,
        ino: int,
        size: int,
        policy: str = "mutable",
        overwrite: bool = False,
    ) -> ReceiptView:
        """Pin one regular file as the entry `name` of a draft; the promise stands when this returns.

        Adding the same unchanged file again is no error and changes nothing.

        Raises:
            NotFound, InvalidInput: no such file, not a regular one, a bad name.
            Conflict: not the file the client saw; it is being written; the name is taken; the draft was logged.
            LocalDisk: it cannot be read, or the spool not written.
            Refused: over the spool's budget or the disk's reserve.
        """
        terms = Terms(draft, immutable(policy), identity=(dev, ino, size))
        task = self._errands.start(
            self._adder.add(terms, overwrite, lambda: look_at_file(path, name, dev, ino, size)),
        )
        return await asyncio.shield(task)

    async def add_dir(
        self,
        draft: str,
        path: bytes,
        prefix: bytes = b"",
        *,
        dev: int = 0,
        ino: int = 0,
        policy: str = "mutable",
        merge: bool = False,
        closed_only: bool = False,
        skip: Sequence[bytes] = (),
    ) -> ReceiptView:
        """Pin everything below a directory, entries named `prefix`/path-below-it. All or nothing.

        `merge` replaces entries of equal names; `closed_only` refuses (Conflict) while any file is open for writing,
        where leases can tell; `skip` names entries (below the directory, as bytes) to leave out with all below them.
        Raises as add_file does.
        """
        left_out = frozenset(skip)
        terms = Terms(draft, immutable(policy), closed_only)
        task = self._errands.start(
            self._adder.add(terms, merge, lambda: look_at_directory(path, prefix, dev, ino, left_out.__contains__)),
        )
        return await asyncio.shield(task)

    async def entries(self, draft: str, after: bytes = b"", limit: int = 1000) -> list[FileRow]:
        """Return a page of a draft's entries after a name, in byte order; empty at the end."""
        return await journal.entries(self._ledger, draft, after, limit)

    async def totals(self, draft: str) -> Tally:
        """Return what a draft holds."""
        return await journal.totals(self._ledger, draft)

    async def begin(self, draft: str) -> None:
        """Make an empty draft; one that is there stays."""
        await journal.begin(self._ledger, draft, self._clock.now())

    async def draft_count(self) -> int:
        """Return how many drafts are open (not logged)."""
        return await journal.draft_count(self._ledger)

    async def touch(self, draft: str) -> None:
        """Note that a draft's client is alive."""
        await journal.touch(self._ledger, draft, self._clock.now())

    async def note_holder(self, draft: str, holder: str) -> None:
        """Note which process works on a draft, "" for none."""
        await journal.note_holder(self._ledger, draft, holder)

    async def holder(self, draft: str) -> str:
        """Return which process works on a draft, "" where none is noted."""
        return await journal.holder(self._ledger, draft)

    async def drafts_idle(self, before: float) -> list[str]:
        """Return drafts that were neither logged nor touched since `before` (Clock.now)."""
        return await journal.drafts_idle(self._ledger, before)

    async def drop(self, draft: str) -> None:
        """Forget a draft: rows and bytes go. One that was logged belongs to its job and stays. May be repeated."""
        await asyncio.shield(self._errands.start(self._drop(draft, logged=False)))

    async def release(self, draft: str) -> None:
        """Let a job's bytes go: its commit was acknowledged or read back, or it was cancelled. May be repeated."""
        await asyncio.shield(self._errands.start(self._drop(draft, logged=True)))

    async def usage(self) -> PinUsage:
        """Return how much is pinned, and files per way."""
        ways = Counter(pin.place.way for pin in self._holdings.pins.values())
        return PinUsage(self._holdings.budget.pinned, dict(ways))

    def reader(self, pin_id: int) -> PinReader:
        """Return a reader of a pin, for use inside a lane. Any thread.

        Raises:
            NotFound: the pin was let go.
        """
        pin = self._holdings.pins.get(pin_id)
        if pin is None:
            raise NotFound(f"no pin {pin_id}", "its draft was dropped or released")
        return PinReader(self._disk, self._holdings.table, pin)

    def advance(self, pin_id: int, offset: int) -> None:
        """Say that the bytes before `offset` are stored in the remote: a rescue will not copy them. Any thread."""
        pin = self._holdings.pins.get(pin_id)
        if pin is not None and offset > pin.stored:
            pin.stored = offset

    async def synced(self) -> None:
        """Wait until all that is pinned so far is on disk (or was tried)."""
        await self._errands.settle()
        await self._syncer.settle()

    async def _drop(self, draft: str, *, logged: bool) -> None:
        # Rows first: a crash between leaves files without rows, which the next start sweeps.
        if not await journal.drop(self._ledger, draft, logged=logged):
            return
        await self._holdings.let_go(self._holdings.in_draft(draft))
        await self._holdings.tidy()


def _hand_over(loop: asyncio.AbstractEventLoop, rescuer: Rescuer, held: list[Held]) -> None:
    loop.call_soon_threadsafe(rescuer.broken, held)
