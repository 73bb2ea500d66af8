"""One node: what survives a crash (journal, spool), and its lives, each with the real engine, flows and repository.

A life may stall or end at every effect: before and after each request, each journal transaction and each release of
pins. Once it has ended nothing of it has effects any more, but for requests that are already under way.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from syncd.budget import Budget
from syncd.engine import Engine, EngineParams, Flows
from syncd.errors import SyncdError
from syncd.events import Bus
from syncd.format.chunker import load
from syncd.jobs.states import Kind, State
from syncd.journal import pins as journal_pins
from syncd.journal.core import Journal, open_journal
from syncd.journal.jobs import JobRow, JobRows, UploadSpec
from syncd.journal.memory import JournalMemory
from syncd.journal.pins import FileRow
from syncd.repo.remote import Remote
from syncd.repo.repository import Repository
from syncd.store.base import Store
from syncd.store.retry import Retry, RetryParams
from syncd.upload.parts import UploadParams
from syncd.upload.run import Uploads
from tests.kit.repo_kit import NEW
from tests.sim.bucket import Bucket
from tests.sim.virtual import InlineLane, SkewedClock
from tests.sim.weather import Weather
from tests.sim.wire import Wire

T = TypeVar("T")

PARAMS = UploadParams(window=8 << 10, pack_target=2 << 10, sends=3)
MEMORY = 256 << 10
RETRY = RetryParams(tries=2, first_s=0.2, longest_s=10.0)
PINS_A_DRAFT = 1000
MOST_CRASHES = 12
"""Of one node; else a node in a storm ends before every collection does, and the run takes for ever."""
_TEMPLATE: list[bytes] = []

Files = dict[bytes, bytes]


@dataclass(frozen=True)
class Told:
    """What the caller was told of a job that has ended; a rank's has no version before the last rank's is there."""

    node: str
    txn: str
    artifact: str
    version: int | None
    group: str = ""
    rank: int = 0
    aborted: bool = False


class Spool:
    """The pinned bytes of a node's drafts, which survive every crash; who releases them too early is found out."""

    def __init__(self) -> None:
        self.drafts: dict[str, Files] = {}
        self.released: set[str] = set()

    def add(self, draft: str, files: Files) -> None:
        self.drafts[draft] = files


class Pins:
    """The spool as one life sees it: what uploads and the engine use of the real Pins."""

    def __init__(self, spool: Spool, life: Life) -> None:
        self._spool = spool
        self._life = life

    async def entries(self, draft: str, after: bytes = b"", limit: int = 1000) -> list[FileRow]:
        files = self._spool.drafts[draft]
        number = list(self._spool.drafts).index(draft) + 1
        pins = {name: number * PINS_A_DRAFT + at for at, name in enumerate(sorted(files))}
        names = [name for name in sorted(files) if name > after][:limit]
        return [FileRow(draft, name, "file", 0o644, len(files[name]), b"", pins[name]) for name in names]

    def reader(self, pin: int) -> Reader:
        draft = list(self._spool.drafts)[pin // PINS_A_DRAFT - 1]
        assert draft not in self._spool.released, "bytes are read after their release"
        files = self._spool.drafts[draft]
        return Reader(files[sorted(files)[pin % PINS_A_DRAFT]])

    def advance(self, pin: int, offset: int) -> None:
        pass

    async def release(self, draft: str) -> None:
        await self._life.effect(f"release {draft}")
        self._life.node.let_go(draft)
        self._spool.released.add(draft)
        await self._life.effect(f"released {draft}")


class Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_at(self, offset: int, view: memoryview) -> int:
        piece = self._data[offset : offset + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        pass


class Ledger:
    """The journal as one life sees it. What was not written durably is lost when the power goes."""

    def __init__(self, node: Node, life: Life) -> None:
        self._node = node
        self._life = life

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        await self._life.effect("journal")
        result = self._node.journal._write(act, durable)
        if durable:
            self._node.on_disk = self._node.journal._connection.serialize()
        await self._life.effect("journalled")
        return result

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        self._life.check()
        return self._node.journal._read(act)


@dataclass
class Errand:
    """Something a node does besides its uploads, from a moment on and until it is done, through all its lives."""

    at: float
    work: Callable[[Life], Awaitable[None]]
    done: bool = False
    troubles: int = 0


@dataclass
class Node:
    """A node for good: name, skew, journal, spool."""

    name: str
    bucket: Bucket
    weather: Weather
    rng: random.Random
    note: Callable[[str], None]
    tell: Callable[[Told], None]
    let_go: Callable[[str], None]
    spool: Spool = field(default_factory=Spool)
    errands: list[Errand] = field(default_factory=list)
    lives: int = 0
    crashes: int = 0
    journal: Journal = field(init=False)
    on_disk: bytes = field(init=False)
    life: Life | None = None

    def __post_init__(self) -> None:
        self.offset, self.rate = self.rng.uniform(-1e6, 1e6), self.rng.uniform(0.9, 1.1)

    async def open(self) -> None:
        """Make the journal."""
        if not _TEMPLATE:
            made = await open_journal(":memory:", InlineLane())
            _TEMPLATE.append(made._connection.serialize())
        self.on_disk = _TEMPLATE[0]
        self._load()

    def _load(self) -> None:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.deserialize(self.on_disk)
        self.journal = Journal(connection, InlineLane(), ":memory:")

    async def live(self) -> None:
        """Live, die, and live again until cancelled."""
        while True:
            self.lives += 1
            life = self.life = Life(self)
            await life.through()
            self.crashes += 1
            if self.rng.random() < 0.3:
                self.note(f"{self.name}: the power goes")
                self._load()
            await asyncio.sleep(self.weather.pause(0.1))


class Life:
    """A node from one start to its end."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.alive = True
        self._stalled_until = 0.0
        self._root: asyncio.Task[None] | None = None
        self.bus = Bus()
        self.budget = Budget(MEMORY)
        self.clock = SkewedClock(node.offset, node.rate)
        self.ledger = Ledger(node, self)
        self.rows = JobRows(self.ledger)
        chance = random.Random(f"{node.rng.random()}")
        self.chance = chance
        self.store: Store = Retry(Wire(node.bucket, node.weather, self), self.clock, chance, RETRY)
        self.remote = Remote("sim", self.store, JournalMemory(self.ledger), InlineLane(), self.clock, chance, NEW)
        self.repository: Repository | None = None
        self.engine = Engine(
            EngineParams(), self.ledger, self._flows, Pins(node.spool, self), self._discard, self.bus, self.clock,
            chance, lambda word: None,
        )  # type: ignore[arg-type]  # fmt: skip

    async def through(self) -> None:
        """Run until the life ends."""
        self._root = asyncio.ensure_future(self._run())
        try:
            await asyncio.wait([self._root])
        finally:
            self.alive = False
            self._root.cancel()
        if not self._root.cancelled():
            self._root.result()

    async def accept(self, job: str, artifact: str, spec: UploadSpec) -> None:
        """Take a job, durably, and run it; may be repeated."""
        draft = f"draft-{job}"
        known = await self.rows.of_draft(draft)
        if known is None:
            files = await Pins(self.node.spool, self).entries(draft)  # what is accepted is counted in the journal
            await journal_pins.add(self.ledger, draft, 0.0, [], files, overwrite=True)
            row = JobRow(job, Kind.UPLOAD, State.ACCEPTED, "r", draft, "p", artifact, spec, 0.0, 0.0)
            await self.rows.accept(row)
        self.engine.submit(job)

    async def effect(self, what: str) -> None:
        """A place where the process may stall or end."""
        self.check()
        self.node.note(f"{self.node.name}.{self.node.lives} {what}")
        now = asyncio.get_running_loop().time()
        if self.node.crashes < MOST_CRASHES and self.node.weather.happens(self.node.weather.crashes, now):
            self.end()
        if self.node.weather.happens(self.node.weather.stalls, now):
            self._stalled_until = now + self.node.weather.pause(1.0)
        while (left := self._stalled_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)
        self.check()

    def end(self) -> None:
        """SIGKILL."""
        self.node.note(f"{self.node.name}.{self.node.lives} dies")
        self.alive = False
        assert self._root is not None
        self._root.cancel()

    def check(self) -> None:
        """Raise when this life has ended: what still runs of it must have no effect."""
        if not self.alive:
            raise asyncio.CancelledError

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell())
            tasks.create_task(self.engine.run())
            for errand in self.node.errands:
                if not errand.done:
                    tasks.create_task(self._run_errand(errand))

    async def _run_errand(self, errand: Errand) -> None:
        """Do it when its time has come, again and again while the remote is away."""
        await asyncio.sleep(max(0.0, errand.at - asyncio.get_running_loop().time()))
        pause = 1.0
        while True:
            try:
                await errand.work(self)
                break
            except SyncdError as error:  # the remote is away, or another collection took what this one reads
                self.node.note(f"{self.node.name}: {error.what}")
                errand.troubles += 1
            await asyncio.sleep(pause)
            pause *= 2
        self.check()
        errand.done = True

    async def _tell(self) -> None:
        """Tell the caller what is done, as the service does: from the row."""
        with self.bus.listen() as changes:
            for row in await self.rows.page(limit=10_000):
                self._tell_row(row)
            async for change in changes:
                self._tell_row(await self.rows.get(change.job))

    def _tell_row(self, row: JobRow) -> None:
        assert isinstance(row.spec, UploadSpec)
        told = Told(self.node.name, row.spec.txn, row.name, None, row.spec.group, row.spec.rank)
        if row.state is State.DONE and row.result is not None:
            self.node.tell(replace(told, version=row.result.version))
        elif row.state is State.FAILED and told.group and row.error is not None and row.error.code == "aborted":
            self.node.tell(replace(told, aborted=True))
        elif row.state in (State.FAILED, State.CANCELLED):
            raise AssertionError(f"job {row.job} of {self.node.name} failed for good: {row.error}")

    async def _flows(self) -> Flows:
        self.repository = await self.remote.repository()
        pins = Pins(self.node.spool, self)
        uploads = Uploads(
            self.repository, self.ledger, pins, InlineLane(), load(), PARAMS, self.budget, self.clock, self.node.name  # type: ignore[arg-type]
        )  # fmt: skip
        return Flows(uploads, None)  # type: ignore[arg-type]

    async def _discard(self, row: JobRow) -> None:
        raise AssertionError("nobody cancels")
