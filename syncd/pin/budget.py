"""What may still be pinned: the spool budget, the room kept free on each disk, the room promised to rescues.

Kept by the loop alone, so nothing here is locked. Every file guarded by a lease has its size promised on the disk its
rescue would write to, because a rescue that finds the disk full is a broken promise.
"""

from __future__ import annotations

from collections import Counter

from syncd.errors import Refused
from syncd.pin.params import PinParams
from syncd.pin.spool import Spool


class Budget:
    """Bytes pinned, and bytes promised per disk."""

    def __init__(self, params: PinParams) -> None:
        self._params = params
        self.pinned = 0
        self._promised: Counter[int] = Counter()

    def require(self, size: int) -> None:
        """Raise Refused when `size` more bytes would go over the spool budget."""
        limit = self._params.spool_budget
        if limit is not None and self.pinned + size > limit:
            raise Refused(
                f"the spool is full: {self.pinned} bytes are pinned, {size} more would go over {limit}",
                "what was logged before has not been uploaded yet",
                "wait for uploads to finish, or raise the spool budget",
            )

    def has_room(self, spool: Spool, free: int, size: int) -> bool:
        """Whether `size` bytes more can be promised on a spool's disk, the reserve left alone."""
        return size + self._promised[spool.dev] + self._params.reserve <= free

    def refuse_room(self, spool: Spool, free: int, size: int) -> Refused:
        """Return the error for a disk that is too full."""
        return Refused(
            f"no room to pin {size} bytes: {free} are free, {self._promised[spool.dev]} of them promised",
            f"{self._params.reserve} bytes of the disk are kept free",
            "free space there, wait for uploads to finish, or lower the reserve",
        )

    def promise(self, spool: Spool, size: int) -> None:
        """Set room aside on a spool's disk."""
        self._promised[spool.dev] += size

    def fulfil(self, spool: Spool, size: int) -> None:
        """Give promised room back: it was used, or is not needed any more."""
        self._promised[spool.dev] -= size
