"""The byte budget of one upload: whoever wants to hold bytes waits until there is room.

Large reads go into buffers that are used again: a fresh one costs about as much in page faults as hashing it does. A
buffer belongs to a hold and is handed back by its last keeper, so whoever keeps a view into it must keep the hold.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Budget:
    """Bytes that may be in flight at once; first come, first served.

    Args:
        limit: bytes. A request for more than that is granted when nothing else is held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._spare: dict[int, list[bytearray]] = {}

    async def take(self, size: int) -> Hold:
        """Wait until `size` bytes fit and hold them."""
        if self._waiting or not self.fits(size):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.cancelled():
                    self._give(0)  # whoever waited behind this one may fit
                else:
                    self._give(size)
                raise
        else:
            self.used += size
        return Hold(self, size)

    def fits(self, size: int) -> bool:
        """Whether `size` more bytes could be held now."""
        return self.used == 0 or self.used + size <= self.limit

    def _lend(self, size: int) -> bytearray:
        spare = self._spare.get(size)
        return spare.pop() if spare else bytearray(size)

    def _take_back(self, buffer: bytearray) -> None:
        self._spare.setdefault(len(buffer), []).append(buffer)

    def _give(self, size: int) -> None:
        self.used -= size
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
            elif self.fits(wanted):
                self._waiting.popleft()
                self.used += wanted
                turn.set_result(None)
            else:
                return


class Hold:
    """Some bytes held of a budget, by one or more keepers; given back when the last of them lets go."""

    __slots__ = ("_budget", "_buffer", "_keepers", "size")

    def __init__(self, budget: Budget, size: int) -> None:
        self._buffer: bytearray | None = None
        self._budget = budget
        self._keepers = 1
        self.size = size

    def keep(self) -> Hold:
        """Add a keeper."""
        self._keepers += 1
        return self

    def buffer(self) -> bytearray:
        """Return a buffer as large as this hold, with anything in it; ask for sizes that come again and again."""
        if self._buffer is None:
            self._buffer = self._budget._lend(self.size)  # noqa: SLF001  the two classes are one thing
        return self._buffer

    def shrink(self, size: int) -> None:
        """Hold only `size` bytes from now on, never more than before; nobody may use the buffer any more."""
        if self._buffer is not None:
            self._budget._take_back(self._buffer)  # noqa: SLF001
            self._buffer = None
        if size < self.size:
            self._budget._give(self.size - size)  # noqa: SLF001
            self.size = size

    def release(self) -> None:
        """Let go; the last keeper gives the bytes back."""
        self._keepers -= 1
        if self._keepers == 0:
            self.shrink(0)
