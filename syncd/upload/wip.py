"""The lists of packs that an upload needs, kept in the remote while it goes on, so that collections leave them alone.

Only liveness: a list that was not written, or is too old, costs storing packs again, never a version. A short upload
writes none, for its packs are younger than any that a collection looks at. A list ages; so long uploads write the
older ones again, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable

from syncd.errors import SyncdError
from syncd.format.epoch import WorkInProgress, encode_wip
from syncd.format.keys import wip_key
from syncd.store.base import Store

PACKS_A_TURN = 64
PACKS_A_LIST = 4096


class PacksInUse:
    """The packs of one upload.

    Args:
        store: the remote.
        txn: the upload's transaction.
        reused: packs of others that it refers to, so far.
    """

    def __init__(self, store: Store, txn: str, reused: Callable[[], set[bytes]]) -> None:
        self._store = store
        self._txn = txn
        self._reused = reused
        self._packs: dict[bytes, None] = {}
        self._turns = 0

    async def again(self, packs: list[bytes]) -> None:
        """Write all lists of what earlier lives have stored."""
        self._packs.update(dict.fromkeys(packs))
        for number in range(self._count()):
            await self._write(number)

    async def add(self, pack: bytes) -> None:
        """One more pack is stored; now and then write a list."""
        self._packs[pack] = None
        if len(self._packs) % PACKS_A_TURN == 0:
            self._packs.update(dict.fromkeys(sorted(self._reused())))
            last = self._count() - 1
            self._turns += 1
            for number in {last, self._turns % (last + 1)}:
                await self._write(number)

    def _count(self) -> int:
        return -(-len(self._packs) // PACKS_A_LIST)

    async def _write(self, number: int) -> None:
        some = list(self._packs)[number * PACKS_A_LIST : (number + 1) * PACKS_A_LIST]
        try:
            await self._store.put(
                wip_key(self._txn, number), [encode_wip(WorkInProgress(txn=self._txn, packs=tuple(some)))]
            )
        except SyncdError:
            return  # best effort; the upload itself will say what is wrong with the remote
