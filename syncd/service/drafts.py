"""Verbs that take work in: add to a draft, log it, restore a version; and the drafts nobody comes back for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from syncd.clock import Clock
from syncd.engine import Engine
from syncd.errors import InvalidInput, NotFound
from syncd.events import Bus, JobChanged
from syncd.jobs.states import Kind, State
from syncd.journal.jobs import DownloadSpec, JobRow, JobRows, RunFacts, UploadSpec
from syncd.model import names
from syncd.model.views import ReceiptView, VersionView
from syncd.pin.pins import Pins

JANITOR_SECONDS = 30.0


class DraftVerbs:
    """What can be handed to the daemon.

    Args:
        rows, engine: where jobs are promised and run.
        pins: holds what was added.
        remote: the remote's URL, noted in each job.
        transaction: makes a fresh transaction id.
        keep_seconds: how long a draft lives after its client is gone.
    """

    def __init__(
        self, rows: JobRows, engine: Engine, pins: Pins, bus: Bus, clock: Clock, remote: str,
        transaction: Callable[[], str], keep_seconds: float,
    ) -> None:  # fmt: skip
        self._rows = rows
        self._engine = engine
        self._pins = pins
        self._bus = bus
        self._clock = clock
        self._remote = remote
        self._transaction = transaction
        self._keep_seconds = keep_seconds
        self._held: Counter[str] = Counter()

    async def add_file(
        self, draft: str, path: bytes, name: bytes, *, dev: int, ino: int, size: int, policy: str, overwrite: bool
    ) -> ReceiptView:
        """Pin one file; see Pins.add_file."""
        await self._open_draft(draft)
        _check_absolute(path)
        names.check_entry_path(name)
        return await self._pins.add_file(
            draft, path, name, dev=dev, ino=ino, size=size, policy=_policy(policy), overwrite=overwrite
        )

    async def add_dir(
        self, draft: str, path: bytes, prefix: bytes, *, dev: int, ino: int, policy: str, merge: bool
    ) -> ReceiptView:
        """Pin everything below a directory; see Pins.add_dir."""
        await self._open_draft(draft)
        _check_absolute(path)
        if prefix:
            names.check_entry_path(prefix)
        return await self._pins.add_dir(draft, path, prefix, dev=dev, ino=ino, policy=_policy(policy), merge=merge)

    async def drop(self, draft: str) -> None:
        """Forget a draft and its pins; one that was logged, or never was, stays as it is."""
        if await self._rows.of_draft(draft) is None:
            await self._pins.drop(draft)

    async def log(
        self, draft: str, key: names.ArtifactKey, type_: str, *, description: str, metadata: dict[str, object],
        aliases: list[str], tags: list[str], run: RunFacts | None, empty: bool,
    ) -> JobRow:  # fmt: skip
        """Promise to upload a draft: durable on return. Repeating it for the same draft returns the same job.

        Args:
            empty: the caller added nothing on purpose; otherwise a draft that is not there is an error.

        Raises:
            InvalidInput: a word that may not be used.
            NotFound: the draft was dropped meanwhile.
        """
        before = await self._rows.of_draft(_draft_id(draft))
        if before is not None:
            return before
        names.check_project(key.project)
        names.check_name(key.name)
        names.check_type(type_)
        names.check_metadata(metadata)
        given = tuple(dict.fromkeys(names.check_alias(alias) for alias in aliases))
        if empty:
            await self._pins.begin(draft)
        files, size, _ = await self._pins.totals(draft)
        txn = self._transaction()
        now = self._clock.now()
        spec = UploadSpec(
            txn=txn, type=type_, description=description, metadata=metadata, aliases=given,
            tags=tuple(dict.fromkeys(names.check_tag(tag) for tag in tags)), run=run, files=files, bytes=size,
            ways=await self._pins.ways(draft),
        )  # fmt: skip
        row = await self._rows.accept(
            JobRow(txn, Kind.UPLOAD, State.ACCEPTED, self._remote, draft, key.project, key.name, spec, now, now)
        )
        self._engine.submit(row.job)
        self._bus.publish(JobChanged(row.job))
        return row

    async def get(self, version: VersionView, ref: str, root: bytes) -> JobRow:
        """Promise to restore a version below a directory."""
        _check_absolute(root)
        txn = self._transaction()
        now = self._clock.now()
        spec = DownloadSpec(txn, ref, version.version, root, version.files, version.size)
        row = await self._rows.accept(
            JobRow(
                txn, Kind.DOWNLOAD, State.ACCEPTED, self._remote, None, version.project, version.name, spec, now, now
            )
        )
        self._engine.submit(row.job)
        return row

    def hold(self, draft: str) -> None:
        """A client that works on the draft is connected: it is not dropped meanwhile."""
        self._held[draft] += 1

    async def let_go(self, draft: str) -> None:
        """That client is gone; from now on the draft's time runs."""
        self._held[draft] -= 1
        if self._held[draft] <= 0:
            del self._held[draft]
            await self._pins.touch(draft)

    async def run_janitor(self) -> None:
        """Drop drafts whose clients are gone for too long, until cancelled. After a restart their time begins anew."""
        for draft in await self._pins.drafts_idle(self._clock.now() + 1):
            await self._pins.touch(draft)
        while True:
            await self._clock.sleep(min(JANITOR_SECONDS, self._keep_seconds))
            for draft in await self._pins.drafts_idle(self._clock.now() - self._keep_seconds):
                if draft not in self._held:
                    await self._pins.drop(draft)

    async def _open_draft(self, draft: str) -> None:
        if await self._rows.of_draft(_draft_id(draft)) is not None:
            raise NotFound(f"draft {draft} was logged", "a logged artifact does not change", "begin a new one")


def _draft_id(draft: str) -> str:
    if not draft or len(draft) > 64 or not draft.isalnum() or not draft.isascii():
        raise InvalidInput(f"invalid draft id: {draft[:80]!r}", "it is 1 to 64 letters and digits, best random")
    return draft


def _policy(policy: str) -> str:
    if policy not in ("mutable", "immutable"):
        raise InvalidInput(f"invalid policy: {policy!r}", 'it is "mutable" or "immutable"')
    return policy


def _check_absolute(path: bytes) -> None:
    if not path.startswith(b"/") or b"\x00" in path:
        raise InvalidInput(f"not an absolute path: {names.printable(path)!r}", "the daemon has its own directory")
