"""Virtual time: an event loop without threads, sockets and waiting, whose order follows from the program alone.

When nobody can run, time jumps to the first sleeper. Tasks hash by the order of their making, so that sets of tasks
(task groups, asyncio.wait) are walked in the same order in every process.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from syncd.lanes import Lane

T = TypeVar("T")

EPOCH = 1_700_000_000.0


class Stuck(Exception):
    """Everybody waits for somebody else: nothing will ever happen again."""


class _Task(asyncio.Task[T]):
    _numbers = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._number = next(_Task._numbers)
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop in virtual seconds. `trouble` is told what no task handles."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0
        self._selector = self
        self._clock_resolution = 1e-9
        self.trouble: Callable[[BaseException], None] = lambda error: None
        self.set_task_factory(lambda loop, run, **more: _Task(run, loop=loop, **more))
        self.set_exception_handler(
            lambda _, told: self.trouble(told.get("exception") or AssertionError(told["message"]))
        )

    def time(self) -> float:
        return self._passed

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck(f"after {self._passed:.1f} virtual seconds nobody has anything to do")
        self._passed += timeout
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def run_virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in virtual time from 0; what some task lets drop ends the run and is raised."""

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        main = asyncio.ensure_future(work())
        dropped: list[BaseException] = []

        def trouble(error: BaseException) -> None:
            dropped.append(error)
            main.cancel()

        loop.trouble = trouble
        await asyncio.wait([main])
        if dropped:
            raise dropped[0]
        return main.result()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait, here and now."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it had to wait")


class SkewedClock:
    """A node's own clock: wrong by `offset` seconds and running `rate` times as fast; its sleep is right."""

    def __init__(self, offset: float = 0.0, rate: float = 1.0) -> None:
        self._offset = offset
        self._rate = rate

    def now(self) -> float:
        return EPOCH + self._offset + self._rate * asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class InlineLane(Lane):
    """A lane whose calls run on the spot: one thread, one order."""

    def __init__(self) -> None:
        self.name = "inline"
        self.threads = 1

    async def run(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:  # type: ignore[override]
        return call(*args, **kwargs)

    def close(self) -> None:
        pass
