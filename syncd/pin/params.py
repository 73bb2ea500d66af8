"""Settings of the pin room, the lanes it works in, and what it can say about its size."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncd.lanes import Lane


@dataclass(frozen=True, slots=True)
class PinParams:
    """What may be set.

    Args:
        spool_budget: bytes that may be pinned in spools at once; None: only the disks bound it.
        reserve: bytes of a disk that stay free whatever is pinned.
        copy_limit: files up to this size are copied into a blob.
        lease_share: share of the descriptor limit that leases may take.
        break_time: seconds a writer can be held; None: ask the kernel (/proc/sys/fs/lease-break-time).
        copy_rate: bytes a second a rescue copies; None: measured when a file is large enough for it to matter.
        spool_tops: spools are made in or below one of these directories only; empty: wherever we may write.
        sync_delay: seconds a pin waits before it is synced, so that the caller's log is not behind its own data.
        lease_limit: most leases held at once; None: lease_share of the descriptor limit.
    """

    spool_budget: int | None = None
    reserve: int = 1 << 30
    copy_limit: int = 64 << 10
    lease_share: float = 0.5
    break_time: float | None = None
    copy_rate: float | None = None
    spool_tops: tuple[bytes, ...] = ()
    sync_delay: float = 2.0
    lease_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PinLanes:
    """The room's threads: `pin` serves callers, `rescue` frees held writers, `sync` flushes in the background."""

    pin: Lane
    rescue: Lane
    sync: Lane


@dataclass(frozen=True, slots=True)
class PinUsage:
    """How many bytes are pinned (way none aside), and how many files per way."""

    bytes: int
    files: dict[str, int] = field(default_factory=dict)
