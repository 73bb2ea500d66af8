"""Forgetting jobs that ended long ago, with all rows that are theirs alone.

Which they are is decided by times that the journal itself holds, never by what a clock says now: a clock that jumps a
year ahead makes nobody forget anything. What still holds pinned bytes is never forgotten, however old: a failed upload
waits for a person.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from syncd.jobs.states import ENDED
from syncd.journal.core import Ledger

_ENDED = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ENDED)))


@dataclass(frozen=True, slots=True)
class PruneRule:
    """Which ended jobs stay: the `newest` many, of them those that ended within `seconds` of the last change of any.

    `batch` jobs are forgotten in one transaction, so that others get their turn at the journal.
    """

    newest: int = 1000
    seconds: float = 30 * 86400.0
    batch: int = 200


async def prune_jobs(ledger: Ledger, rule: PruneRule) -> int:
    """Forget at most one batch of ended jobs, the oldest first; return how many. Fewer than a batch: none is left."""
    return await ledger.write(lambda db: _prune(db, rule))


def _prune(db: sqlite3.Connection, rule: PruneRule) -> int:
    last = db.execute("SELECT max(updated) FROM jobs").fetchone()[0]
    if last is None:
        return 0
    # The newest of those beyond the count: it and all before it go.
    beyond = db.execute(
        f"SELECT updated, job FROM jobs WHERE {_ENDED} ORDER BY updated DESC, job DESC LIMIT 1 OFFSET ?", (rule.newest,)
    ).fetchone()
    doomed = db.execute(
        f"SELECT job, draft FROM jobs WHERE {_ENDED} AND (updated < ? OR (updated, job) <= (?, ?))"
        " AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.draft = jobs.draft) ORDER BY updated, job LIMIT ?",
        (last - rule.seconds, *(beyond or (-1.0, "")), rule.batch),
    ).fetchall()
    jobs = [(job,) for job, _ in doomed]
    drafts = [(draft,) for _, draft in doomed if draft is not None]
    for table in ("files", "chunks", "drafts"):
        db.executemany(f"DELETE FROM {table} WHERE draft = ?", drafts)
    for table in ("packs", "prepared", "jobs"):
        db.executemany(f"DELETE FROM {table} WHERE job = ?", jobs)
    return len(doomed)
