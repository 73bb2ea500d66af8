"""Bugs that were made before, here or elsewhere, put back: the simulation must find each of them.

Each is a context in which the product has the bug. The checker stands outside: it reads with the same classes, but no
mutant changes how slots, manifests and packs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from syncd.errors import RemoteUnavailable, SyncdError
from syncd.format.keys import manifest_key, slot_key
from syncd.format.log import LogEntry, encode_entry
from syncd.journal import jobs
from syncd.journal.jobs import JobRow, JobRows, UploadSpec
from syncd.model.buffer import Buffer
from syncd.repo.log import Log, Slot
from syncd.store.retry import Retry
from tests.sim.checker import AGAIN


@contextmanager
def a_taken_slot_is_somebody_elses() -> Iterator[None]:
    """An unclear answer, and the slot is taken: by somebody else, so on to the next (models: mc1)."""

    async def append(log: Log, txn: str, build: Callable[[list[Slot], bytes], LogEntry | None]) -> Slot | None:
        async with log._turn:
            await log._tail()
            if txn in log._by_txn:
                return log._by_txn[txn]
            while (entry := build(log.slots, log._head_hash())) is not None:
                try:
                    await log._store.create(slot_key(log.name, len(log.slots)), encode_entry(entry))
                except SyncdError:
                    await log._tail()
                    continue
                await log._tail()
                return log._by_txn[txn]
            return None

    with patch.object(Log, "append", append):
        yield


@contextmanager
def transaction_ids_are_not_durable() -> Iterator[None]:
    """After a crash the job goes on under a new id (law L3)."""
    honest = JobRows.open_jobs

    async def open_jobs(rows: JobRows) -> list[JobRow]:
        found = await honest(rows)
        for row in found:
            assert isinstance(row.spec, UploadSpec)
            if not row.spec.txn.endswith(AGAIN):
                spec = jobs._pack(replace(row.spec, txn=row.spec.txn + AGAIN))
                job = row.job
                await rows._ledger.write(
                    lambda db, spec=spec, job=job: (  # type: ignore[misc]
                        db.execute("UPDATE jobs SET spec = ? WHERE job = ?", (spec, job)),
                        db.execute("DELETE FROM prepared WHERE job = ?", (job,)),
                    )
                )
        return await honest(rows)

    with patch.object(JobRows, "open_jobs", open_jobs):
        yield


@contextmanager
def a_put_without_an_answer_counts_as_stored() -> Iterator[None]:
    """Packs and manifests are believed durable though nobody said so (law L1)."""
    honest = Retry.put

    async def put(store: Retry, key: str, parts: Sequence[Buffer]) -> None:
        try:
            await honest(store, key, parts)
        except RemoteUnavailable:
            pass

    with patch.object(Retry, "put", put):
        yield


@contextmanager
def a_manifest_is_named_by_its_transaction_alone() -> Iterator[None]:
    """The put of an earlier life lands late and replaces the manifest that was committed (found by the simulation)."""

    def named(digest: bytes, txn: str, epoch: int = 0, body: bytes = b"") -> str:
        return manifest_key(digest, txn, epoch)

    with patch("syncd.upload.run.manifest_key", named):
        yield


MUTANTS: tuple[Callable[[], Any], ...] = (
    a_taken_slot_is_somebody_elses,
    transaction_ids_are_not_durable,
    a_put_without_an_answer_counts_as_stored,
    a_manifest_is_named_by_its_transaction_alone,
)
