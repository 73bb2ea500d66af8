"""The watcher: its verbs, and the loop that scans."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass, replace

from syncd.clock import Clock
from syncd.errors import Conflict, InvalidInput, NotFound, SyncdError
from syncd.journal.core import Ledger
from syncd.journal.watches import TakenRow, Watches, WatchRow
from syncd.lanes import Lane
from syncd.model.names import check_name, check_project, check_type, printable
from syncd.model.views import WatchView
from syncd.watch.hints import Hints
from syncd.watch.inspect import Complete, Nothing, Verdict, Waiting, inspect
from syncd.watch.proof import Prober
from syncd.watch.scan import check_watchable, look, sub_directories, watch_error
from syncd.watch.taking import Take, Taking, draft_id
from syncd.watch.watched import Watched, one_line

SETTLE_LIMIT = 86400.0
SHORTEST_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class WatchParams:
    """How often to look, in seconds.

    Attributes:
        busy: between looks at what is pending.
        full: between looks at everything, which alone finds changes in what was taken.
        retry: until a sub-directory that could not be taken (a budget, a disk) is tried again.
        duty: looking takes at most this share of one core (four times it while anything is pending); on huge trees the
            pauses grow accordingly.
    """

    busy: float = 2.0
    full: float = 15.0
    retry: float = 30.0
    duty: float = 0.005


class Watcher:
    """Keeps the watches and takes what is complete.

    Args:
        params: how often to look.
        ledger: the journal.
        lane: where directories are walked and leases asked for.
        clock: time.
        prober: is anybody writing to an open file?
        take: makes a complete sub-directory a job; see `taking`.
    """

    def __init__(
        self, params: WatchParams, ledger: Ledger, lane: Lane, clock: Clock, prober: Prober, take: Take
    ) -> None:
        self._params = params
        self._rows = Watches(ledger)
        self._lane = lane
        self._clock = clock
        self._prober = prober
        self._take = take
        self._hints = Hints(clock, self._on_hint)
        self._watched: dict[bytes, Watched] = {}
        self._opening = asyncio.Lock()
        self._opened = False
        self._wake = asyncio.Event()
        self._hinted: set[bytes] = set()
        self._full_due = -math.inf
        self._spent = 0.0  # seconds of looking in this scan, taking left out
        self._rest = 0.0  # seconds that the next scan must wait for that

    async def open(self) -> None:
        """Read the watches from the journal; the other verbs do it where it was not done. May be repeated."""
        async with self._opening:
            if self._opened:
                return
            for row in await self._rows.all():
                self._watched[row.directory] = Watched(row, await self._rows.taken(row.directory))
            self._opened = True

    async def add(
        self,
        directory: bytes,
        name: str,
        type: str,  # noqa: A002
        project: str,
        settle: float,
        done_marker: str,
    ) -> WatchView:
        """Watch `directory` (absolute), durably. Sub-directories that are there already are taken too.

        Raises:
            InvalidInput: a bad name, settle time or marker; a relative path; not a directory.
            NotFound, LocalDisk: it is not there, or cannot be read.
            Conflict: it is watched already, with other settings. With the same ones nothing happens.
        """
        row = _checked(directory, name, type, project, settle, done_marker, self._clock.now())
        await self._lane.run(check_watchable, row.directory)
        await self.open()
        async with self._opening:
            known = self._watched.get(row.directory)
            if known is None:
                await self._rows.add(row)
                known = Watched(row, await self._rows.taken(row.directory))
                self._watched[row.directory] = known
                self._full_due = -math.inf
                self._wake.set()
            elif replace(row, created=known.row.created) != known.row:
                raise _other_settings(known.row)
        return known.view(self._hints.problem)

    async def remove(self, directory: bytes) -> None:
        """Stop watching, durably. Versions already taken stay; watched again, they are not taken twice.

        Raises:
            NotFound: it is not watched.
        """
        await self.open()
        directory = os.path.normpath(directory)
        async with self._opening:
            if directory not in self._watched:
                raise NotFound(
                    f"not watched: {printable(directory)}", "no watch has that directory", "see syncctl watch ls"
                )
            await self._rows.remove(directory)
            del self._watched[directory]
        self._wake.set()

    def views(self) -> list[WatchView]:
        """Every watch, as the latest scan left it."""
        return [watched.view(self._hints.problem) for watched in self._watched.values()]

    async def run(self) -> None:
        """Scan and listen until cancelled."""
        await self.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hints.run())
            try:
                while True:
                    self._wake.clear()
                    pause = await self.scan()
                    if self._rest > SHORTEST_PAUSE:  # hints may come in floods: they do not shorten this
                        await self._clock.sleep(min(self._rest, pause))
                    await self._pause(pause - self._rest)
            finally:
                self._hints.stop()

    async def close(self) -> None:
        """Give the hints' thread back; after `run` has ended."""
        await self._hints.close()

    async def scan(self, full: bool = False) -> float:
        """Look at what is pending, new or hinted at (at everything, when `full` or due), and take what is complete.

        Returns:
            The seconds to wait before the next scan.
        """
        full = full or self._clock.monotonic() >= self._full_due
        hinted, self._hinted = self._hinted, set()
        self._spent = 0.0
        for watched in list(self._watched.values()):
            await self._scan_one(watched, full, hinted)
        self._hints.listen_to(
            (each.row.directory, each.root_ino) for each in self._watched.values() if each.root_ino is not None
        )
        now = self._clock.monotonic()
        if full:
            self._full_due = now + max(self._params.full, self._spent / self._params.duty)
        self._rest = 0.0 if full else self._spent / (4 * self._params.duty)
        return self._next_look(now)

    def _next_look(self, now: float) -> float:
        dues = [p.look_at - now for watched in self._watched.values() for p in watched.pending.values()]
        return max(SHORTEST_PAUSE, min(self._full_due - now, max(self._rest, min(dues, default=math.inf))))

    async def _pause(self, seconds: float) -> None:
        if seconds <= 0:
            return
        async with asyncio.TaskGroup() as group:
            nap = group.create_task(self._nap(seconds))
            await self._wake.wait()
            nap.cancel()

    async def _nap(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wake.set()

    def _on_hint(self, paths: set[bytes]) -> None:
        self._hinted |= paths
        self._wake.set()

    async def _scan_one(self, watched: Watched, full: bool, hinted: set[bytes]) -> None:
        directory = watched.row.directory
        began = self._clock.monotonic()
        try:
            watched.root_ino, names = await self._lane.run(sub_directories, directory)
        except OSError as error:
            watched.error, watched.root_ino = one_line(watch_error(error, directory)), None
            watched.pending.clear()
            return
        self._spent += self._clock.monotonic() - began
        watched.error = ""
        for gone in watched.pending.keys() - names:
            del watched.pending[gone]
        complete: list[tuple[bytes, Complete]] = []
        for name in names:
            if os.path.join(directory, name) in hinted or self._is_due(watched, name, full):
                verdict = await self._judge(watched, name)
                if isinstance(verdict, Complete):
                    complete.append((name, verdict))
        for name, verdict in sorted(complete, key=lambda each: (each[1].newest, each[0])):
            if self._watched.get(directory) is watched:
                await self._take_one(watched, name, verdict)

    def _is_due(self, watched: Watched, name: bytes, full: bool) -> bool:
        pending = watched.pending.get(name)
        if pending is not None:
            return self._clock.monotonic() >= pending.look_at
        return full or watched.latest(name) is None

    async def _judge(self, watched: Watched, name: bytes) -> Verdict:
        pending = watched.pending.get(name)
        sight = pending.sight if pending is not None else None
        began = self._clock.monotonic()
        verdict: Verdict
        try:
            verdict, how = await self._lane.run(
                inspect, watched.row, watched.artifact, name, sight, watched.latest(name), self._prober, self._clock
            )
            watched.proof = how or watched.proof
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            note = "changing" if gone else one_line(watch_error(error, os.path.join(watched.row.directory, name)))
            verdict = Waiting(note, None, 0.0, failed=not gone)
        now = self._clock.monotonic()
        self._spent += now - began
        if isinstance(verdict, Waiting):
            watched.wait(name, verdict, now + (min(self._params.busy, verdict.due) or self._params.busy))
        elif isinstance(verdict, Nothing):
            watched.pending.pop(name, None)
        return verdict

    async def _take_one(self, watched: Watched, name: bytes, found: Complete) -> None:
        directory = watched.row.directory
        path = os.path.join(directory, name)
        before = watched.latest(name)
        draft = draft_id(directory, name, found.signature, before.job if before else "")

        async def unchanged() -> bool:
            return await self._lane.run(_signature_now, path, watched.artifact) == found.signature

        try:
            job = await self._take(Taking(watched.row, path, found.dev, found.ino, draft, found.proof, unchanged))
            row = TakenRow(directory, name, found.signature, job, found.proof, self._clock.now())
            watched.note_taken(row)
            await self._rows.note_taken(row)
        except SyncdError as error:
            self._refused(watched, name, error)

    def _refused(self, watched: Watched, name: bytes, error: SyncdError) -> None:
        incomplete = isinstance(error, Conflict | NotFound)  # open, changed or deleted meanwhile: nothing is wrong
        wait = self._params.busy if incomplete else self._params.retry
        watched.wait(name, Waiting(one_line(error), None, 0.0, not incomplete), self._clock.monotonic() + wait)


def _signature_now(path: bytes, artifact: str) -> bytes:
    try:
        return look(path).signature(artifact)
    except OSError:
        return b""  # vanished or unreadable: not what it was


def _checked(
    directory: bytes, name: str, kind: str, project: str, settle: float, done_marker: str, now: float
) -> WatchRow:
    if not directory.startswith(b"/") or b"\x00" in directory:
        raise InvalidInput(f"cannot watch {printable(directory)!r}", "the path is not absolute", "give the whole path")
    if not 0 <= settle <= SETTLE_LIMIT:
        raise InvalidInput(f"invalid settle time: {settle}", f"it is 0 to {SETTLE_LIMIT:g} seconds")
    if done_marker in (".", "..") or "/" in done_marker or "\x00" in done_marker:
        raise InvalidInput(f"invalid done marker: {done_marker!r}", "it is the name of a file, without directories")
    return WatchRow(
        os.path.normpath(directory),
        check_name(name),
        check_type(kind),
        check_project(project),
        float(settle),
        done_marker,
        now,
    )


def _other_settings(known: WatchRow) -> Conflict:
    marker = f", done marker {known.done_marker}" if known.done_marker else ""
    return Conflict(
        f"already watched with other settings: {printable(known.directory)}",
        f"as {known.project}/{known.name}, type {known.type}, settle {known.settle:g} s{marker}",
        "remove that watch first: syncctl watch rm",
    )
