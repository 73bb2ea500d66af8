"""Settings -> objects. The one place that knows every room."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from syncd import __version__
from syncd.budget import Budget
from syncd.check.run import Ground as CheckGround
from syncd.clock import Chance, Clock, SystemClock, random_hex, system_chance
from syncd.daemon.create import new_repository
from syncd.disk import Disk, disk_error
from syncd.download.run import Downloads, discard
from syncd.engine import Engine, EngineParams, Flows
from syncd.errors import NotFound, RemoteRefused, RemoteUnavailable
from syncd.events import Bus
from syncd.format.chunker import Cutter, load
from syncd.journal.core import Journal, Ledger, open_journal
from syncd.journal.home import COPIED, Home, settle
from syncd.journal.jobs import DownloadSpec, JobRow
from syncd.journal.memory import JournalMemory
from syncd.lanes import Lane, new_lock
from syncd.meter import Meter
from syncd.mirror.run import Mirror, started_fact
from syncd.model.names import ArtifactKey
from syncd.pin.params import PinLanes, PinParams
from syncd.pin.pins import Pins, open_pins
from syncd.repo.init import open_record
from syncd.repo.remote import Remote
from syncd.repo.repository import Repository
from syncd.service import Service, ServiceParts
from syncd.service.checks import CheckVerbs
from syncd.service.copies import CopyVerbs
from syncd.service.service import Identity
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
    mirror: Mirror | None


class _Lanes:
    """The lanes that the rooms share; the watcher's hints make their own. docs/DESIGN.md lists all threads."""

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


@dataclass(frozen=True, slots=True)
class _Ground:
    """What every room stands on."""

    settings: Settings
    disk: Disk
    lanes: _Lanes
    budget: Budget
    ledger: Ledger
    memory: JournalMemory
    node: str
    clock: Clock
    rng: Chance
    meter: Meter


@asynccontextmanager
async def compose(settings: Settings, stop: Callable[[], None], seams: Seams) -> AsyncIterator[Rooms]:
    """Build the daemon's rooms; on leaving close them in the opposite order."""
    bus = Bus()
    async with AsyncExitStack() as stack:
        ground = await _lay_ground(settings, seams, stack)
        ledger, lanes, clock, rng = ground.ledger, ground.lanes, ground.clock, ground.rng
        target = await _open_mirror(ground, seams.wrap_store)
        if target is not None:
            stack.push_async_callback(target.close)
        remote = await _open_remote(ground, seams.wrap_store, target)
        stack.push_async_callback(remote.store.close)
        pins = await _open_pins(ground)
        stack.push_async_callback(pins.close)
        cutter = load(settings.pure)
        engine = Engine(
            EngineParams(), ledger, _flows(ground, remote, pins, cutter), pins,
            _discarding(ground), bus, clock, rng, remote.say, _downloads(ground, remote),
        )  # fmt: skip
        watcher = Watcher(
            WatchParams(full=settings.watch.scan), ledger, lanes.watch, clock, kernel_prober,
            Taker(pins, lambda draft: service.logged(draft), lambda taking: _log_taking(service, taking)),  # noqa: PLW0108  service is made below
        )  # fmt: skip
        mirror = _mirror(ground, remote, target, bus)
        service = Service(
            ServiceParts(
                identity=_identity(ground, cutter), ledger=ledger, engine=engine, pins=pins, remote=remote,
                checks=_checks(ground, remote, pins, cutter, target), copies=_copies(ground, remote), watcher=watcher,
                bus=bus, meter=ground.meter, lane=lanes.files, budget=ground.budget, clock=clock, rng=rng,
                draft_ttl=settings.server.draft_ttl, stop=stop, memory=resident_bytes, mirror=mirror,
            )
        )  # fmt: skip
        await watcher.open()
        yield Rooms(service, engine, watcher, ground.meter, mirror)


async def _lay_ground(settings: Settings, seams: Seams, stack: AsyncExitStack) -> _Ground:
    clock, rng = SystemClock(), system_chance()
    lanes = _Lanes(settings)
    for lane in lanes.all():
        stack.callback(lane.close)
    journal = await open_journal(os.path.join(os.fsdecode(settings.state_dir), "journal.db"), lanes.journal)
    stack.push_async_callback(journal.close)
    ledger = seams.wrap_ledger(journal)
    memory = JournalMemory(ledger)
    node, copied = await settle(ledger, _home(settings.state_dir), random_hex(rng, 8))
    if copied:
        log.warning("%s; this node is %s from now on", COPIED, node)
    budget = Budget(settings.memory_budget)
    return _Ground(settings, seams.disk, lanes, budget, ledger, memory, node, clock, rng, Meter(new_lock()))


async def _open_remote(ground: _Ground, wrap: Callable[[Store], Store] | None, mirror: Store | None) -> Remote:
    address = parse_remote(ground.settings.primary.url)
    own = address.path.startswith(ground.settings.state_dir + b"/")  # the embedded default is made when first used
    store = await open_store(address, _store_parts(ground, "primary"), create=own, wrap=wrap)
    new = new_repository(ground.settings)
    return Remote(address.url, store, ground.memory, ground.lanes.work, ground.clock, ground.rng, new, mirror)


async def _open_mirror(ground: _Ground, wrap: Callable[[Store], Store] | None) -> Store | None:
    mirror = ground.settings.mirror
    if mirror is None:
        return None
    address, parts = parse_remote(mirror.url), _store_parts(ground, "mirror")
    if not await ground.memory.fact(started_fact(address.url)):  # its directory is made once, not when it is away
        with suppress(RemoteUnavailable, RemoteRefused):
            return await open_store(address, parts, create=True, wrap=wrap)
    return await open_store(address, parts, create=False, wrap=wrap)


def _store_parts(ground: _Ground, remote: str) -> StoreParts:
    settings, lanes = ground.settings, ground.lanes
    return StoreParts(
        disk=ground.disk,
        lane=lanes.store,
        clock=ground.clock,
        rng=ground.rng,
        meter=ground.meter,
        writer=ground.node,
        remote=remote,
        limits=LimitParams(
            settings.upload.concurrency + settings.download.concurrency, float(settings.bandwidth) or None
        ),
        retry=RetryParams(tries=settings.retry.tries, first_s=settings.retry.first, longest_s=settings.retry.longest),
    )


async def _open_pins(ground: _Ground) -> Pins:
    settings = ground.settings
    return await open_pins(
        _pin_params(settings), ground.disk, ground.ledger, ground.lanes.pins, ground.clock, ground.meter,
        settings.state_dir, _tell_lost, _boot_id(),
    )  # fmt: skip


def _flows(ground: _Ground, remote: Remote, pins: Pins, cutter: Cutter) -> Callable[[], Awaitable[Flows]]:
    settings, lanes = ground.settings, ground.lanes
    params = UploadParams(
        pack_target=settings.upload.pack_target,
        sends=settings.upload.concurrency,
        compress=settings.upload.compression != "off",
    )
    built: list[Flows] = []

    async def flows() -> Flows:
        repository = await remote.repository()
        if not built:
            uploads = Uploads(
                repository, ground.ledger, pins, lanes.work, cutter, params, ground.budget, ground.clock, ground.node,
                ground.meter,
            )  # fmt: skip
            downloads = Downloads(repository, ground.disk, lanes.files, ground.budget, settings.download.concurrency)
            built.append(Flows(uploads, downloads))
        return built[0]

    return flows


def _downloads(ground: _Ground, remote: Remote) -> Callable[[], Awaitable[Downloads]]:
    async def downloads() -> Downloads:
        repository = await remote.reading()
        lanes, reads = ground.lanes, ground.settings.download.concurrency
        return Downloads(repository, ground.disk, lanes.files, ground.budget, reads)

    return downloads


def _mirror(ground: _Ground, remote: Remote, target: Store | None, bus: Bus) -> Mirror | None:
    if target is None or ground.settings.mirror is None:
        return None
    url = parse_remote(ground.settings.mirror.url).url
    return Mirror(
        remote.repository, target, url, ground.ledger, ground.lanes.work, ground.budget, bus, ground.clock, ground.rng
    )  # fmt: skip


def _checks(ground: _Ground, remote: Remote, pins: Pins, cutter: Cutter, mirror: Store | None) -> CheckVerbs:
    async def ground_of_a_check() -> CheckGround:
        return CheckGround(
            repository=await remote.reading(), memory=ground.memory, mirror=mirror, ledger=ground.ledger,
            pins=pins.reader, cutter=cutter, lane=ground.lanes.work, budget=ground.budget, clock=ground.clock,
            rng=ground.rng, node=ground.node,
        )  # fmt: skip

    return CheckVerbs(ground_of_a_check, ground.memory, ground.rng)


def _copies(ground: _Ground, remote: Remote) -> CopyVerbs:
    @asynccontextmanager
    async def target(url: str) -> AsyncIterator[Repository]:
        store = await open_store(parse_remote(url), _store_parts(ground, "copy"), create=False)
        try:
            record = await open_record(store)
            if record is None:
                raise NotFound("there is no repository at the target", "", "make one: `syncd init URL`")
            yield Repository(store, record, ground.memory, ground.lanes.work, ground.clock, ground.rng)
        finally:
            await store.close()

    return CopyVerbs(remote.reading, target, ground.lanes.work, ground.budget, ground.clock, ground.node)


def _discarding(ground: _Ground) -> Callable[[JobRow], Awaitable[None]]:
    async def discard_download(row: JobRow) -> None:
        if isinstance(row.spec, DownloadSpec):
            await ground.lanes.files.run(discard, ground.disk, row.spec.root, row.job)

    return discard_download


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


def _identity(ground: _Ground, cutter: Cutter) -> Identity:
    settings = ground.settings
    slow = (
        "the chunker runs in pure Python (about 3.5 MB/s): no C extension; apt install gcc python3-dev, then reinstall",
    )
    return Identity(
        version=__version__,
        pid=os.getpid(),
        node=ground.node,
        started=ground.clock.now(),
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


def _home(state_dir: bytes) -> Home:
    facts = os.stat(state_dir)
    return Home(facts.st_dev, facts.st_ino, _boot_id())


def _boot_id() -> str:
    with open(_BOOT_ID) as file:
        return file.read().strip()


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
