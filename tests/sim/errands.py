"""What nodes do besides uploading: delete versions, collect garbage, read what is there."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from syncd.collect.params import CollectParams
from syncd.collect.run import Collector
from syncd.errors import Corrupt, NotFound
from syncd.format.log import Abort, LogEntry
from syncd.model.names import ArtifactKey
from syncd.repo.history import Version
from syncd.repo.log import Slot
from syncd.service.history import HistoryVerbs
from tests.sim.checker import Broken, Checker
from tests.sim.node import Life
from tests.sim.reading import read_version
from tests.sim.virtual import InlineLane

Work = Callable[[Life], Awaitable[None]]


def collecting(params: CollectParams) -> Work:
    """Collect once."""

    async def collect(life: Life) -> None:
        repository = await life.remote.repository()
        await Collector(repository, InlineLane(), life.clock, life.chance, life.node.name).collect(params)

    return collect


def deleting(artifact: str, rng: random.Random, *, back: bool = False) -> Work:
    """Delete some version that is there, or take some deletion back, by the verbs that people have."""
    key, chance = ArtifactKey("p", artifact), rng.random()

    async def change(life: Life) -> None:
        verbs = HistoryVerbs(
            life.remote.repository, InlineLane(), life.budget, life.clock, life.node.name,
            lambda: f"change-{life.chance.getrandbits(64):x}", life.remote.repository,
        )  # fmt: skip
        repository = await life.remote.repository()
        with suppress(NotFound):  # no such artifact yet; or collection has condemned what would have to come back
            history = await repository.history(key)
            found = [version.number for version in history.versions if version.deleted == back]
            if found:
                chosen = f"v{found[int(chance * len(found))]}"
                await (verbs.restore(key, chosen) if back else verbs.remove(key, chosen, delete_aliases=True))

    return change


def aborting(number: int, artifact: str, group: str) -> Work:
    """Abort a group if it is open by then."""
    key = ArtifactKey("p", artifact)

    async def abort(life: Life) -> None:
        repository = await life.remote.repository()

        def build(slots: list[Slot], prev: bytes) -> LogEntry | None:
            found = repository.replay(key).groups.get(group)
            if found is None or not found.open:
                return None
            return Abort(txn=f"abort-{number}", prev=prev, group=group, reason="somebody wanted it so")

        with suppress(NotFound):
            await repository.history(key)
            await repository.artifact_log(key).append(f"abort-{number}", build)

    return abort


def reading(artifact: str, rng: random.Random, checker: Checker) -> Work:
    """Read some version; where that fails it was deleted, or moved to other packs, while it was read."""
    key, chance = ArtifactKey("p", artifact), rng.random()

    async def read(life: Life) -> None:
        repository = await life.remote.repository()
        while True:
            try:
                history = await repository.history(key)
            except NotFound:
                return
            alive = [version for version in history.versions if not version.deleted]
            if not alive:
                return
            version = alive[int(chance * len(alive))]
            try:
                content, _ = await read_version(repository, version)
            except Corrupt as error:
                if _as_it_was(checker, key, version):
                    raise Broken(f"{key}:v{version.number} cannot be read: {error}") from error
                continue
            checker.read(key, version, content)
            return

    return read


def _as_it_was(checker: Checker, key: ArtifactKey, version: Version) -> bool:
    now = checker.histories[key].versions[version.number]
    return not now.deleted and now.manifest == version.manifest
