"""Something happened in a watched directory: look now instead of later. A hint, nothing more.

One watcher for all roots, because a user may have only 128 inotify instances; not recursive, because the notifier
would follow symbolic links out of the tree and use up the user's inotify watches. So it tells of sub-directories that
come and go, which is what a scan cannot know to look for; pending ones are looked at every few seconds anyway.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Generator, Iterable

import watchfiles

from syncd.clock import Clock
from syncd.lanes import Lane

STEP_MS = 200  # each step wakes a thread: at 50 ms that alone was 0.8 % of a core, measured
DEBOUNCE_MS = 400
RETRY_SECONDS = 60.0
_TIMEOUT_MS = 5000

# It reports every batch of changes at INFO: a trainer that writes would fill our log.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

Changes = Generator[set[tuple[watchfiles.Change, str]], None, None]


class _Flag:
    """The part of threading.Event that watchfiles asks for: a word it can be told to stop by."""

    def __init__(self) -> None:
        self._up = False

    def set(self) -> None:
        self._up = True

    def is_set(self) -> bool:
        return self._up

    def wait(self, timeout: float | None = None) -> bool:
        return self._up


class Hints:
    """Listens to roots; `wake` is called in the loop with the paths that changed.

    `problem` says in one line why there are no hints, empty while there are.
    """

    def __init__(self, clock: Clock, wake: Callable[[set[bytes]], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._lane = Lane("hints", 1)
        self._roots: tuple[bytes, ...] = ()
        self._identity: object = ()
        self._changed = asyncio.Event()
        self._flag = _Flag()
        self._closed = False
        self.problem = ""

    def listen_to(self, roots: Iterable[tuple[bytes, int]]) -> None:
        """Set the roots, each with its inode: another directory under an old name needs a new listener."""
        identity = sorted(roots)
        if identity != self._identity:
            self._identity = identity
            self._roots = tuple(path for path, _ in identity)
            self._restart()

    def stop(self) -> None:
        """Make `run` return soon; it must be told so before its task is cancelled, for its thread is never left."""
        self._closed = True
        self._restart()

    async def run(self) -> None:
        """Listen until `stop`."""
        while not self._closed:
            self._changed.clear()
            self._flag = _Flag()
            if self._roots:
                await self._listen(self._roots, self._flag)
            else:
                self.problem = ""
                await self._changed.wait()

    async def close(self) -> None:
        """Give the thread back; after `run` has ended."""
        self.stop()
        self._lane.close()

    def _restart(self) -> None:
        self._flag.set()
        self._changed.set()

    async def _listen(self, roots: tuple[bytes, ...], flag: _Flag) -> None:
        try:
            changes = _open(roots, flag)
            self.problem = ""
            while (seen := await self._lane.run(next, changes, None)) is not None:
                if seen:
                    self._wake({os.fsencode(path) for _, path in seen})
            if not flag.is_set():
                self.problem = "the change notifier ended"
        except (OSError, RuntimeError, ValueError) as error:
            # OSError: a root is gone or the inotify limits are used up; RuntimeError: the notifier's own failures;
            # ValueError: a root's name is not UTF-8, which it cannot take.
            self.problem = f"no change notices ({error}): found by scanning alone"
        if self.problem and not flag.is_set():
            self._wake(set())
            await self._wait_to_retry()

    async def _wait_to_retry(self) -> None:
        async with asyncio.TaskGroup() as group:
            nap = group.create_task(self._nap())
            await self._changed.wait()
            nap.cancel()

    async def _nap(self) -> None:
        await self._clock.sleep(RETRY_SECONDS)
        self._changed.set()


def _open(roots: tuple[bytes, ...], flag: _Flag) -> Changes:
    return watchfiles.watch(
        *(os.fsdecode(root) for root in roots),
        watch_filter=None,
        recursive=False,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        rust_timeout=_TIMEOUT_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        force_polling=False,  # its polling costs half a core on large trees; our own scan is cheaper
        stop_event=flag,
    )
