"""Which directories are watched, and which of their sub-directories became versions already."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from syncd.journal.core import Ledger


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One watched directory (absolute path) and what its sub-directories become; `settle` in seconds."""

    directory: bytes
    name: str
    type: str
    project: str
    settle: float
    done_marker: str
    created: float


@dataclass(frozen=True, slots=True)
class TakenRow:
    """One sub-directory (`path`: its name) as it was when it became a job. `proof`: marker, leases or unproven."""

    directory: bytes
    path: bytes
    signature: bytes
    job: str
    proof: str
    at: float


class Watches:
    """The verbs on both tables."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def all(self) -> list[WatchRow]:
        """Every watch, oldest first."""

        def act(connection: sqlite3.Connection) -> list[WatchRow]:
            return [WatchRow(*row) for row in connection.execute(_ALL_WATCHES)]

        return await self._ledger.read(act)

    async def add(self, row: WatchRow) -> None:
        """Keep a watch, durably; the directory must not be watched yet."""

        def act(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO watches VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.directory, row.name, row.type, row.project, row.settle, row.done_marker, row.created),
            )

        await self._ledger.write(act, durable=True)

    async def remove(self, directory: bytes) -> None:
        """Forget a watch, durably. What it took stays on record: watched again, it is not taken twice."""

        def act(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM watches WHERE directory = ?", (directory,))

        await self._ledger.write(act, durable=True)

    async def taken(self, directory: bytes) -> list[TakenRow]:
        """Everything ever taken from a directory, oldest first."""

        def act(connection: sqlite3.Connection) -> list[TakenRow]:
            return [TakenRow(*row) for row in connection.execute(_TAKEN, (directory,))]

        return await self._ledger.read(act)

    async def note_taken(self, row: TakenRow) -> None:
        """Record that a sub-directory became a job; one that looks as it did before replaces its older row."""

        def act(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?)",
                (row.directory, row.path, row.signature, row.job, row.proof, row.at),
            )

        await self._ledger.write(act)


_ALL_WATCHES = """
SELECT directory, name, type, project, settle, done_marker, created FROM watches ORDER BY created, directory
"""
_TAKEN = """
SELECT directory, path, signature, job, proof, at FROM taken WHERE directory = ? ORDER BY at, path
"""
