"""The life of the daemon's process: lock, door, rooms, readiness, signals, end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine

from syncd.clock import Clock, SystemClock
from syncd.daemon.compose import Rooms, Seams, compose
from syncd.daemon.listen import open_door
from syncd.daemon.lock import lock_state
from syncd.daemon.notify import Notifier, Watchdog, watchdog_seconds
from syncd.errors import root_cause
from syncd.lanes import tell_kernel
from syncd.pin import leases
from syncd.server.listener import Listener
from syncd.service import Service
from syncd.settings import Settings
from syncd.web import WebDoor, WebParams

log = logging.getLogger("syncd")

_IDLE_LOOKS = 10


def serve(settings: Settings, *, autostarted: bool, seams: Seams | None = None) -> int:
    """Be the daemon until SIGTERM, SIGINT or a client's shutdown; return the exit code.

    Args:
        autostarted: leave after `settings.idle_exit` seconds without a client, job, draft or watch.
        seams: what a test kit puts around store, journal and disk.

    Raises:
        Conflict: another daemon has this state directory or socket.
        SyncdError: it cannot start; what, why and what to do.
    """
    leases.mask_signals()  # before the first thread: a lease signal in an unmasked one would kill the process
    tell_kernel("syncd")
    _set_up_logging(settings.log_level)
    lock = lock_state(settings.state_dir)
    try:
        door = open_door(settings.socket, os.environ, os.getpid())
        lock.note_socket(door.path)
        try:
            main = _live(settings, door.socket, autostarted, seams or Seams())
            if settings.uvloop:
                import uvloop

                return uvloop.run(main)
            return asyncio.run(main)
        finally:
            door.close()
    finally:
        lock.close()


async def _live(settings: Settings, listening: socket.socket, autostarted: bool, seams: Seams) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET", ""))
    clock = SystemClock()
    try:
        async with compose(settings, stopping.set, seams) as rooms:
            await _run(rooms, settings, listening, autostarted, stopping, notifier, clock)
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return 0


async def _run(
    rooms: Rooms, settings: Settings, listening: socket.socket, autostarted: bool, stopping: asyncio.Event,
    notifier: Notifier, clock: Clock,
) -> None:  # fmt: skip
    service = rooms.service
    listener = Listener(service, listening, settings.server.connections)
    web = WebDoor(WebParams.at(settings.web), service, rooms.meter, clock)
    await web.start()
    works = _works(rooms, listener, notifier, clock)
    if autostarted:
        works["idleness"] = _leave_when_idle(service, settings.idle_exit, stopping, clock)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work, name=name) for name, work in works.items()]
            notifier.ready("serving")
            _say_where(settings, service)
            await stopping.wait()
            notifier.stopping("stopping; open jobs go on at the next start")
            log.info("stopping")
            service.stopped.set()
            for task in running:
                task.cancel()
    finally:
        await web.close()
        await rooms.watcher.close()


def _works(
    rooms: Rooms, listener: Listener, notifier: Notifier, clock: Clock
) -> dict[str, Coroutine[None, None, None]]:
    """What runs as long as the daemon does, by name: when one of these ends with an error, so does the daemon."""
    service = rooms.service
    works = {
        "engine": rooms.engine.run(),
        "watcher": rooms.watcher.run(),
        "janitor": service.drafts.run_janitor(),
        "pruner": service.pruner.run(),
        "listener": listener.run(),
    }
    if rooms.mirror is not None:
        works["mirror"] = rooms.mirror.run()
    seconds = watchdog_seconds(os.environ, os.getpid())
    if seconds is not None:
        asked = {"journal": service.ping_journal, "leases": service.ping_leases}
        works["watchdog"] = Watchdog(notifier, clock, seconds, asked).run()
    return works


def _say_where(settings: Settings, service: Service) -> None:
    log.info("serving on %s, remote %s", os.fsdecode(settings.socket), service.remote_url)
    if settings.web != "off":
        log.info("page and metrics at %s", settings.web if ":/" in settings.web else f"http://{settings.web}/")


async def _leave_when_idle(service: Service, seconds: float, stopping: asyncio.Event, clock: Clock) -> None:
    """Stop the daemon once nothing has needed it for `seconds`."""
    idle_since = clock.monotonic()
    while clock.monotonic() - idle_since < seconds:
        await clock.sleep(seconds / _IDLE_LOOKS)
        if await service.busy():
            idle_since = clock.monotonic()
    log.info("nothing to do for %g seconds", seconds)
    stopping.set()


def _set_up_logging(level: str) -> None:
    under_journald = "JOURNAL_STREAM" in os.environ
    form = (
        "%(levelname)s %(name)s: %(message)s" if under_journald else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.basicConfig(level=level.upper(), format=form, stream=sys.stderr, force=True)
