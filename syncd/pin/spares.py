"""Descriptors kept back for rescues: when all others are used up, a writer's old bytes can still be saved."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

COUNT = 8  # twice what the threads of the rescue lane need at once, for others may be quicker to take a free one


class Spares:
    """Open descriptors of nothing, closed when one is needed. Any thread."""

    def __init__(self, count: int = COUNT) -> None:
        self._count = count
        self._fds: list[int] = []
        self._fill()

    def use(self, work: Callable[[], T]) -> T:
        """Do what opens one descriptor and return what it returns; when there is none, close a spare and try again.

        `work` leaves nothing behind when it cannot open. Spares are taken back when descriptors are free again.
        """
        self._fill()
        while True:
            try:
                return work()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._free_one():
                    raise

    def close(self) -> None:
        """Close all."""
        self._count = 0
        while self._free_one():
            pass

    def _free_one(self) -> bool:
        try:
            fd = self._fds.pop()
        except IndexError:
            return False
        os.close(fd)
        return True

    def _fill(self) -> None:
        with suppress(OSError):  # none is free now: the next rescue tries again
            while len(self._fds) < self._count:
                self._fds.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
