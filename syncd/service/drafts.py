"""Verbs that take work in: add to a draft, log it, restore a version; and the drafts nobody comes back for."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Callable

from msgspec.structs import asdict
from msgspec.structs import replace as with_changes

from syncd.clock import Clock
from syncd.engine import Engine
from syncd.errors import Conflict, InvalidInput, NotFound, SyncdError
from syncd.events import Bus, JobChanged
from syncd.format.keys import artifact_log
from syncd.format.log import Create, decode_entry
from syncd.jobs.states import Kind, State
from syncd.journal.core import Ledger
from syncd.journal.jobs import DownloadSpec, JobRow, JobRows, RankFacts, RunFacts, UploadSpec
from syncd.journal.memory import JournalMemory
from syncd.journal.runs import inputs
from syncd.lanes import Lane
from syncd.model import names
from syncd.model.views import ReceiptView, VersionView
from syncd.pin.errands import Errands
from syncd.pin.pins import Pins
from syncd.repo.memory import repository_at
from syncd.service.holders import lives, stamp
from syncd.upload.commit import check_spec
from syncd.upload.part import check_group

log = logging.getLogger(__name__)

JANITOR_SECONDS = 30.0
_DROPPED_KEPT = 1000


class DraftVerbs:
    """What can be handed to the daemon.

    Args:
        ledger, engine: where jobs are promised and run.
        pins: holds what was added.
        remote: the remote's URL, noted in each job.
        transaction: makes a fresh transaction id.
        keep_seconds: how long a draft lives after its client is gone.
        lane: where a file system is asked that may not answer.
    """

    def __init__(
        self, ledger: Ledger, engine: Engine, pins: Pins, bus: Bus, clock: Clock, remote: str,
        transaction: Callable[[], str], keep_seconds: float, lane: Lane,
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._rows = JobRows(ledger)
        self._memory = JournalMemory(ledger)
        self._engine = engine
        self._pins = pins
        self._bus = bus
        self._clock = clock
        self._remote = remote
        self._transaction = transaction
        self._keep_seconds = keep_seconds
        self._lane = lane
        self._clients: Counter[int] = Counter()
        self._held: dict[str, set[int]] = {}
        self._noted: set[str] = set()
        self._promises = Errands()
        self._dropped: deque[str] = deque(maxlen=_DROPPED_KEPT)

    async def add_file(
        self, draft: str, path: bytes, name: bytes, *, dev: int, ino: int, size: int, policy: str, overwrite: bool
    ) -> ReceiptView:
        """Pin one file; see Pins.add_file."""
        await self._open_draft(draft)
        receipt = await self._pins.add_file(
            draft, path, name, dev=dev, ino=ino, size=size, policy=policy, overwrite=overwrite
        )
        await self._note_holder(draft)
        return receipt

    async def add_dir(
        self, draft: str, path: bytes, prefix: bytes, *, dev: int, ino: int, policy: str, merge: bool
    ) -> ReceiptView:
        """Pin everything below a directory; see Pins.add_dir."""
        await self._open_draft(draft)
        receipt = await self._pins.add_dir(draft, path, prefix, dev=dev, ino=ino, policy=policy, merge=merge)
        await self._note_holder(draft)
        return receipt

    async def drop(self, draft: str) -> None:
        """Forget a draft and its pins; one that was logged, or never was, stays as it is."""
        if await self._rows.of_draft(draft) is None:
            await self._pins.drop(draft)

    async def log(
        self, draft: str, key: names.ArtifactKey, type_: str, *, description: str, metadata: dict[str, object],
        aliases: list[str], tags: list[str], run: RunFacts | None, empty: bool, check_type: bool = False,
        ranks: RankFacts | None = None,
    ) -> JobRow:  # fmt: skip
        """Promise to upload a draft: durable on return. Repeating it for the same draft returns the same job.

        Args:
            empty: the caller added nothing on purpose; otherwise a draft that is not there is an error.
            ranks: it is one rank's part of a version.
            check_type: somebody waits who can act, so that another type than this node knows is refused now; otherwise
                the job fails, keeps its pins and is seen.

        Raises:
            InvalidInput: a word that may not be used, or more than a log entry holds.
            Conflict: as `check_type` says.
            NotFound: the draft was dropped meanwhile.
        """
        before = await self._rows.of_draft(_draft_id(draft))
        if before is not None:
            return before
        names.check_project(key.project)
        names.check_name(key.name)
        artifact_log(key)  # a project that no key can hold is refused now, not when everything has been sent
        names.check_type(type_)
        names.check_metadata(metadata)
        if check_type:
            await self.check_type(key, type_)
        given = tuple(dict.fromkeys(names.check_alias(alias) for alias in aliases))
        if empty:
            await self._pins.begin(draft)
        txn = self._transaction()
        now = self._clock.now()
        spec = UploadSpec(
            txn=txn, type=type_, description=description, metadata=metadata, aliases=given,
            tags=tuple(dict.fromkeys(names.check_tag(tag) for tag in tags)), run=run,
            inputs=await inputs(self._ledger, run.project, run.id) if run else (),
        )  # fmt: skip
        if ranks is not None:
            spec = with_changes(spec, **asdict(ranks))
            check_group(spec)
        check_spec(spec)
        return await self._promise(
            JobRow(txn, Kind.UPLOAD, State.ACCEPTED, self._remote, draft, key.project, key.name, spec, now, now)
        )

    async def get(self, version: VersionView, ref: str, root: bytes) -> JobRow:
        """Promise to restore a version below a directory."""
        names.check_absolute(root)
        root = await self._lane.run(os.path.realpath, root)  # one directory, one name: downloads into it take turns
        txn = self._transaction()
        now = self._clock.now()
        spec = DownloadSpec(txn, ref, version.version, root, version.files, version.size)
        return await self._promise(
            JobRow(
                txn, Kind.DOWNLOAD, State.ACCEPTED, self._remote, None, version.project, version.name, spec, now, now
            )
        )

    def arrived(self, process: int) -> None:
        """A client of this process (its pid) is connected."""
        self._clients[process] += 1

    def hold(self, draft: str, process: int) -> None:
        """That process works on the draft: it is not dropped while any client of it is connected."""
        self._held.setdefault(draft, set()).add(process)

    async def left(self, process: int, by_itself: bool = True) -> None:
        """One client of the process is gone; with the last of them the time of its drafts begins to run.

        Not `by_itself`: because the daemon stops. Then the process is expected to come back to the next one.
        """
        self._clients[process] -= 1
        if self._clients[process] > 0:
            return
        del self._clients[process]
        for holders in self._held.values():
            holders.discard(process)
        for draft in [draft for draft, holders in self._held.items() if not holders]:
            del self._held[draft]
            self._noted.discard(draft)
            await self._touch(draft)
            if by_itself:
                await self._note(draft, "")

    async def run_janitor(self) -> None:
        """Drop drafts whose clients are gone for too long, until cancelled.

        After a restart their time begins anew, and does not pass while the process that worked on one lives: it may
        not have had a reason to come back yet.
        """
        for draft in await self._idle(-1.0):
            await self._touch(draft)
        while True:
            await self._clock.sleep(min(JANITOR_SECONDS, self._keep_seconds))
            for draft in await self._idle(self._keep_seconds):
                if draft not in self._held and not lives(await self._pins.holder(draft)):
                    self._dropped.append(draft)  # before the deed: what is added meanwhile must not begin it anew
                    await self._let_drop(draft)

    async def check_type(self, key: names.ArtifactKey, type_: str) -> None:
        """Raise Conflict where what this node has read of the artifact's log says another type.

        The remote is not asked, for the caller waits: what this node has not read yet the upload finds out.
        """
        repo = await self._memory.fact(repository_at(self._remote))
        first = await self._memory.first_seen(repo, artifact_log(key)) if repo else None
        try:
            entry = decode_entry(first) if first else None
        except SyncdError:  # what the journal holds of it is damaged: the log itself will tell
            return
        if isinstance(entry, Create) and entry.type != type_:
            raise Conflict(
                f"Artifact {key} already exists with type '{entry.type}'; cannot create another with type '{type_}'",
                "a name has one type for ever",
                f"log it with type '{entry.type}' or under another name",
            )

    async def _promise(self, row: JobRow) -> JobRow:
        """Journal a job and have it run, to the end though the caller goes away: no job is in the journal alone."""
        return await asyncio.shield(self._promises.start(self._accept(row)))

    async def _accept(self, row: JobRow) -> JobRow:
        accepted = await self._rows.accept(row)
        self._engine.submit(accepted.job)
        self._bus.publish(JobChanged(accepted.job))
        return accepted

    async def _idle(self, seconds: float) -> list[str]:
        try:
            return await self._pins.drafts_idle(self._clock.now() - seconds)
        except SyncdError as error:  # of the journal; it may work again at the next look
            log.warning("cannot look for abandoned drafts: %s", error)
            return []

    async def _let_drop(self, draft: str) -> None:
        try:
            await self._pins.drop(draft)
        except SyncdError as error:
            log.warning("cannot drop the abandoned draft %s yet: %s", draft, error)

    async def _note_holder(self, draft: str) -> None:
        if draft in self._held and draft not in self._noted:
            self._noted.add(draft)
            await self._note(draft, stamp(min(self._held[draft])))

    async def _note(self, draft: str, holder: str) -> None:
        try:
            await self._pins.note_holder(draft, holder)
        except SyncdError as error:
            log.warning("cannot note who works on draft %s: %s", draft, error)

    async def _touch(self, draft: str) -> None:
        try:
            await self._pins.touch(draft)
        except SyncdError as error:
            log.warning("cannot note when the client of draft %s left: %s", draft, error)

    async def _open_draft(self, draft: str) -> None:
        if await self._rows.of_draft(_draft_id(draft)) is not None:
            raise NotFound(f"draft {draft} was logged", "a logged artifact does not change", "begin a new one")
        if draft in self._dropped:
            raise NotFound(f"draft {draft} was dropped", "its client was gone for too long", "add all files again")


def _draft_id(draft: str) -> str:
    if not draft or len(draft) > 64 or not draft.isalnum() or not draft.isascii():
        raise InvalidInput(f"invalid draft id: {draft[:80]!r}", "it is 1 to 64 letters and digits, best random")
    return draft
