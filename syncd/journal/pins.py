"""Rows of the pin room: where spools are, which bytes are promised, and which entries a draft holds.

Every function takes the ledger and is one transaction. Pin ids are chosen by the caller (the pin stands in the spool
before its row is written), rows are plain frozen values.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncd.errors import Conflict
from syncd.journal.core import Ledger
from syncd.journal.tally import Tally, tally
from syncd.model.names import printable

_PIN_COLUMNS = "pin, draft, way, place, offset, start, size, dev, ino, mtime_ns, source, boot, synced, lost"
_FILE_COLUMNS = "draft, name, type, mode, size, target, pin"


@dataclass(frozen=True, slots=True)
class SpoolRow:
    """A spool directory and which directory that was."""

    path: bytes
    dev: int
    ino: int


@dataclass(frozen=True, slots=True)
class PinRow:
    """One pinned file: `size` bytes at `offset` of `place`; those before `start` are in the remote only."""

    pin: int
    draft: str
    way: str
    place: bytes
    offset: int
    start: int
    size: int
    dev: int
    ino: int
    mtime_ns: int
    source: bytes
    boot: str
    synced: int = 0
    lost: str = ""


@dataclass(frozen=True, slots=True)
class FileRow:
    """One entry of a draft. `type` is file, symlink or dir; files have a pin."""

    draft: str
    name: bytes
    type: str
    mode: int
    size: int
    target: bytes = b""
    pin: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What adding changed: `replaced` pins have lost their entry, `unneeded` new pins were there already."""

    replaced: tuple[int, ...]
    unneeded: tuple[int, ...]


async def spool_id(ledger: Ledger, fresh: str) -> str:
    """Return the name of this journal's own directory in every spool; `fresh` becomes it the first time."""

    def act(db: sqlite3.Connection) -> str:
        db.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('spool_id', ?)", (fresh,))
        return str(db.execute("SELECT value FROM meta WHERE key = 'spool_id'").fetchone()[0])

    return await ledger.write(act, durable=True)


async def spools(ledger: Ledger) -> list[SpoolRow]:
    """Return every spool in use."""
    rows = await ledger.read(lambda db: db.execute("SELECT path, dev, ino FROM spools").fetchall())
    return [SpoolRow(*row) for row in rows]


async def add_spools(ledger: Ledger, rows: Sequence[SpoolRow]) -> None:
    """Note spools before the first link is made in them, so that a crash leaves nothing nobody knows of."""
    values = [(row.path, row.dev, row.ino) for row in rows]
    await ledger.write(lambda db: db.executemany("INSERT OR REPLACE INTO spools VALUES (?, ?, ?)", values))


async def forget_spools(ledger: Ledger, paths: Iterable[bytes]) -> None:
    """Forget spools whose directories were removed."""
    values = [(path,) for path in paths]
    await ledger.write(lambda db: db.executemany("DELETE FROM spools WHERE path = ?", values))


async def all_pins(ledger: Ledger) -> list[PinRow]:
    """Return every pin, oldest first."""
    rows = await ledger.read(lambda db: db.execute(f"SELECT {_PIN_COLUMNS} FROM pins ORDER BY pin").fetchall())
    return [PinRow(*row) for row in rows]


async def add(
    ledger: Ledger, draft: str, now: float, pins: Sequence[PinRow], files: Sequence[FileRow], overwrite: bool
) -> Added:
    """Put entries and their pins into a draft, which is made or touched. One transaction, all or nothing.

    An entry that is there already and equal (same source, unchanged) stays; its new pin is reported unneeded.

    Raises:
        Conflict: the draft was logged; a name is taken by something else and `overwrite` is false; a name is a file in
            one entry and a directory in another.
    """

    def act(db: sqlite3.Connection) -> Added:
        _touch_open(db, draft, now)
        replaced: list[int] = []
        unneeded: set[int] = set()
        skip: set[bytes] = set()
        if db.execute("SELECT 1 FROM files WHERE draft = ? LIMIT 1", (draft,)).fetchone():
            by_pin = {row.pin: row for row in pins}
            _refuse_mixed(db, draft, files)
            for file in files:
                pin = by_pin.get(file.pin) if file.pin is not None else None
                verdict, old = _meet(db, file, pin, overwrite)
                if verdict == "keep":
                    skip.add(file.name)
                    unneeded.update(() if file.pin is None else (file.pin,))
                elif old is not None:
                    replaced.append(old)
        db.executemany("DELETE FROM pins WHERE pin = ?", [(pin,) for pin in replaced])
        db.executemany(
            f"INSERT INTO pins ({_PIN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_pin_values(row) for row in pins if row.pin not in unneeded],
        )
        db.executemany(
            f"INSERT OR REPLACE INTO files ({_FILE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(f.draft, f.name, f.type, f.mode, f.size, f.target, f.pin) for f in files if f.name not in skip],
        )
        return Added(tuple(replaced), tuple(sorted(unneeded)))

    return await ledger.write(act)


async def entries(ledger: Ledger, draft: str, after: bytes, limit: int) -> list[FileRow]:
    """Return up to `limit` entries with names greater than `after`, in byte order."""
    query = f"SELECT {_FILE_COLUMNS} FROM files WHERE draft = ? AND name > ? ORDER BY name LIMIT ?"
    rows = await ledger.read(lambda db: db.execute(query, (draft, after, limit)).fetchall())
    return [FileRow(*row) for row in rows]


async def totals(ledger: Ledger, draft: str) -> Tally:
    """Return what a draft holds."""
    return await ledger.read(lambda db: tally(db, draft))


async def drop(ledger: Ledger, draft: str, *, logged: bool) -> bool:
    """Remove a draft, its entries and its pins. Dropping what is not there is no error.

    Args:
        logged: also one that a job has; else such a draft stays as it is, and the answer is False. Asking and
            dropping are one transaction: a job accepted a moment before keeps its bytes.
    """

    def act(db: sqlite3.Connection) -> bool:
        if not logged and db.execute("SELECT 1 FROM drafts WHERE draft = ? AND job IS NOT NULL", (draft,)).fetchone():
            return False
        for table in ("files", "pins", "drafts"):
            db.execute(f"DELETE FROM {table} WHERE draft = ?", (draft,))
        return True

    return await ledger.write(act)


async def move(ledger: Ledger, rows: Sequence[PinRow]) -> None:
    """Record where pins are now: way, place, offset, start; they are unsynced again. Pins let go stay gone."""
    values = [(row.way, row.place, row.offset, row.start, row.boot, row.pin) for row in rows]
    query = "UPDATE pins SET way = ?, place = ?, offset = ?, start = ?, boot = ?, synced = 0 WHERE pin = ?"
    await ledger.write(lambda db: db.executemany(query, values))


async def lose(ledger: Ledger, lost: Iterable[tuple[int, str]]) -> None:
    """Record pins that can no longer be vouched for, with the reason. The first reason stays."""
    values = [(reason, pin) for pin, reason in lost]
    await ledger.write(lambda db: db.executemany("UPDATE pins SET lost = ? WHERE pin = ? AND lost = ''", values))


async def mark_synced(ledger: Ledger, places: Iterable[tuple[int, bytes]]) -> None:
    """Record pins whose bytes are on disk, unless they have moved from that place since."""
    values = list(places)
    query = "UPDATE pins SET synced = 1 WHERE pin = ? AND place = ?"
    await ledger.write(lambda db: db.executemany(query, values))


async def touch(ledger: Ledger, draft: str, now: float) -> None:
    """Note that a draft's client is alive. An unknown draft stays unknown."""
    await ledger.write(lambda db: db.execute("UPDATE drafts SET touched = ? WHERE draft = ?", (now, draft)))


async def note_holder(ledger: Ledger, draft: str, holder: str) -> None:
    """Note which process works on a draft, "" for none; of a draft that is not there nothing is noted."""
    await ledger.write(lambda db: db.execute("UPDATE drafts SET holder = ? WHERE draft = ?", (holder, draft)))


async def holder(ledger: Ledger, draft: str) -> str:
    """Return what was noted of who works on a draft."""
    query = "SELECT holder FROM drafts WHERE draft = ?"
    row = await ledger.read(lambda db: db.execute(query, (draft,)).fetchone())
    return str(row[0]) if row else ""


async def begin(ledger: Ledger, draft: str, now: float) -> None:
    """Make an empty draft; one that is there stays."""
    query = "INSERT OR IGNORE INTO drafts (draft, touched) VALUES (?, ?)"
    await ledger.write(lambda db: db.execute(query, (draft, now)))


async def drafts_idle(ledger: Ledger, before: float) -> list[str]:
    """Return drafts not logged and not touched since `before`."""
    query = "SELECT draft FROM drafts WHERE job IS NULL AND touched < ? ORDER BY draft"
    return [str(row[0]) for row in await ledger.read(lambda db: db.execute(query, (before,)).fetchall())]


async def draft_count(ledger: Ledger) -> int:
    """Return how many drafts are open (not logged)."""
    query = "SELECT COUNT(*) FROM drafts WHERE job IS NULL"
    return int(await ledger.read(lambda db: db.execute(query).fetchone()[0]))


def _pin_values(row: PinRow) -> tuple[object, ...]:
    return (
        row.pin, row.draft, row.way, row.place, row.offset, row.start, row.size, row.dev, row.ino, row.mtime_ns,
        row.source, row.boot, row.synced, row.lost,
    )  # fmt: skip


def _touch_open(db: sqlite3.Connection, draft: str, now: float) -> None:
    row = db.execute("SELECT job FROM drafts WHERE draft = ?", (draft,)).fetchone()
    if row and row[0] is not None:
        raise Conflict(f"the draft {draft} was logged already", "what was logged does not change", "use a new artifact")
    db.execute(
        "INSERT INTO drafts (draft, touched) VALUES (?1, ?2) ON CONFLICT (draft) DO UPDATE SET touched = ?2",
        (draft, now),
    )


def _meet(db: sqlite3.Connection, file: FileRow, pin: PinRow | None, overwrite: bool) -> tuple[str, int | None]:
    """Decide about one entry: ("new" | "keep" | "replace", the old pin)."""
    row = db.execute(
        "SELECT f.type, f.target, f.pin, p.source, p.dev, p.ino, p.size, p.mtime_ns, p.lost, f.mode FROM files f "
        "LEFT JOIN pins p ON p.pin = f.pin WHERE f.draft = ? AND f.name = ?",
        (file.draft, file.name),
    ).fetchone()
    if row is None:
        return "new", None
    kind, target, old, source, *facts, lost, mode = row
    if kind == file.type and (kind != "file" or mode == file.mode):
        same_source = pin is not None and facts == [pin.dev, pin.ino, pin.size, pin.mtime_ns] and not lost
        if kind == "dir" or (kind == "symlink" and target == file.target) or same_source:
            return "keep", None
    if not overwrite:
        raise _taken(file.name, source, pin.source if pin else None)
    return "replace", old


def _taken(name: bytes, before: bytes | None, now: bytes | None) -> Conflict:
    """Return the error for a name given twice; None for an entry that is no file."""
    what = f"{printable(name)!r} is in the artifact already"
    if before is not None and before == now:
        return Conflict(what, f"{printable(now)} has changed since it was added", "log it again, as the next version")
    first, second = ("a link or a directory" if path is None else printable(path) for path in (before, now))
    return Conflict(
        what, f"it was added from {first}, and now from {second}", "rename one, or store each as an artifact of its own"
    )


def _refuse_mixed(db: sqlite3.Connection, draft: str, files: Sequence[FileRow]) -> None:
    """Refuse a name that is a file here and a directory there."""
    parents: set[bytes] = set()
    for file in files:
        parent = file.name.rpartition(b"/")[0]
        while parent and parent not in parents:
            parents.add(parent)
            parent = parent.rpartition(b"/")[0]
        if file.type != "dir":
            below = db.execute(
                "SELECT name FROM files WHERE draft = ? AND name > ? AND name < ? LIMIT 1",
                (draft, file.name + b"/", file.name + b"0"),
            ).fetchone()
            if below:
                raise _mixed(file.name, below[0])
    for parent in parents:
        query = "SELECT 1 FROM files WHERE draft = ? AND name = ? AND type != 'dir'"
        if db.execute(query, (draft, parent)).fetchone():
            raise _mixed(parent, parent + b"/...")


def _mixed(file: bytes, below: bytes) -> Conflict:
    return Conflict(
        f"{printable(file)!r} would be both a file and a directory",
        f"the artifact holds {printable(below)!r} as well",
        "choose another name",
    )
