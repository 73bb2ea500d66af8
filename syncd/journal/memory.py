"""Log entries this node has seen, and facts about it by name.

Replay needs no fetch, and a log that got shorter or was rewritten is found out. Entries are merely ordered: losing them
costs fetching them again. Facts (this node's id, which repository is at a remote) are durable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from syncd.journal.core import Ledger


class JournalMemory:
    """The verbs; what `syncd.repo` asks for as its Memory."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def seen(self, repo: str, log: str) -> list[bytes]:
        """Return the stored bytes of every entry of a log this node has seen, in slot order from 0."""

        def act(connection: sqlite3.Connection) -> list[bytes]:
            query = "SELECT slot, body FROM logs WHERE repo=? AND log=? ORDER BY slot"
            rows = connection.execute(query, (repo, log)).fetchall()
            return [body for place, (slot, body) in enumerate(rows) if slot == place]

        return await self._ledger.read(act)

    async def first_seen(self, repo: str, log: str) -> bytes | None:
        """Return the stored bytes of a log's first entry, None where this node has not seen it."""
        query = "SELECT body FROM logs WHERE repo=? AND log=? AND slot=0"
        row = await self._ledger.read(lambda connection: connection.execute(query, (repo, log)).fetchone())
        return bytes(row[0]) if row else None

    async def remember(self, repo: str, log: str, first: int, bodies: Sequence[bytes]) -> None:
        """Note entries just read, in the slots from `first` on."""

        def act(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR IGNORE INTO logs (repo, log, slot, body) VALUES (?,?,?,?)",
                [(repo, log, first + place, body) for place, body in enumerate(bodies)],
            )

        if bodies:
            await self._ledger.write(act)

    async def fact(self, name: str) -> str:
        """Return a fact, "" when it was never noted."""

        def act(connection: sqlite3.Connection) -> str:
            row = connection.execute("SELECT value FROM meta WHERE key=?", (name,)).fetchone()
            return str(row[0]) if row else ""

        return await self._ledger.read(act)

    async def note_fact(self, name: str, value: str) -> str:
        """Note a fact durably unless it is there already; return what is noted now."""

        def act(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?,?)", (name, value))
            return str(connection.execute("SELECT value FROM meta WHERE key=?", (name,)).fetchone()[0])

        return await self._ledger.write(act, durable=True)

    async def change_fact(self, name: str, value: str) -> None:
        """Note a fact in place of what was noted before; "" forgets it. A crash may lose the newest change."""

        def act(connection: sqlite3.Connection) -> None:
            if value:
                connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))
            else:
                connection.execute("DELETE FROM meta WHERE key=?", (name,))

        await self._ledger.write(act)
