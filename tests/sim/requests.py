"""How many requests each verb takes of the remote, counted by the metering wrapper around real flows.

python -m tests.sim.requests        # the table in docs/SCALE.md
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

from syncd.collect.params import CollectParams
from syncd.collect.run import Collector
from syncd.format.log import Delete
from syncd.lanes import new_lock
from syncd.meter import Meter
from syncd.store.memory import MemoryStore
from syncd.store.metered import Metered
from tests.kit.collect_kit import AT_ONCE, add
from tests.kit.flow_kit import Node, node
from tests.kit.repo_kit import InstantClock

OPS = ("put", "create", "get", "stat", "list", "delete")
PACK = 16 << 10


class Counter:
    """What a node asks of the remote, from one look to the next."""

    def __init__(self) -> None:
        self.meter = Meter(new_lock())
        self._before = dict.fromkeys(OPS, 0.0)

    def since(self) -> dict[str, int]:
        now = {op: self._count(op) for op in OPS}
        found = {op: int(now[op] - self._before[op]) for op in OPS}
        self._before = now
        return found

    def _count(self, op: str) -> float:
        wanted = {"op": op}.items()
        counts = self.meter.snapshot().counts.items()
        return sum(n for (name, labels), n in counts if name == "remote_requests" and wanted <= set(labels))

    def say(self, what: str) -> None:
        found = self.since()
        print(f"| {what} | " + " | ".join(str(found[op] or "") for op in OPS) + " |")


def blob(rng: random.Random, packs: int) -> dict[bytes, bytes]:
    """Return a file of fresh bytes that fill so many packs of the small repository."""
    return {b"weights": rng.randbytes(packs * PACK)}


async def main(home: Path) -> None:
    bucket, rng = MemoryStore(), random.Random(1)
    one, two = Counter(), Counter()
    async with (
        node(home / "one", Metered(bucket, one.meter, InstantClock(), "r")) as first,
        node(home / "two", Metered(bucket, two.meter, InstantClock(), "r")) as second,
    ):
        one.since()
        print("| what | " + " | ".join(OPS) + " |\n|---" * 1 + "|---|" + "---|" * len(OPS))
        await first.upload(blob(rng, 1))
        one.say("log a version of 1 pack, the first of its artifact")
        base = blob(rng, 1)
        await first.upload(base)
        one.say("log a version of 1 pack")
        await first.upload(base)
        one.say("log the same bytes again")
        await first.upload(blob(rng, 64))
        one.say("log a version of 65 packs")
        two.since()
        await second.download(home / "out", version=2)
        two.say("get that version, on a node that has seen nothing of it")
        await second.history()
        two.say("look whether there is something new")
        await second.upload(blob(rng, 1))
        two.say("log a version of 1 pack, a stranger's being the newest")
        one.since()
        await ranks(first, one, rng)
        collector = Collector(first.repository, first.lane, first.clock, random.Random(1), "one")
        await collector.collect(CollectParams())
        one.say("collect: 1 artifact of 7 versions, nothing to condemn")
        for number in range(9):
            await first.upload(blob(rng, 1), f"art-{number}")
        one.since()
        await collector.collect(CollectParams())
        one.say("collect: 10 artifacts, nothing to condemn")
        await add(first, Delete, version=0)
        one.since()
        await collector.collect(AT_ONCE)
        one.say("collect: 10 artifacts, one deleted version is condemned, then deleted")


async def ranks(at: Node, counter: Counter, rng: random.Random) -> None:
    """Let eight nodes' ranks contribute one after the other."""
    for rank in range(8):
        facts: dict[str, Any] = {"group": "g", "rank": rank, "world_size": 8}
        await at.upload({b"shard-%d" % rank: rng.randbytes(PACK)}, **facts)
        if rank == 1:
            counter.since()
        elif rank == 2:
            counter.say("contribute 1 pack as a rank of 8")
        elif rank == 6:
            counter.since()
    counter.say("contribute 1 pack as the last rank of 8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
