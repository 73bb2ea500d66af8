"""Jobs that ended long ago are forgotten at the start and from time to time, through trouble of the journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

from syncd.errors import LocalDisk
from syncd.jobs.states import Kind
from syncd.journal.prune import PruneRule
from syncd.service.pruning import PRUNE_SECONDS, Pruner
from tests.kit.engine_kit import world


async def test_jobs_are_forgotten_at_the_start_and_every_hour_after_trouble_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number in range(7):
            await w.ended(await w.submit(f"j{number}", kind=Kind.DOWNLOAD, created=float(number)))
        w.ledger.failures = [LocalDisk("the disk is full")]
        pruner = asyncio.ensure_future(Pruner(w.ledger, w.clock, PruneRule(newest=2, batch=2)).run())
        async with asyncio.timeout(5):
            await w.clock.sleeping()
            assert len(await w.rows.page()) == 7, "nothing could be written"
            w.clock.advance(PRUNE_SECONDS)
            await w.clock.sleeping()
        assert len(await w.rows.page()) == 2, "batch after batch"
        assert not pruner.done()
        pruner.cancel()
        await asyncio.wait([pruner])
