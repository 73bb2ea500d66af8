"""One simulated run: everything that happens in it follows from its seed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from syncd.collect.params import CollectParams
from syncd.journal.jobs import UploadSpec
from syncd.repo.groups import Group
from tests.sim.bucket import Bucket
from tests.sim.checker import Broken, Checker
from tests.sim.errands import aborting, collecting, deleting, reading
from tests.sim.node import Errand, Files, Node, Told
from tests.sim.virtual import Stuck, run_virtually
from tests.sim.weather import DAY, HOUR, Weather

DEADLINE = 60 * DAY
AT_ONCE = CollectParams(min_age=0.0, grace=0.0, wip_ttl=0.0)
"""The worst moment: nothing is too young to be condemned, nothing has any grace."""
LAST_WORDS = 60


@dataclass
class GroupPlan:
    """One version of several ranks: when and on which node each contributes what; who aborts it when."""

    artifact: str
    name: str
    ranks: list[tuple[float, int, Files]]
    clashes: bool = False
    aborts: list[tuple[float, int]] = field(default_factory=list)

    @classmethod
    def drawn(cls, rng: random.Random, artifact: str, name: str, nodes: int, spread: float) -> GroupPlan:
        """Draw a group: ranks on few nodes or many, files alike and their own, now and then a clash or an abort."""
        size = rng.choice([1, 2, 2, 3, 4, 8])
        clashes = size > 1 and rng.random() < 0.2
        common = rng.randbytes(500)
        plan = cls(artifact, name, [], clashes)
        for rank in range(size):
            files: Files = {b"all": common, b"rank-%d" % rank: rng.randbytes(rng.randint(1, 3000))}
            if clashes:
                files[b"config"] = b"of rank %d" % rank
            plan.ranks.append((rng.uniform(0, spread), rng.randrange(nodes), files))
        if rng.random() < 0.2:
            plan.aborts = [(rng.uniform(0, 1.5 * spread), rng.randrange(nodes))]
        return plan


@dataclass
class Plan:
    """Who does what when. Times in virtual seconds."""

    nodes: int
    uploads: list[tuple[float, int, str, Files]] = field(default_factory=list)
    collections: list[tuple[float, int]] = field(default_factory=list)
    deletions: list[tuple[float, int, str]] = field(default_factory=list)
    restorations: list[tuple[float, int, str]] = field(default_factory=list)
    readings: list[tuple[float, int, str]] = field(default_factory=list)
    params: CollectParams = field(default_factory=CollectParams)
    groups: list[GroupPlan] = field(default_factory=list)

    @property
    def promises(self) -> int:
        """Of how many jobs somebody waits for the end."""
        return len(self.uploads) + sum(len(group.ranks) for group in self.groups)

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

        def when() -> tuple[float, int]:
            return rng.uniform(0, 1.2 * spread), rng.randrange(nodes)

        if rng.random() < 0.6:
            plan.groups = [
                GroupPlan.drawn(rng, rng.choice(artifacts), f"step-{number}", nodes, spread)
                for number in range(rng.randint(1, 2 if nodes > 10 else 3))
            ]
        if rng.random() < 0.7:
            plan.deletions = [(*when(), rng.choice(artifacts)) for _ in range(rng.randint(0, 6))]
            plan.restorations = [(*when(), rng.choice(artifacts)) for _ in range(rng.randint(0, 4))]
            plan.collections = [when() for _ in range(rng.randint(1, 5))]
            plan.readings = [(*when(), rng.choice(artifacts)) for _ in range(rng.randint(0, 4))]
            plan.params = rng.choice([AT_ONCE, AT_ONCE, AT_ONCE, CollectParams(60.0, 60.0, HOUR), CollectParams()])
        return plan


def long_plan(rng: random.Random, hours: float, nodes: int) -> Plan:
    """Draw a plan that keeps many nodes busy: each logs every ten minutes or so, groups, collections all the time."""
    plan = Plan(nodes, params=CollectParams(600.0, 600.0, DAY))
    seconds = hours * HOUR
    artifacts = [f"art-{number}" for number in range(4)]
    shared = [rng.randbytes(rng.randint(1, 3000)) for _ in range(4)]
    for node in range(nodes):
        for _ in range(int(seconds / 600)):
            plan.uploads.append((rng.uniform(0, seconds), node, rng.choice(artifacts), drawn_files(rng, shared)))
    for number in range(int(hours * 4)):
        group = GroupPlan.drawn(rng, rng.choice(artifacts), f"step-{number}", nodes, 60.0)
        begins = rng.uniform(0, seconds)
        group.ranks = [(begins + at, node, files) for at, node, files in group.ranks]
        group.aborts = [(begins + at, node) for at, node in group.aborts]
        plan.groups.append(group)
    plan.collections = [(rng.uniform(0, seconds), rng.randrange(nodes)) for _ in range(int(hours * 6))]
    plan.deletions = [(rng.uniform(0, seconds), rng.randrange(nodes), rng.choice(artifacts)) for _ in range(40)]
    plan.restorations = [(rng.uniform(0, seconds), rng.randrange(nodes), rng.choice(artifacts)) for _ in range(20)]
    plan.readings = [(rng.uniform(0, seconds), rng.randrange(nodes), rng.choice(artifacts)) for _ in range(60)]
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
    deletes: int
    complete: int
    aborted: int
    active: float
    """Virtual seconds until all was done; what is late may land weeks after that."""
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
        self._ranks: dict[str, tuple[str, str, int]] = {}
        chance = random.Random(f"{seed} errands")
        for at, node in plan.collections:
            self.nodes[node].errands.append(Errand(at, collecting(plan.params)))
        for at, node, artifact in plan.deletions:
            self.nodes[node].errands.append(Errand(at, deleting(artifact, chance)))
        for at, node, artifact in plan.restorations:
            self.nodes[node].errands.append(Errand(at, deleting(artifact, chance, back=True)))
        for number, group in enumerate(plan.groups):
            for at, node in group.aborts:
                self.nodes[node].errands.append(Errand(at, aborting(number, group.artifact, group.name)))
        for at, node, artifact in plan.readings:
            self.nodes[node].errands.append(Errand(at, reading(artifact, chance, self.checker)))

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
                        spec = spec_of(f"txn-{number}", files)
                        self.checker.promise(spec.txn, files)
                        asking.create_task(self._ask(at, self.nodes[node], artifact, spec, files))
                    for group in self.plan.groups:
                        self._ask_group(group, asking)
                await self._done.wait()
                while not all(errand.done for node in self.nodes for errand in node.errands):
                    await asyncio.sleep(HOUR)
                for node in self.nodes:
                    self.checker.compare(node)
                for life in lives:
                    life.cancel()
        active = asyncio.get_running_loop().time()
        await asyncio.sleep(DEADLINE)  # whatever is late lands
        await self.checker.everything()
        return Report(
            self.seed, self.plan.nodes, self.checker.steps, self.bucket.requests,
            sum(node.crashes for node in self.nodes), self.checker.deleted,
            sum(group.version is not None for group in self._groups()),
            sum(group.aborted is not None for group in self._groups()), active, self._hash.hexdigest(),
        )  # fmt: skip

    def _ask_group(self, group: GroupPlan, asking: asyncio.TaskGroup) -> None:
        local = Counter(node for _, node, _ in group.ranks)
        if group.clashes:
            self.checker.clashing.add((group.artifact, group.name))
        for rank, (at, node, files) in enumerate(group.ranks):
            self.checker.promise_rank(group.artifact, group.name, rank, files)
            facts = {"rank": rank, "world_size": len(group.ranks), "local_world_size": local[node]}
            spec = spec_of(f"{group.name}-{rank}", files, group=group.name, **facts)
            self._ranks[f"draft-{spec.txn}"] = (group.artifact, group.name, rank)
            asking.create_task(self._ask(at, self.nodes[node], group.artifact, spec, files))

    async def _ask(self, at: float, node: Node, artifact: str, spec: UploadSpec, files: Files) -> None:
        """Be a client: log, and again until the node says it has taken it."""
        await asyncio.sleep(at)
        txn = spec.txn
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

    def _groups(self) -> list[Group]:
        return [group for history in self.checker.histories.values() for group in history.groups.values()]

    def _told(self, told: Told) -> None:
        self.checker.answered(told)
        if len(self.checker.told) == self.plan.promises:
            self._done.set()

    def _let_go(self, draft: str) -> None:
        if draft in self._ranks:
            self.checker.group_released(*self._ranks[draft])
        else:
            self.checker.released(draft.removeprefix("draft-"))


def spec_of(txn: str, files: Files, **more: Any) -> UploadSpec:
    """Return what a client logs."""
    return UploadSpec(txn=txn, type="dataset", files=len(files), bytes=sum(map(len, files.values())), **more)


def play(seed: int, most: int = 100, requests: int = 0) -> Report:
    """Play the run of a seed, with at most so many nodes, and requests if it says so.

    Raises:
        Broken: a law was broken; the message has the seed and the last steps.
    """
    rng = random.Random(seed)
    plan, weather = Plan.drawn(rng, most), Weather.drawn(rng)
    return run(seed, plan, weather, requests)


def play_long(seed: int, hours: float, nodes: int) -> Report:
    """Keep many nodes busy for hours, in weather that does not calm down before the end."""
    rng = random.Random(seed)
    plan = long_plan(rng, hours, nodes)
    weather = Weather(rng, 0.05, 0.0005, 0.0005, 0.3, calm=hours * HOUR, longest=HOUR)
    return run(seed, plan, weather, most=10_000_000)


def run(seed: int, plan: Plan, weather: Weather, most: int = 0) -> Report:
    """Play a plan in some weather. `most` requests at most, if it says so."""
    made: list[World] = []

    async def work() -> Report:
        made.append(World(seed, plan, weather))
        made[0].bucket.most = most or made[0].bucket.most
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
