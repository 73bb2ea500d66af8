"""Adding: look, prepare spools, ask for room, pin in one lane call, journal, answer. All or nothing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.clock import Clock
from syncd.errors import LocalDisk
from syncd.journal import pins as journal
from syncd.model.names import printable
from syncd.model.views import ReceiptView
from syncd.pin.batch import Batch, Grant, Terms
from syncd.pin.copying import Copier
from syncd.pin.holdings import Holdings
from syncd.pin.params import PinParams
from syncd.pin.place import Pin
from syncd.pin.rate import RescueRate
from syncd.pin.spool import Spool
from syncd.pin.walk import Survey

GUARDED = (
    "guarded by leases: if a file is rewritten in place while the daemon is dead, the job fails loudly and names it"
)
UNSYNCED = "for the seconds until its bytes are on disk, a power cut makes the job fail loudly"
PROMISED = "not protected: the caller promised that it stays; a change makes the job fail loudly"


@dataclass(frozen=True, slots=True)
class Ground:
    """What a look found out: entries, the spool of each mount (-1: the state directory's), free bytes by spool path."""

    survey: Survey
    spools: dict[int, Spool]
    free: dict[bytes, int]


class Adder:
    """Adds surveyed files to drafts. Lives in the loop; the heavy steps run in the pin lane.

    `slots` leases may be held; `name` makes names for files in spools; pins are numbered from `first` on.
    """

    def __init__(
        self,
        holdings: Holdings,
        params: PinParams,
        clock: Clock,
        rate: RescueRate,
        slots: int,
        name: Callable[[], bytes],
        first: int,
        on_added: Callable[[list[Pin]], None],
    ) -> None:
        self._holdings = holdings
        self._params = params
        self._clock = clock
        self._rate = rate
        self._slots = slots
        self._slots_pending = 0
        self._name = name
        self._on_added = on_added
        self._numbers = itertools.count(first)

    async def add(self, terms: Terms, overwrite: bool, look: Callable[[], Survey]) -> ReceiptView:
        """Do the whole of an add. Raises as Pins.add_file says; then nothing of it stays."""
        await self._holdings.begin()
        try:
            ground = await self._holdings.lanes.pin.run(self._look, look)
            await self._holdings.adopt(ground.spools)
            return await self._pin(terms, overwrite, ground)
        finally:
            await self._holdings.end()

    def _look(self, look: Callable[[], Survey]) -> Ground:
        survey = look()
        spools = self._holdings.yard.prepare(survey.mounts)
        try:
            free = {spool.path: spool.free() for spool in spools.values()}
        except OSError as error:
            raise LocalDisk("a spool cannot be asked for its free space", str(error)) from error
        return Ground(survey, spools, free)

    async def _pin(self, terms: Terms, overwrite: bool, ground: Ground) -> ReceiptView:
        holdings = self._holdings
        grants, promised = self._grants(terms, ground)
        large = sum(entry.size > self._params.copy_limit for entry in ground.survey.found if entry.type == "file")
        slots = max(0, min(large, self._slots - len(holdings.table) - self._slots_pending))
        terms = replace(terms, copy_limit=self._params.copy_limit, slots=slots, largest_lease=self._rate.can_rescue)
        batch = Batch(
            holdings.disk, Copier(holdings.disk, self._clock), holdings.table, terms, grants, self._name, self._number
        )
        self._slots_pending += slots
        try:
            await holdings.lanes.pin.run(batch.run, ground.survey.found)
            try:
                for held in batch.held:
                    held.told = True
                rows = [pin.row(holdings.boot) for pin in batch.pins]
                added = await journal.add(holdings.ledger, terms.draft, self._clock.now(), rows, batch.files, overwrite)
            except BaseException:
                await holdings.lanes.pin.run(batch.undo)
                raise
            leased = {one.pin.pin: one.refuge for one in batch.held if one.pin.place.way == "lease"}
            for pin in batch.pins:
                holdings.keep(pin, leased.get(pin.pin))
        finally:
            self._slots_pending -= slots
            for spool, size in promised:
                holdings.budget.fulfil(spool, size)
        self._on_added(batch.pins)
        await holdings.let_go((*added.replaced, *added.unneeded))
        return _receipt(batch, ground.survey)

    def _grants(self, terms: Terms, ground: Ground) -> tuple[dict[int, Grant], list[tuple[Spool, int]]]:
        """Ask for room for everything, per mount: beside the files with leases, else copies in the state directory."""
        budget = self._holdings.budget
        state = ground.spools[-1]
        need: Counter[int] = Counter()
        for entry in ground.survey.found:
            if entry.type == "file":
                need[entry.mount] += 0 if terms.immutable else entry.size
        budget.require(need.total())
        grants: dict[int, Grant] = {}
        promised: list[tuple[Spool, int]] = []
        try:
            for mount, size in need.items():
                home = ground.spools[mount]
                refuge = home if home.local_disk else state
                guarded = budget.has_room(refuge, ground.free[refuge.path], size)
                if not guarded and not budget.has_room(state, ground.free[state.path], size):
                    raise budget.refuse_room(refuge, ground.free[refuge.path], size)
                target = refuge if guarded else state
                budget.promise(target, size)
                promised.append((target, size))
                grants[mount] = Grant(home, target, guarded)
        except BaseException:
            for spool, size in promised:
                budget.fulfil(spool, size)
            raise
        return grants, promised

    def _number(self) -> int:
        return next(self._numbers)


def _receipt(batch: Batch, survey: Survey) -> ReceiptView:
    ways = Counter(pin.place.way for pin in batch.pins)
    gaps = [_sentence(what, paths) for table in (survey.gaps, batch.gaps) for what, paths in table.items()]
    if ways["lease"]:
        gaps.append(GUARDED)
    if ways["none"]:
        gaps.append(PROMISED)
    if ways.total():
        gaps.append(UNSYNCED)
    size = sum(pin.size for pin in batch.pins)
    return ReceiptView(len(batch.pins), size, len(batch.files), dict(ways), gaps)


def _sentence(what: str, paths: list[bytes]) -> str:
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{printable(paths[0])}{more}: {what}"
