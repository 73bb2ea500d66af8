"""Fourth stage: put packs, several at once, and note each in the journal when it is durable.

The order is the promise: put, then row. A crash in between costs sending that pack again, never a row that lies.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from syncd.format.keys import pack_key
from syncd.format.pack import prove
from syncd.journal.core import Ledger
from syncd.journal.packs import StoredPack, record_stored
from syncd.lanes import Lane
from syncd.store.base import Store
from syncd.upload.parts import PackInFlight, Progress

Advance = Callable[[int, int], None]


class SendStage:
    """Puts sealed packs into the remote.

    Args:
        store: the remote.
        lane: where a pack is proved once more before it goes: what is stored is what was hashed.
        ledger, repo_id, job, draft: where and under what names stored packs are noted.
        sends: packs put at once; `send` waits while that many are on their way.
        tasks: the flow's task group; a failed put ends the flow.
        advance: told (pin, offset) when all bytes of a pinned file before the offset are stored.
        forget: told which pack is noted.
        usable: whether a pack may be noted for others to refer to; asked right before.
        in_use: told which pack is stored.
        progress: told bytes stored.
    """

    def __init__(
        self, store: Store, lane: Lane, ledger: Ledger, repo_id: str, job: str, draft: str, sends: int,
        tasks: asyncio.TaskGroup,
        advance: Advance, forget: Callable[[PackInFlight], None], usable: Callable[[bytes], bool],
        in_use: Callable[[bytes], Awaitable[None]], progress: Progress,
    ) -> None:  # fmt: skip
        self._store = store
        self._lane = lane
        self._ledger = ledger
        self._repo_id = repo_id
        self._job = job
        self._draft = draft
        self._tasks = tasks
        self._room = asyncio.Semaphore(sends)
        self._advance = advance
        self._forget = forget
        self._usable = usable
        self._in_use = in_use
        self._progress = progress
        self._in_order: deque[PackInFlight] = deque()
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, pack: PackInFlight) -> None:
        """Start putting a sealed pack; returns as soon as it is on its way."""
        await self._room.acquire()
        self._in_order.append(pack)
        task = self._tasks.create_task(self._put(pack))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def drained(self) -> None:
        """Return when every pack is stored and noted."""
        while self._sending:
            await asyncio.wait(self._sending)
            for task in [t for t in self._sending if t.done()]:
                task.result()

    async def _put(self, pack: PackInFlight) -> None:
        try:
            packs = []
            if not pack.stored:
                await self._lane.run(prove, pack.frames, pack.parts)
                await self._store.put(pack_key(pack.id), pack.parts)
                await self._in_use(pack.id)
                if self._usable(pack.id):
                    packs = [StoredPack(pack.id, pack.size, tuple(pack.chunks))]
            rows = [row for _, row in pack.rows]
            await record_stored(self._ledger, self._repo_id, self._job, self._draft, packs, rows)
            pack.stored = True
            self._forget(pack)
            self._progress.stored(pack.size)
            self._advance_pins()
        finally:
            pack.dismiss()
            self._room.release()

    def _advance_pins(self) -> None:
        """Packs are noted in any order; a pin advances when all packs before are stored too."""
        while self._in_order and self._in_order[0].stored:
            pack = self._in_order.popleft()
            ends = {pin: row.offset + row.length for pin, row in pack.rows if pin is not None}
            pack.rows = []
            pack.chunks = []
            for pin, end in ends.items():
                self._advance(pin, end)
