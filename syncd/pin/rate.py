"""Whether a file is small enough to be saved while a writer waits: size <= copy rate x lease-break-time / 2.

The rate is measured once, by writing to the spool's disk as a rescue does, and only when a file is so large that the
answer is not plain for the slowest disk we believe in.
"""

from __future__ import annotations

import os

from syncd.clock import Clock
from syncd.disk import Disk, disk_error
from syncd.pin.params import PinParams
from syncd.pin.spool import Spool

SLOWEST = 50e6  # bytes a second
_SAMPLE = 32 << 20
_BREAK_TIME = "/proc/sys/fs/lease-break-time"
_DEFAULT_BREAK_TIME = 45.0


class RescueRate:
    """Answers `can_rescue`; called in lanes. Two threads that measure at once only waste a moment."""

    def __init__(self, params: PinParams, disk: Disk, clock: Clock) -> None:
        self._disk = disk
        self._clock = clock
        self._rate = params.copy_rate
        self.break_time = params.break_time if params.break_time is not None else _kernel_break_time()

    def can_rescue(self, spool: Spool, size: int) -> bool:
        """Whether `size` bytes can be copied into a spool in half the time the kernel holds a writer."""
        half = self.break_time / 2
        if self._rate is None and size <= SLOWEST * half:
            return True
        if self._rate is None:
            self._rate = self._measure(spool)
        return size <= self._rate * half

    def _measure(self, spool: Spool) -> float:
        path = os.path.join(spool.path, b"rate-%s" % os.urandom(6).hex().encode())
        try:
            fd = self._disk.create(path)
            try:
                block = os.urandom(1 << 20)
                begin = self._clock.monotonic()
                self._disk.append(fd, [block] * (_SAMPLE >> 20))
                self._disk.sync(fd)
                return _SAMPLE / max(self._clock.monotonic() - begin, 1e-6)
            finally:
                os.close(fd)
                self._disk.remove(path)
        except OSError as error:
            raise disk_error(error, "cannot measure the spool's disk", path) from error


def _kernel_break_time() -> float:
    try:
        with open(_BREAK_TIME) as file:
            return float(file.read())
    except (OSError, ValueError):
        return _DEFAULT_BREAK_TIME
