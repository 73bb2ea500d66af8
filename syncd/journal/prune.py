"""Forgetting jobs that ended long ago, with all rows that are theirs alone.

The newest stay by number and not by age, so that a clock that jumps a year ahead makes nobody forget anything: those
accepted last, and those that changed last, for who was accepted long ago may have ended just now. What still holds
pinned bytes is never forgotten, however old: a failed upload waits for a person.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from syncd.jobs.states import ENDED
from syncd.journal.core import Ledger

_ENDED = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(ENDED)))


@dataclass(frozen=True, slots=True)
class PruneRule:
    """Which ended jobs stay: the `newest` many to be accepted, and the `newest` many to change.

    `batch` jobs are forgotten in one transaction, so that others get their turn at the journal.
    """

    newest: int = 1000
    batch: int = 200


async def prune_jobs(ledger: Ledger, rule: PruneRule) -> int:
    """Forget at most one batch of ended jobs, the oldest first; return how many. Fewer than a batch: none is left."""
    return await ledger.write(lambda db: _prune(db, rule))


def _prune(db: sqlite3.Connection, rule: PruneRule) -> int:
    doomed = db.execute(
        f"SELECT job, draft FROM jobs WHERE {_ENDED}"
        f" AND job NOT IN (SELECT job FROM jobs WHERE {_ENDED} ORDER BY created DESC, job DESC LIMIT ?1)"
        f" AND job NOT IN (SELECT job FROM jobs WHERE {_ENDED} ORDER BY updated DESC, job DESC LIMIT ?1)"
        " AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.draft = jobs.draft) ORDER BY created, job LIMIT ?2",
        (rule.newest, rule.batch),
    ).fetchall()
    jobs = [(job,) for job, _ in doomed]
    drafts = [(draft,) for _, draft in doomed if draft is not None]
    for table in ("files", "chunks", "drafts"):
        db.executemany(f"DELETE FROM {table} WHERE draft = ?", drafts)
    for table in ("packs", "prepared", "jobs"):
        db.executemany(f"DELETE FROM {table} WHERE job = ?", jobs)
    return len(doomed)
