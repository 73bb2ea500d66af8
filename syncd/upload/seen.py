"""What uploads of this node have seen of collections: the epoch they choose packs by, and packs they must not choose.

The order, for every upload: read the epochs (`learn`), forget in the journal what they condemn, and only then look for
chunks that are stored already. The epoch goes into the names of everything new and, as `gc_seen`, into the log entry.

Several uploads share the journal, and one may read a newer epoch while another still works by an older one. So what
is noted or learned as stored is asked for right before (`usable`): the newer one's forgetting comes after the note in
the journal's single lane, or the note is not made.
"""

from __future__ import annotations

import asyncio

from syncd.journal.core import Ledger
from syncd.journal.packs import forget_condemned, settled_epoch
from syncd.repo.repository import Repository


class Seen:
    """The epochs as one node's uploads know them."""

    def __init__(self, repository: Repository, ledger: Ledger) -> None:
        self._epochs = repository.epochs
        self._repo_id = repository.id
        self._ledger = ledger
        self._forgotten: tuple[int, int] | None = None
        self._turn = asyncio.Lock()

    async def learn(self) -> int:
        """Read the epochs, forget what they condemn, and return the newest: what is chosen from now on has seen it."""
        async with self._turn:
            newest = await self._epochs.refresh(await settled_epoch(self._ledger, self._repo_id))
            settled = self._epochs.settled
            if newest and (newest, settled) != self._forgotten:
                await forget_condemned(self._ledger, self._repo_id, self._epochs.unusable(), settled)
                self._forgotten = (newest, settled)
            return newest

    def usable(self, pack: bytes) -> bool:
        """Whether nothing that was read condemns the pack. Ask without awaiting anything before the note."""
        return not self._epochs.condemned([pack])

    def condemned(self, packs: set[bytes]) -> set[bytes]:
        """Return those that are condemned."""
        return self._epochs.condemned(packs)
