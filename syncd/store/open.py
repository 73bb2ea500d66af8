"""From the word people write to a working remote: the one module that knows every store and how they are stacked.

From the outside in: Retry (a pause holds no slot), Limit (waiting for a slot is no request time), Metered (every try
counts), what a test kit wraps around the back end, the back end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from syncd.clock import Chance, Clock
from syncd.disk import Disk
from syncd.errors import RemoteRefused, RemoteUnavailable
from syncd.lanes import Lane
from syncd.meter import Meter
from syncd.store.address import BUCKETS, RemoteAddress, parse_remote
from syncd.store.base import Store
from syncd.store.limit import Limit
from syncd.store.local import LocalStore
from syncd.store.memory import MemoryStore
from syncd.store.metered import Metered
from syncd.store.retry import Retry, RetryParams

__all__ = ["LimitParams", "RemoteAddress", "StoreParts", "credentials_of", "open_store", "parse_remote"]


@dataclass(frozen=True, slots=True)
class LimitParams:
    """What Limit may spend: requests at once, and bytes a second (None: as many as there are)."""

    concurrent: int = 8
    bytes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class StoreParts:
    """What a stack of stores is built from.

    Attributes:
        writer: word for this process's temporary files; no other running process may use it on the same remote.
        remote: the remote's name in metrics.
    """

    disk: Disk
    lane: Lane
    clock: Clock
    rng: Chance
    meter: Meter
    writer: str
    remote: str = "default"
    limits: LimitParams = field(default_factory=LimitParams)
    retry: RetryParams = field(default_factory=RetryParams)


async def open_store(
    address: RemoteAddress, parts: StoreParts, *, create: bool, wrap: Callable[[Store], Store] | None = None
) -> Store:
    """Build the stack for a remote and clear away what a crash of this writer left in it.

    A remote that is away is no error here: the first verb says so, and says it again until it is back.

    Args:
        create: make the root if it is missing. Without it a missing root stays missing.
        wrap: goes around the back end, below all other wrappers (fault injection).

    Raises:
        RemoteUnavailable, RemoteRefused: `create` was asked for and cannot be done.
    """
    inner = wrap or (lambda store: store)
    limits = parts.limits
    metered = Metered(inner(await _back_end(address, parts, create)), parts.meter, parts.clock, parts.remote)
    limited = Limit(metered, parts.clock, limits.concurrent, limits.bytes_per_second)
    return Retry(limited, parts.clock, parts.rng, parts.retry)


def credentials_of(address: RemoteAddress) -> str:
    """Return in words where a remote's credentials come from, "" where it needs none; never a value of them."""
    if address.kind not in BUCKETS:
        return ""
    from syncd.store.bucket import found_credentials

    return found_credentials(address, os.environ)


async def _back_end(address: RemoteAddress, parts: StoreParts, create: bool) -> Store:
    if address.kind == "memory":
        return MemoryStore(parts.clock)
    if address.kind in BUCKETS:
        from syncd.store.bucket import open_bucket  # the library costs 20 ms: only who has a bucket pays

        return open_bucket(address, parts.clock)
    local = LocalStore(address.path, parts.disk, parts.lane, parts.writer, parts.rng)
    if create:
        await local.make_root()
    with suppress(RemoteUnavailable, RemoteRefused):  # away or read-only: garbage can wait for the next start
        await local.sweep()
    return local
