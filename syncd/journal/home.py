"""Which directory this journal lives in: so that a copy of it is known for one.

A copied state directory (a template, a backup) bears the ids of the original, whose daemon may live. What the ids own
is the original's: temporary files in the remote by the node's id, pinned bytes by the spool's id. A copy gets ids of
its own and touches neither. A state directory that is renamed stays the same directory.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from syncd.journal.core import Ledger

COPIED = "the state directory was copied or moved to another disk: what was pinned belongs to the original"


@dataclass(frozen=True, slots=True)
class Home:
    """A directory as the kernel knows it. `dev` may change with a boot, so it counts within one only."""

    dev: int
    ino: int
    boot: str

    def same(self, other: Home) -> bool:
        """Whether both are one directory."""
        return self.ino == other.ino and (self.boot != other.boot or self.dev == other.dev)


async def settle(ledger: Ledger, home: Home, node: str) -> tuple[str, bool]:
    """Note where the journal is, durably; return this node's id, and whether the journal turned out to be a copy.

    `node` becomes the id of a new journal and of a copy. In a copy every pin in a spool is lost and no spool is known.
    """

    def act(db: sqlite3.Connection) -> tuple[str, bool]:
        row = db.execute("SELECT value FROM meta WHERE key = 'home'").fetchone()
        copied = row is not None and not _read(row[0]).same(home)
        if copied:
            _disown(db, COPIED)
        verb = "REPLACE" if copied else "IGNORE"
        db.execute(f"INSERT OR {verb} INTO meta (key, value) VALUES ('node', ?)", (node,))
        told = f"{home.dev} {home.ino} {home.boot}"
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('home', ?)", (told,))
        return str(db.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()[0]), copied

    return await ledger.write(act, durable=True)


async def disown(ledger: Ledger, why: str) -> None:
    """Give up every spool, durably: they are somebody else's. Pins in them are lost; the next spool's id is new."""
    await ledger.write(lambda db: _disown(db, why), durable=True)


def _disown(db: sqlite3.Connection, why: str) -> None:
    db.execute("UPDATE pins SET lost = ? WHERE lost = '' AND way != 'none'", (why,))
    db.execute("DELETE FROM spools")
    db.execute("DELETE FROM meta WHERE key = 'spool_id'")


def _read(told: str) -> Home:
    dev, ino, boot = str(told).split(" ", 2)
    return Home(int(dev), int(ino), boot)
