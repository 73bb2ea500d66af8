"""Forgetting ended jobs from time to time; see `syncd.journal.prune` for which."""

from __future__ import annotations

import logging

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.journal.core import Ledger
from syncd.journal.prune import PruneRule, prune_jobs

log = logging.getLogger(__name__)

PRUNE_SECONDS = 3600.0


class Pruner:
    """Keeps the journal from growing with every job there ever was."""

    def __init__(self, ledger: Ledger, clock: Clock, rule: PruneRule | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rule = rule or PruneRule()

    async def run(self) -> None:
        """Forget what may be forgotten, now and once an hour, until cancelled."""
        while True:
            await self._prune()
            await self._clock.sleep(PRUNE_SECONDS)

    async def _prune(self) -> None:
        forgotten = 0
        try:
            while True:
                some = await prune_jobs(self._ledger, self._rule)
                forgotten += some
                if some < self._rule.batch:
                    break
        except SyncdError as error:  # of the journal; it may work again in an hour
            log.warning("cannot forget jobs that ended long ago: %s", error)
        if forgotten:
            log.info("forgot %d jobs that ended long ago", forgotten)
