"""One pin in memory, and the place its bytes are at."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.journal.pins import PinRow


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where bytes are: `offset` of the file `path`. Bytes before `start` are in the remote only.

    A place never changes; a pin gets a new one. Readers compare places by identity.
    """

    way: str
    path: bytes
    offset: int = 0
    start: int = 0


@dataclass(slots=True, eq=False)
class Pin:
    """A promise: `size` bytes of `source` as they were. Facts about the source are fixed.

    `place` and `lost` are set by the loop or, in a rescue, by the loop after the copy; read by any thread. `stored`
    only grows: bytes before it are in the remote.
    """

    pin: int
    draft: str
    source: bytes
    size: int
    dev: int
    ino: int
    mtime_ns: int
    place: Place
    stored: int = 0
    lost: str = ""

    def row(self, boot: str) -> PinRow:
        """Return the journal row that says this."""
        place = self.place
        return PinRow(
            self.pin, self.draft, place.way, place.path, place.offset, place.start, self.size, self.dev, self.ino,
            self.mtime_ns, self.source, boot, 0, self.lost,
        )  # fmt: skip


def pin_of(row: PinRow) -> Pin:
    """Return the pin a journal row tells of."""
    place = Place(row.way, row.place, row.offset, row.start)
    return Pin(
        row.pin, row.draft, row.source, row.size, row.dev, row.ino, row.mtime_ns, place, row.start, row.lost
    )  # fmt: skip
