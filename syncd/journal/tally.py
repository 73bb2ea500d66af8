"""What a draft holds, counted inside a transaction: whoever accepts a draft must count what it then holds, no less."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """Files, their bytes, entries of any type, and how many pins there are per way."""

    files: int
    bytes: int
    entries: int
    ways: dict[str, int] = field(default_factory=dict)


def tally(db: sqlite3.Connection, draft: str) -> Tally:
    """Return what the draft holds at this moment of the caller's transaction."""
    query = "SELECT COALESCE(SUM(type = 'file'), 0), COALESCE(SUM(size), 0), COUNT(*) FROM files WHERE draft = ?"
    files, size, entries = db.execute(query, (draft,)).fetchone()
    ways = db.execute("SELECT way, COUNT(*) FROM pins WHERE draft = ? GROUP BY way", (draft,)).fetchall()
    return Tally(files, size, entries, dict(ways))
