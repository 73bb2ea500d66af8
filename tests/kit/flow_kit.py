"""One node without a daemon: real journal, repository and flows on a store of the test's choice; files in memory."""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncd.budget import Budget
from syncd.disk import Disk
from syncd.download.run import Downloads
from syncd.errors import SourceLost
from syncd.format.chunker import load
from syncd.jobs.states import Kind, State
from syncd.journal.core import Journal, open_journal
from syncd.journal.jobs import DownloadSpec, JobResult, JobRow, UploadSpec
from syncd.journal.memory import JournalMemory
from syncd.journal.pins import FileRow
from syncd.lanes import Lane, new_lock
from syncd.meter import Meter
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.repository import Repository
from syncd.store.base import Store
from syncd.upload.parts import UploadParams
from syncd.upload.run import Uploads
from tests.kit.repo_kit import InstantClock, open_repository

SMALL = UploadParams(window=8 << 10, pack_target=16 << 10, sends=3)
MEMORY = 256 << 10
_TXNS = (f"txn-{number}" for number in itertools.count())

Files = dict[bytes, bytes | str | None]
"""Name -> bytes of a file, target of a link, None for an empty directory."""


class Source:
    """What uploads read instead of pins: files in memory, and what was asked of them."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.pins = dict(enumerate(sorted(files), 1))
        self.lost: set[bytes] = set()
        self.read: list[tuple[bytes, int, int]] = []
        self.advanced: dict[bytes, int] = {}

    async def entries(self, draft: str, after: bytes = b"", limit: int = 1000) -> list[FileRow]:
        names = list(self.pins.values())
        first = bisect.bisect_right(names, after)
        return [self._row(draft, name, pin) for pin, name in enumerate(names[first : first + limit], first + 1)]

    def reader(self, pin: int) -> _Reader:
        return _Reader(self, self.pins[pin])

    def advance(self, pin: int, offset: int) -> None:
        name = self.pins[pin]
        self.advanced[name] = max(self.advanced.get(name, 0), offset)

    @staticmethod
    def _row_of(content: bytes | str | None) -> tuple[str, int, bytes]:
        if content is None:
            return "dir", 0, b""
        return ("symlink", 0, content.encode()) if isinstance(content, str) else ("file", len(content), b"")

    def _row(self, draft: str, name: bytes, pin: int) -> FileRow:
        kind, size, target = self._row_of(self.files[name])
        mode = 0o755 if kind == "dir" else 0o640
        return FileRow(draft, name, kind, mode, size, target, pin if kind == "file" else None)


class _Reader:
    def __init__(self, source: Source, name: bytes) -> None:
        self._source = source
        self._name = name

    def read_at(self, offset: int, view: memoryview) -> int:
        if self._name in self._source.lost:
            raise SourceLost(f"the logged bytes of {self._name!r} are lost")
        content = self._source.files[self._name]
        assert isinstance(content, bytes)
        piece = content[offset : offset + len(view)]
        view[: len(piece)] = piece
        self._source.read.append((self._name, offset, len(piece)))
        return len(piece)

    def close(self) -> None:
        pass


@dataclass
class Count:
    """A Progress that adds up."""

    bytes: int = 0
    sent: int = 0
    files: int = 0

    def read(self, size: int) -> None:
        self.bytes += size

    def stored(self, size: int) -> None:
        self.sent += size

    def file_done(self) -> None:
        self.files += 1


@dataclass
class Node:
    """One node; `params` may be changed before an upload."""

    store: Store
    repository: Repository
    journal: Journal
    lane: Lane
    clock: InstantClock
    params: UploadParams = SMALL
    name: str = "node"
    budget: Budget = field(default_factory=lambda: Budget(MEMORY))
    warnings: list[str] = field(default_factory=list)
    meter: Meter = field(default_factory=lambda: Meter(new_lock()))

    def uploads(self, source: Source) -> Uploads:
        return Uploads(
            self.repository, self.journal, source, self.lane, load(), self.params, self.budget, self.clock, self.name,  # type: ignore[arg-type]
            self.meter,
        )  # fmt: skip

    async def upload(
        self, files: Files | Source, name: str = "data", *, txn: str = "", type_: str = "dataset",
        progress: Count | None = None, **spec: Any,
    ) -> JobResult:  # fmt: skip
        """Store and commit files as the engine does, without trying again; the same `txn` is the same job."""
        source = files if isinstance(files, Source) else Source(files)
        spec.setdefault("files", sum(isinstance(content, bytes) for content in source.files.values()))
        row = upload_job(txn or next(_TXNS), name, type_, **spec)
        assert isinstance(row.spec, UploadSpec)
        uploads = self.uploads(source)
        self.warnings = await uploads.store(row, row.spec, progress or Count())
        return await uploads.commit(row, row.spec, progress or Count())

    async def download(
        self, root: Path, name: str = "data", version: int = 0, *, job: str = "job", progress: Count | None = None,
        disk: Disk | None = None, reads: int = 6,
    ) -> JobResult:  # fmt: skip
        spec = DownloadSpec("t", "latest", version, os.fsencode(root))
        row = JobRow(job, Kind.DOWNLOAD, State.FETCHING, "r", None, "p", name, spec, 0, 0)
        downloads = Downloads(self.repository, disk or Disk(), self.lane, self.budget, reads)
        return await downloads.fetch(row, spec, progress or Count())

    async def history(self, name: str = "data") -> History:
        return await self.repository.history(ArtifactKey("p", name))


def upload_job(txn: str, name: str = "data", type_: str = "dataset", **spec: Any) -> JobRow:
    made = UploadSpec(txn=txn, type=type_, **spec)
    return JobRow(txn, Kind.UPLOAD, State.SENDING, "r", f"draft-{txn}", "p", name, made, 0, 0)


@asynccontextmanager
async def node(state: Path, store: Store, params: UploadParams = SMALL, memory: int = MEMORY) -> AsyncIterator[Node]:
    """Open a node on a state directory; the same directory again is the same node after a restart."""
    state.mkdir(parents=True, exist_ok=True)
    journal_lane, lane = Lane("journal"), Lane("work", 2)
    try:
        journal = await open_journal(str(state / "journal.db"), journal_lane)
        try:
            clock = InstantClock()
            repository = await open_repository(store, lane, JournalMemory(journal), clock)
            yield Node(store, repository, journal, lane, clock, params, state.name, Budget(memory))
        finally:
            await journal.close()
    finally:
        lane.close()
        journal_lane.close()


def tree(root: Path) -> Files:
    """Return what lies below a directory in the words of Files; only empty directories are named."""

    def walk(folder: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes | str | None]]:
        for entry in os.scandir(folder):
            name = prefix + entry.name
            if entry.is_symlink():
                yield name, os.fsdecode(os.readlink(entry.path))
            elif entry.is_dir():
                below = list(walk(entry.path, name + b"/"))
                yield from below or [(name, None)]
            else:
                yield name, Path(os.fsdecode(entry.path)).read_bytes()

    return dict(walk(os.fsencode(root), b""))
