"""Bugs that were made before, here or elsewhere, put back: the simulation must find each of them.

Each is a context in which the product has the bug. The checker stands outside: it reads with the same classes, but no
mutant changes how slots, manifests and packs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from syncd.collect import survey
from syncd.collect.fence import Fencing
from syncd.collect.marks import Marks
from syncd.collect.survey import Root
from syncd.errors import RemoteUnavailable, SyncdError
from syncd.format.keys import manifest_key, slot_key
from syncd.format.log import LogEntry, encode_entry
from syncd.journal import jobs
from syncd.journal.jobs import JobRow, JobRows, UploadSpec
from syncd.model.buffer import Buffer
from syncd.repo.groups import Group
from syncd.repo.history import History
from syncd.repo.log import Log, Slot
from syncd.repo.registry import Registered
from syncd.store.retry import Retry
from syncd.upload import part
from syncd.upload.seen import Seen
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
        with suppress(RemoteUnavailable):
            await honest(store, key, parts)

    with patch.object(Retry, "put", put):
        yield


@contextmanager
def a_manifest_is_named_by_its_transaction_alone() -> Iterator[None]:
    """The put of an earlier life lands late and replaces the manifest that was committed (found by the simulation)."""

    def named(digest: bytes, txn: str, epoch: int = 0, body: bytes = b"") -> str:
        return manifest_key(digest, txn, epoch)

    with patch("syncd.upload.run.manifest_key", named):
        yield


@contextmanager
def collections_put_up_no_fences() -> Iterator[None]:
    """A collection condemns, looks again and deletes; what stalled writers refer to by then it cannot know (mc2)."""

    async def no_fence(fencing: Fencing, epoch: int, born: int, item: Registered, log: Log, history: History) -> None:
        if not await log.refresh():
            await honest(fencing, epoch, born, item, log, history)

    honest = Fencing._fence_artifact
    with patch.object(Fencing, "_fence_artifact", no_fence):
        yield


@contextmanager
def collections_look_only_once() -> Iterator[None]:
    """What is referred to between the plan and the fence is not rescued."""

    async def end(fencing: Fencing, epoch: int, marks: Marks, held: set[bytes]) -> None:
        await honest(fencing, epoch, Marks(), held)

    honest = Fencing.end
    with patch.object(Fencing, "end", end):
        yield


@contextmanager
def writers_know_what_was_condemned_for_ever() -> Iterator[None]:
    """A writer that has seen an epoch goes on to refer to what it condemned."""

    async def learn(seen: Seen) -> int:
        return await seen._epochs.refresh()

    with (
        patch.object(Seen, "learn", learn),
        patch.object(Seen, "usable", lambda seen, pack: True),
        patch.object(Seen, "condemned", lambda seen, packs: set()),
    ):
        yield


@contextmanager
def parts_of_open_groups_are_no_roots() -> Iterator[None]:
    """Collections keep what versions need, and take what ranks have contributed to groups that are open (mc4)."""

    def needed(history: History) -> Iterator[Root]:
        return (root for root in honest(history) if root.why != "open group")

    honest = survey.needed
    with patch.object(survey, "needed", needed):
        yield


@contextmanager
def the_union_is_of_the_group_as_it_was() -> Iterator[None]:
    """A rank looks at its group, merges, and appends without looking whether others have come meanwhile."""

    def fits(now: Group | None, before: Group | None, spec: UploadSpec, ranks: tuple[int, ...]) -> bool:
        return now is None or now.open

    with patch.object(part, "_fits", fits):
        yield


@dataclass(frozen=True)
class Caught:
    """How a bug shows: words of the law that it breaks (a pattern), and a seed near which it does."""

    law: str
    near: int = 0


_GONE = "need it|cannot be read"
MUTANTS: dict[Callable[[], Any], Caught] = {
    a_taken_slot_is_somebody_elses: Caught("twice", 9),
    transaction_ids_are_not_durable: Caught("under two ids", 40),
    a_put_without_an_answer_counts_as_stored: Caught("cannot be read", 9),
    a_manifest_is_named_by_its_transaction_alone: Caught("was overwritten with other bytes", 6),
    collections_put_up_no_fences: Caught(_GONE),
    collections_look_only_once: Caught(_GONE, 2),
    writers_know_what_was_condemned_for_ever: Caught(_GONE, 31),
    parts_of_open_groups_are_no_roots: Caught(_GONE, 2),
    the_union_is_of_the_group_as_it_was: Caught("is not the union|no end", 52),
}
