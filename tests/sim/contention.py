"""How long many nodes take to append to one log at once, with the real Log in virtual time and no faults.

python -m tests.sim.contention        # the table in docs/SCALE.md
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from syncd.repo.log import Log
from tests.kit.repo_kit import LOG, REPO_ID, DictMemory, append
from tests.sim.bucket import Bucket
from tests.sim.virtual import SkewedClock, run_virtually
from tests.sim.weather import Weather
from tests.sim.wire import Wire

WITHIN = 1.0
"""Seconds within which all begin."""


@dataclass(frozen=True)
class Contention:
    """Seconds until the last one is done, and how many requests of all together it took."""

    nodes: int
    seconds: float
    creates: int
    gets: int


class _Counting:
    """A life that counts its effects instead of ending at one."""

    def __init__(self, counts: dict[str, int]) -> None:
        self._counts = counts

    async def effect(self, what: str) -> None:
        op, *rest = what.split()
        if rest[-1] != "answered":
            self._counts[op] = self._counts.get(op, 0) + 1


def all_at_once(nodes: int, seed: int = 0, within: float = WITHIN) -> Contention:
    """Let every node append one entry; all begin within a second."""
    rng = random.Random(seed)
    counts: dict[str, int] = {}

    async def work() -> float:
        bucket, weather = Bucket(), Weather(rng)

        async def one(number: int) -> None:
            await asyncio.sleep(rng.uniform(0, within))
            wire = Wire(bucket, weather, _Counting(counts))
            chance = random.Random(f"{seed} {number}")
            log = Log(wire, DictMemory(), REPO_ID, LOG, SkewedClock(), chance)
            await append(log, f"t{number}")

        async with asyncio.TaskGroup() as tasks:
            for number in range(nodes):
                tasks.create_task(one(number))
        assert len(bucket.objects) == nodes
        return asyncio.get_running_loop().time()

    seconds = run_virtually(work)
    return Contention(nodes, seconds, counts["create"], counts["get"])


if __name__ == "__main__":
    for size in (1, 8, 32, 64, 128, 256, 1024):
        found = all_at_once(size)
        print(
            f"{size:5d} nodes: {found.seconds:6.1f} s, {found.creates / size:6.1f} creates and "
            f"{found.gets / size:6.1f} gets each"
        )
