"""Log entries this node has seen: replay needs no fetch, and a log that got shorter or forked is found out."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from syncd.journal.core import Ledger


@dataclass(frozen=True, slots=True)
class SeenSlot:
    """One entry as it was read: its slot, the hash of its bytes (32), the bytes."""

    slot: int
    hash: bytes
    body: bytes


async def seen_slots(ledger: Ledger, repo: str, log: str) -> list[SeenSlot]:
    """Return every entry of `log` this node has seen, in slot order."""

    def act(connection: sqlite3.Connection) -> list[SeenSlot]:
        rows = connection.execute(
            "SELECT slot, hash, body FROM logs WHERE repo=? AND log=? ORDER BY slot", (repo, log)
        ).fetchall()
        return [SeenSlot(*row) for row in rows]

    return await ledger.read(act)


async def remember_slots(ledger: Ledger, repo: str, log: str, slots: Sequence[SeenSlot]) -> None:
    """Note entries just read. Losing them costs a fetch, so this is not durable."""

    def act(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT OR IGNORE INTO logs (repo, log, slot, hash, body) VALUES (?,?,?,?,?)",
            [(repo, log, slot.slot, slot.hash, slot.body) for slot in slots],
        )

    if slots:
        await ledger.write(act)
