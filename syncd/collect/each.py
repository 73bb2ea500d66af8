"""Many things done side by side, a bounded number at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from syncd.errors import root_cause

T = TypeVar("T")

AT_ONCE = 16


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """Do `work` for every item; the first failure ends it and is raised."""
    coming = iter(items)

    async def worker() -> None:
        for item in coming:
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker())
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
