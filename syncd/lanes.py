"""The only door to threads.

Blocking work (hashing, fsync, SQLite) runs in a *lane*: a small named pool with a fixed number of threads.
Lanes are bounded, so a slow disk cannot breed threads; named, so a stack dump says who is busy; and a thread
is never abandoned: cancelling a call waits for its thread to come back, then raises, so a buffer in use always
has exactly one owner.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from typing import Any, ParamSpec, TypeVar

from syncd.errors import Refused

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """A bounded pool of named threads.

    Args:
        name: prefix of the thread names, `syncd-<name>_0` ...
        threads: how many calls run at once; further calls queue.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name = name
        self.threads = threads
        self.executor = ThreadPoolExecutor(threads, f"syncd-{name}", _tell_own_name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `call` in the lane and return what it returns; what it raises is raised here.

        A cancelled caller waits until the call has really ended, then gets its CancelledError; what the call
        returned or raised is then dropped, so a call that opens something must hand it over some other way.

        Raises:
            Refused: the lane was closed before the call began.
        """
        try:
            future = self.executor.submit(call, *args, **kwargs)
        except RuntimeError as error:
            raise self._closed() from error
        waiter = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            if waiter.cancelled() and not _cancelling():
                # Nobody cancelled the caller: close() threw the queued call away. A bare CancelledError would end
                # the caller's task without a word.
                raise self._closed() from None
            if not future.cancel():
                await _ended(waiter)
            raise

    async def attend(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out what uses this lane's threads in several calls, or by a library; return what it returns.

        As with `run`, a cancelled caller waits until the work has ended, all of it, and then gets its CancelledError.
        """
        task = asyncio.get_running_loop().create_task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await _ended(task)
            raise

    def close(self) -> None:
        """Wait for the calls that run, refuse new ones. May be repeated."""
        self.executor.shutdown(wait=True, cancel_futures=True)

    def _closed(self) -> Refused:
        return Refused(f"the lane {self.name} is closed", "the daemon is stopping")


async def _ended(work: asyncio.Future[T]) -> None:
    """Return when the work of a cancelled caller has ended, however often the caller is cancelled again."""
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([work])
    if not work.cancelled():
        work.exception()  # seen here: the cancellation outranks it


def new_lock() -> AbstractContextManager[object]:
    """Return a lock for what several lanes share; hold it for a few instructions only."""
    return threading.Lock()


class Sentinel:
    """One long-lived named thread that loops until told to stop (the lease watcher needs one of its own).

    Args:
        name: thread name, `syncd-<name>`.
        loop: called with the stop flag in the new thread; must return soon after the flag is set.
    """

    def __init__(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        self._stop = threading.Event()
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name=f"syncd-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread; once only."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs: the watchdog asks."""
        return self._thread.is_alive()

    def _run(self) -> None:
        tell_kernel(self._thread.name)
        self._loop(self._stop)

    def close(self) -> None:
        """Set the stop flag and wait for the thread to end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()


def tell_kernel(name: str) -> None:
    """Give the calling thread its name in `ps` and /proc too, for Python before 3.14 does not; 15 bytes of it show."""
    comm = f"/proc/self/task/{threading.get_native_id()}/comm"
    with suppress(OSError), open(comm, "w") as file:  # no /proc: the name is for people only
        file.write(name[:15])


def _tell_own_name() -> None:
    tell_kernel(threading.current_thread().name)


def _cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
