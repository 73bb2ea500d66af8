"""Which versions a run has used through this daemon: the inputs of what it logs."""

from __future__ import annotations

import sqlite3

from syncd.journal.core import Ledger

INPUTS_KEPT = 10_000  # as many as a log entry takes


async def note_input(ledger: Ledger, project: str, run: str, used: str, now: float) -> None:
    """Note that a run used the version `used` ("project/name:vN"). Repeating it changes nothing."""

    def act(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR IGNORE INTO run_inputs VALUES (?,?,?,?)", (project, run, used, now))

    await ledger.write(act)


async def inputs(ledger: Ledger, project: str, run: str) -> tuple[str, ...]:
    """Return what a run has used so far, in the order of first use."""

    def act(connection: sqlite3.Connection) -> tuple[str, ...]:
        query = "SELECT input FROM run_inputs WHERE project=? AND run=? ORDER BY at, input LIMIT ?"
        return tuple(row[0] for row in connection.execute(query, (project, run, INPUTS_KEPT)))

    return await ledger.read(act)
