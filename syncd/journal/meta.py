"""Facts about this node by name: its id, the boot it last ran in, the repositories it knows."""

from __future__ import annotations

import sqlite3

from syncd.journal.core import Ledger


async def fact(ledger: Ledger, name: str) -> str:
    """Return a fact, "" when it was never noted."""

    def act(connection: sqlite3.Connection) -> str:
        row = connection.execute("SELECT value FROM meta WHERE key=?", (name,)).fetchone()
        return str(row[0]) if row else ""

    return await ledger.read(act)


async def note_fact(ledger: Ledger, name: str, value: str) -> str:
    """Note a fact durably unless it is there already; return what is noted now."""

    def act(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT OR IGNORE INTO meta VALUES (?,?)", (name, value))
        return str(connection.execute("SELECT value FROM meta WHERE key=?", (name,)).fetchone()[0])

    return await ledger.write(act, durable=True)
