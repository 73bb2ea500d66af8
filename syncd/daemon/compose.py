"""Settings -> objects. The one place that knows every room."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from syncd import __version__
from syncd.clock import Chance, SystemClock, random_hex, system_chance
from syncd.daemon.create import new_repository
from syncd.disk import Disk, disk_error
from syncd.download.run import Downloads, discard
from syncd.engine import Engine, EngineParams, Flows
from syncd.events import Bus
from syncd.format.chunker import Cutter, load
from syncd.journal.core import Journal, Ledger, open_journal
from syncd.journal.jobs import DownloadSpec, JobRow
from syncd.journal.memory import JournalMemory
from syncd.lanes import Lane, new_lock
from syncd.meter import Meter
from syncd.model.names import ArtifactKey
from syncd.pin.params import PinLanes, PinParams
from syncd.pin.pins import Pins
from syncd.repo.remote import Remote
from syncd.service import Service, ServiceParts
from syncd.service.service import Facts
from syncd.settings import Settings
from syncd.store.base import Store
from syncd.store.open import LimitParams, StoreParts, open_store, parse_remote
from syncd.store.retry import RetryParams
from syncd.upload.parts import UploadParams
from syncd.upload.run import Uploads
from syncd.watch.proof import kernel_prober
from syncd.watch.taking import Taker, Taking
from syncd.watch.watcher import Watcher, WatchParams

log = logging.getLogger("syncd")

UPLOADS_AT_ONCE = 2
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Seams:
    """What a test kit may put around the three things that have effects; production leaves them as they are."""

    disk: Disk = field(default_factory=Disk)
    wrap_store: Callable[[Store], Store] | None = None
    wrap_ledger: Callable[[Journal], Ledger] = lambda journal: journal


@dataclass(frozen=True, slots=True)
class Rooms:
    """The objects that run: what `serve` puts into its task group."""

    service: Service
    engine: Engine
    watcher: Watcher
    meter: Meter


class _Lanes:
    """The threads of the daemon, all of them; docs/DESIGN.md lists them."""

    def __init__(self, settings: Settings) -> None:
        self.journal = Lane("journal", 1)
        self.work = Lane("work", settings.upload.hash_threads)
        self.store = Lane("store", settings.upload.concurrency + settings.download.concurrency)
        self.files = Lane("files", 4)
        self.pins = PinLanes(Lane("pin", 2), Lane("rescue", 2), Lane("sync", 1))
        self.watch = Lane("watch", 1)

    def all(self) -> list[Lane]:
        return [
            self.work, self.files, self.pins.sync, self.pins.pin, self.pins.rescue, self.watch, self.store,
            self.journal,
        ]  # fmt: skip


@asynccontextmanager
async def compose(settings: Settings, stop: Callable[[], None], seams: Seams) -> AsyncIterator[Rooms]:
    """Build the daemon's rooms; on leaving close them in the opposite order."""
    clock = SystemClock()
    rng = system_chance()
    meter = Meter(new_lock())
    bus = Bus()
    disk = seams.disk
    async with AsyncExitStack() as stack:
        lanes = _Lanes(settings)
        for lane in lanes.all():
            stack.callback(lane.close)
        journal = await open_journal(os.path.join(os.fsdecode(settings.state_dir), "journal.db"), lanes.journal)
        stack.push_async_callback(journal.close)
        ledger = seams.wrap_ledger(journal)
        memory = JournalMemory(ledger)
        node = await memory.note_fact("node", random_hex(rng, 8))

        remote = await _open_remote(settings, seams, lanes, memory, clock, rng, meter, node)
        stack.push_async_callback(remote.store.close)

        pins = Pins(
            _pin_params(settings), disk, ledger, lanes.pins, clock, meter, settings.state_dir,
            _tell_lost, _boot_id(),
        )  # fmt: skip
        await pins.open()
        stack.push_async_callback(pins.close)

        cutter = load(settings.pure)
        flows = _flows(settings, remote, ledger, pins, lanes, cutter, clock, node, disk)

        async def discard_download(row: JobRow) -> None:
            if isinstance(row.spec, DownloadSpec):
                await lanes.files.run(discard, disk, row.spec.root, row.job)

        engine = Engine(
            EngineParams(uploads=UPLOADS_AT_ONCE), ledger, flows, pins, discard_download, bus, clock, rng, remote.say
        )
        watcher = Watcher(
            WatchParams(full=settings.watch.scan), ledger, lanes.watch, clock, kernel_prober,
            Taker(pins, lambda draft: service.logged(draft), lambda taking: _log_taking(service, taking)),  # noqa: PLW0108  service is made below
        )  # fmt: skip
        service = Service(
            ServiceParts(
                facts=_facts(settings, node, cutter, clock.now()), ledger=ledger, engine=engine, pins=pins,
                remote=remote, watcher=watcher, bus=bus, meter=meter, lane=lanes.files, clock=clock, rng=rng,
                draft_ttl=settings.server.draft_ttl, stop=stop, memory=resident_bytes,
            )
        )  # fmt: skip
        await watcher.open()
        yield Rooms(service, engine, watcher, meter)


async def _open_remote(
    settings: Settings, seams: Seams, lanes: _Lanes, memory: JournalMemory, clock: SystemClock, rng: Chance,
    meter: Meter, node: str,
) -> Remote:  # fmt: skip
    address = parse_remote(settings.primary.url)
    parts = StoreParts(
        disk=seams.disk,
        lane=lanes.store,
        clock=clock,
        rng=rng,
        meter=meter,
        writer=node,
        remote="primary",
        limits=LimitParams(
            settings.upload.concurrency + settings.download.concurrency, float(settings.bandwidth) or None
        ),
        retry=RetryParams(tries=settings.retry.tries, first_s=settings.retry.first, longest_s=settings.retry.longest),
    )
    own = address.path.startswith(settings.state_dir + b"/")  # the embedded default is made when first used
    store = await open_store(address, parts, create=own, wrap=seams.wrap_store)
    return Remote(address.url, store, memory, lanes.work, clock, rng, new_repository(settings))


def _flows(
    settings: Settings, remote: Remote, ledger: Ledger, pins: Pins, lanes: _Lanes, cutter: Cutter, clock: SystemClock,
    node: str, disk: Disk,
) -> Callable[[], Awaitable[Flows]]:  # fmt: skip
    params = UploadParams(
        pack_target=settings.upload.pack_target,
        sends=settings.upload.concurrency,
        memory=settings.memory_budget // UPLOADS_AT_ONCE,
        compress=settings.upload.compression != "off",
    )
    built: list[Flows] = []

    async def flows() -> Flows:
        repository = await remote.repository()
        if not built:
            uploads = Uploads(repository, ledger, pins, lanes.work, cutter, params, clock, node)
            built.append(Flows(uploads, Downloads(repository, disk, lanes.files, settings.download.concurrency)))
        return built[0]

    return flows


async def _log_taking(service: Service, taking: Taking) -> str:
    watch = taking.watch
    row = await service.drafts.log(
        taking.draft, ArtifactKey(watch.project, watch.name), watch.type, description="", metadata={}, aliases=[],
        tags=[], run=None, empty=False,
    )  # fmt: skip
    return row.job


def _tell_lost(draft: str, reason: str) -> None:
    """Say at once what the job will fail with when it comes to read these bytes: that may be days later."""
    log.error("pinned bytes of draft %s are lost: %s", draft, reason)


def _pin_params(settings: Settings) -> PinParams:
    pin = settings.pin
    return PinParams(
        spool_budget=pin.spool_budget or None,
        reserve=pin.reserve,
        copy_limit=pin.copy_limit,
        lease_share=pin.lease_share,
        lease_limit=pin.lease_limit or None,
        spool_tops=tuple(pin.spool_dirs),
        break_time=pin.break_time or None,
        copy_rate=pin.copy_rate or None,
    )


def _facts(settings: Settings, node: str, cutter: Cutter, started: float) -> Facts:
    slow = (
        "the chunker runs in pure Python (about 3.5 MB/s): no C extension; apt install gcc python3-dev, then reinstall",
    )
    return Facts(
        version=__version__,
        pid=os.getpid(),
        node=node,
        started=started,
        chunker=cutter.name,
        memory_budget=settings.memory_budget,
        project=settings.project,
        staging=_staging(settings.state_dir),
        warnings=slow if cutter.name == "python" else (),
    )


def _staging(state_dir: bytes) -> bytes:
    """Make the directory in which clients write new files, and return it."""
    path = os.path.join(state_dir, b"new")
    try:
        Disk().make_directory(path)
    except OSError as error:
        raise disk_error(error, "cannot make the directory for new files", path) from error
    return path


def _boot_id() -> str:
    with open(_BOOT_ID) as file:
        return file.read().strip()


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
