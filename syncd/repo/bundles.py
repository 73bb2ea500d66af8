"""Checkpoints of a log: bundles of 100 and of 10,000 entries, under keys that follow from the slot: no list is needed.

Whoever fills the last slot of a bundle writes it, best effort; a node that is far behind asks for it. Both are free to
fail: a bundle that is missing, stale, damaged or made up costs reading the slots one by one, for nothing in it is
believed before log.py has chained it and compared its last entry with the slot itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from syncd.errors import SyncdError, root_cause
from syncd.format.bundle import MAX_BUNDLE, decode_bundle, encode_bundle
from syncd.format.keys import bundle_key
from syncd.store.base import Store

T = TypeVar("T")

SPANS = (10_000, 100)
"""Slots of a bundle, the larger kind first."""

_AT_ONCE = {10_000: 1, 100: 16}


class Bundles:
    """The bundles of one log.

    Args:
        store: the remote.
        log: key prefix of the log.
    """

    def __init__(self, store: Store, log: str) -> None:
        self._store = store
        self._log = log

    async def read(self, span: int, first: int, count: int) -> list[bytes]:
        """Return what up to `count` neighbouring bundles of `span` slots say stands in the slots from `first` on.

        Fewer when a kind is not read so many at once; nothing when the first of them is of no use, or is large and
        mostly known.
        """
        if span != SPANS[-1] and first % span > span // 2:
            return []
        number = first // span
        wanted = range(number, number + min(count, _AT_ONCE[span]))
        entries: list[bytes] = []
        for bundle in await together([self._get(span, at) for at in wanted]):
            entries += bundle
            if len(bundle) < span:
                break
        return entries[first - number * span :]

    async def write(self, slot: int, entries: Callable[[int, int], Awaitable[Sequence[bytes]]]) -> None:
        """Write every bundle that `slot` is the last of; where that cannot be done there is none.

        Args:
            entries: gives the stored bytes of the slots from one up to before another; fewer when it lacks some.
        """
        for span in SPANS:
            if (slot + 1) % span == 0:
                with suppress(SyncdError):
                    bodies = await entries(slot + 1 - span, slot + 1)
                    if len(bodies) == span:
                        await self._store.put(bundle_key(self._log, span, slot // span), [encode_bundle(bodies)])

    async def _get(self, span: int, number: int) -> list[bytes]:
        with suppress(SyncdError):
            data = await self._store.get(bundle_key(self._log, span, number), 0, MAX_BUNDLE + 1)
            return decode_bundle(data, span)
        return []


async def together(reads: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what several reads give, in order; the first failure ends them all and is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            begun = [tasks.create_task(read) for read in reads]
    except BaseExceptionGroup as group:
        raise root_cause(group) from group
    return [task.result() for task in begun]
