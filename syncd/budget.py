"""The one byte budget of the daemon: whoever wants to hold file bytes, up or down, waits until there is room.

Every flow opens an *account* and takes its bytes by it; the account gives all of them back when the flow ends, however
it ends. Those who wait are served in the order in which they came. One who asks for more than the whole budget is
served when nothing else is held.

**Nobody waits for ever.** Bytes that are held are of two kinds.

* Those that *move on*: a window that is read, hashed or compressed, a sealed pack on its way to the remote, a ranged
  read on its way to a file. To be given back (or come to rest) they need threads and the remote, never more budget.
* Those that *rest*: of an open pack, which waits for more bytes to be filled, bytes that may not come because the
  reader who brings them waits for budget. Its account says how many these are (`rest`).

Whenever what rests leaves too little room for the first in line, the owners of all open packs are asked (`on_press`) to
seal them as they are. Sealing needs no budget, and a sealed pack moves on. So suppose the first in line waited for
ever: in the end all that moves on is given back, and only resting bytes are held. Had they left room enough, it would
have been served; as they do not, their owners were asked, and they rest no more. So the first in line is served, then
the one behind it, and so on. Downloads hold nothing while they wait, and so need no such rule.

Large reads go into buffers that are used again: a fresh one costs about as much in page faults as hashing it does. A
buffer belongs to a hold and is handed back by its last keeper, so whoever keeps a view into it must keep the hold.
Buffers that wait to be used again never stand in the way: with what is held they stay within the budget.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Budget:
    """Bytes that may be in flight at once. Used on the loop's thread alone.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._waiting: deque[tuple[int, bool, asyncio.Future[bytearray | None]]] = deque()
        self._accounts: list[Account] = []
        self._spare: list[bytearray] = []

    @contextmanager
    def account(self) -> Iterator[Account]:
        """Open an account; on leaving it whatever is still held by it is given back. Nobody may use its bytes then."""
        account = Account(self)
        self._accounts.append(account)
        try:
            yield account
        finally:
            self._accounts.remove(account)
            account.closed = True
            if not self._accounts:
                self._spare.clear()
            self._give(account.held)

    @property
    def kept(self) -> int:
        """Bytes held, and bytes of buffers that wait to be used again."""
        return self.used + sum(map(len, self._spare))

    def _ask(self, size: int, lend: bool) -> asyncio.Future[bytearray | None]:
        """Queue up for bytes; the answer is there at once when they are free."""
        turn: asyncio.Future[bytearray | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, lend, turn))
        self._serve()
        return turn

    def _give(self, size: int, buffer: bytearray | None = None) -> None:
        if buffer is not None:
            self._spare.append(buffer)
        self.used -= size
        self._serve()

    def _serve(self) -> None:
        """Serve who can be served; have open packs sealed when they stand in the way of the next."""
        while self._waiting:
            wanted, lend, turn = self._waiting[0]
            if not turn.cancelled():
                if self.used and self.used + wanted > self.limit:
                    break
                self.used += wanted
                turn.set_result(self._lend(wanted) if lend else None)
            self._waiting.popleft()
        while self._spare and self.kept > self.limit:
            self._spare.pop()
        self._press()

    def _press(self) -> None:
        if not self._waiting:
            return
        resting = sum(account.resting for account in self._accounts)
        if resting and resting + self._waiting[0][0] > self.limit:
            for account in self._accounts:
                account._press()  # noqa: SLF001  the classes of this file are one thing

    def _lend(self, size: int) -> bytearray:
        for number, spare in enumerate(self._spare):
            if len(spare) == size:
                return self._spare.pop(number)
        return bytearray(size)


class Account:
    """What one flow holds of the budget.

    Attributes:
        held: bytes.
        resting: those of them that an open pack keeps from others; see the module docstring.
        pressed: the open pack should be sealed as it is, for others wait for its bytes.
        on_press: called when `pressed` becomes true; must only wake whoever looks at it.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0
        self.resting = 0
        self.pressed = False
        self.closed = False
        self.on_press: Callable[[], None] = lambda: None

    async def take(self, size: int, lend: bool = False) -> Hold:
        """Wait until `size` bytes fit and hold them, with a buffer of that size (anything in it) if one is to be lent.

        Let buffers be lent for sizes that come again and again. A cancelled caller holds nothing.
        """
        turn = self._budget._ask(size, lend)  # noqa: SLF001
        try:
            buffer = await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._budget._serve()  # noqa: SLF001  whoever waited behind this one may fit
            else:
                self._budget._give(size, turn.result())  # noqa: SLF001
            raise
        self.held += size
        return Hold(self, size, buffer)

    def rest(self, size: int) -> None:
        """Say how many bytes the open pack keeps from others; 0 when it is sealed."""
        self.resting = size
        if size:
            self._budget._press()  # noqa: SLF001
        else:
            self.pressed = False

    def _press(self) -> None:
        if self.resting and not self.pressed:
            self.pressed = True
            self.on_press()

    def _give(self, size: int, buffer: bytearray | None) -> None:
        if not self.closed:
            self.held -= size
            self._budget._give(size, buffer)  # noqa: SLF001


class Hold:
    """Some bytes held by an account, by one or more keepers; given back when the last of them lets go.

    Attributes:
        size: bytes.
        buffer: as large as this hold, if it was lent one.
    """

    __slots__ = ("_account", "_keepers", "buffer", "size")

    def __init__(self, account: Account, size: int = 0, buffer: bytearray | None = None) -> None:
        self._account = account
        self._keepers = 1
        self.size = size
        self.buffer = buffer

    def keep(self) -> Hold:
        """Add a keeper."""
        self._keepers += 1
        return self

    def shrink(self, size: int) -> None:
        """Hold only `size` bytes from now on, never more than before; nobody may use the buffer any more."""
        buffer, self.buffer = self.buffer, None
        given = max(0, self.size - size)
        self.size -= given
        if given or buffer is not None:
            self._account._give(given, buffer)  # noqa: SLF001

    def release(self) -> None:
        """Let go; the last keeper gives the bytes back."""
        self._keepers -= 1
        if self._keepers == 0:
            self.shrink(0)
