"""One simulated run: everything that happens in it follows from its seed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from syncd.journal.jobs import UploadSpec
from tests.sim.bucket import Bucket
from tests.sim.checker import Broken, Checker
from tests.sim.node import Files, Node
from tests.sim.virtual import Stuck, run_virtually
from tests.sim.weather import DAY, HOUR, Weather

DEADLINE = 60 * DAY
LAST_WORDS = 60


@dataclass
class Plan:
    """Who does what when. Times in virtual seconds."""

    nodes: int
    uploads: list[tuple[float, int, str, Files]] = field(default_factory=list)

    @classmethod
    def drawn(cls, rng: random.Random, most: int = 100) -> Plan:
        """Draw a plan: mostly a few nodes, sometimes a hundred."""
        nodes = min(most, rng.choice([1, 2, 2, 3, 3, 4, 5, 6, 8, 12] * 9 + [20, 32, 64, 100]))
        plan = cls(nodes)
        artifacts = [f"art-{number}" for number in range(rng.randint(1, 3))]
        shared = [rng.randbytes(rng.randint(1, 3000)) for _ in range(4)]
        spread = rng.choice([1.0, 600.0, DAY / 4])
        for node in range(nodes):
            for _ in range(rng.randint(1, 4 if nodes < 10 else 1)):
                plan.uploads.append((rng.uniform(0, spread), node, rng.choice(artifacts), drawn_files(rng, shared)))
        return plan


def drawn_files(rng: random.Random, shared: list[bytes]) -> Files:
    """Draw an artifact: some bytes that others log too, some of its own."""
    files: Files = {}
    for number in range(rng.randint(1, 4)):
        content = rng.choice(shared) if rng.random() < 0.6 else rng.randbytes(rng.randint(1, 6000))
        files[b"f%d" % number] = content
    return files


@dataclass
class Report:
    """What a run came to."""

    seed: int
    nodes: int
    steps: int
    requests: int
    crashes: int
    seconds: float
    trace: str


class World:
    """The bucket, the nodes and the checker of one run."""

    def __init__(self, seed: int, plan: Plan, weather: Weather) -> None:
        self.seed = seed
        self.plan = plan
        self.weather = weather
        self.bucket = Bucket()
        self.checker = Checker(self.bucket)
        self.last = deque[str](maxlen=LAST_WORDS)
        self._hash = hashlib.blake2b()
        self.nodes = [
            Node(
                f"n{number}", self.bucket, weather, random.Random(f"{seed} node {number}"), self.note,
                self._told, self._let_go,
            )
            for number in range(plan.nodes)
        ]  # fmt: skip
        self._done = asyncio.Event()

    def note(self, what: str) -> None:
        """Note a step: the last ones are printed when a law is broken."""
        line = f"{asyncio.get_running_loop().time():.6f} {what}"
        self.last.append(line)
        self._hash.update(line.encode())

    async def play(self) -> Report:
        """Run until all that was asked for is done and everything late has landed; judge the end."""
        for node in self.nodes:
            await node.open()
        async with asyncio.timeout(DEADLINE):
            async with asyncio.TaskGroup() as tasks:
                lives = [tasks.create_task(node.live()) for node in self.nodes]
                async with asyncio.TaskGroup() as asking:
                    for number, (at, node, artifact, files) in enumerate(self.plan.uploads):
                        asking.create_task(self._ask(number, at, self.nodes[node], artifact, files))
                await self._done.wait()
                for node in self.nodes:
                    self.checker.compare(node)
                for life in lives:
                    life.cancel()
        await asyncio.sleep(DEADLINE)  # whatever is late lands
        await self.checker.everything()
        return Report(
            self.seed, self.plan.nodes, self.checker.steps, self.bucket.requests,
            sum(node.crashes for node in self.nodes), asyncio.get_running_loop().time(), self._hash.hexdigest(),
        )  # fmt: skip

    async def _ask(self, number: int, at: float, node: Node, artifact: str, files: Files) -> None:
        """Be a client: log, and again until the node says it has taken it."""
        await asyncio.sleep(at)
        txn = f"txn-{number}"
        spec = UploadSpec(txn=txn, type="dataset", files=len(files), bytes=sum(map(len, files.values())))
        self.checker.promise(txn, files)
        node.spool.add(f"draft-{txn}", files)
        taken: str | None = None
        patience = 1.0
        while taken is None:
            life = node.life
            if life is not None and life.alive:
                try:
                    await life.accept(txn, artifact, spec)
                    taken = txn
                except asyncio.CancelledError:
                    if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                        raise
            if taken is None:
                patience *= 2
                await asyncio.sleep(min(patience, HOUR))

    def _told(self, told: object) -> None:
        self.checker.answered(told)  # type: ignore[arg-type]
        if len(self.checker.told) == len(self.plan.uploads):
            self._done.set()

    def _let_go(self, draft: str) -> None:
        self.checker.released(draft.removeprefix("draft-"))


def play(seed: int, most: int = 100) -> Report:
    """Play the run of a seed.

    Raises:
        Broken: a law was broken; the message has the seed and the last steps.
    """
    rng = random.Random(seed)
    plan, weather = Plan.drawn(rng, most), Weather.drawn(rng)
    return run(seed, plan, weather)


def run(seed: int, plan: Plan, weather: Weather) -> Report:
    """Play a plan in some weather."""
    made: list[World] = []

    async def work() -> Report:
        made.append(World(seed, plan, weather))
        return await made[0].play()

    try:
        with _bugs_are_heard():
            return run_virtually(work)
    except (AssertionError, Stuck, TimeoutError, BaseExceptionGroup) as error:
        steps = "\n".join(made[0].last) if made else ""
        raise Broken(f"{_said(error)}\nSIM_SEED={seed} repeats it; {weather}\nthe last steps:\n{steps}") from error


def _said(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


class _Bugs(logging.Handler):
    """The engine logs what it did not expect and goes on; here that ends the run."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            raise Broken(f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _bugs_are_heard() -> Iterator[None]:
    heard, room = _Bugs(logging.ERROR), logging.getLogger("syncd")
    level, passes = room.level, room.propagate
    room.addHandler(heard)
    room.setLevel(logging.ERROR)
    room.propagate = False
    try:
        yield
    finally:
        room.removeHandler(heard)
        room.setLevel(level)
        room.propagate = passes
