"""Listing artifacts: many logs at once, in order, and one that is damaged hides none of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from syncd.budget import Budget
from syncd.errors import RemoteRefused, RemoteUnavailable
from syncd.format.keys import artifact_log
from syncd.format.log import Create, Register
from syncd.lanes import Lane
from syncd.model.names import ArtifactKey
from syncd.repo.repository import Repository
from syncd.service.history import HistoryVerbs
from syncd.store.base import Store
from syncd.store.memory import MemoryStore
from tests.kit.repo_kit import InstantClock, open_repository
from tests.kit.stores import FlakyStore, flip_bit, on, refuse

NAMES = [f"n{number:03d}" for number in range(60)]


class Counting(FlakyStore):
    """A slow store: an answer takes several turns of the loop; `most` were asked for at once."""

    now = most = 0

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(5 + hash(key) % 7):  # answers come in another order than they were asked for
                await asyncio.sleep(0)
            return await super().get(key, offset, length)
        finally:
            self.now -= 1


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    lane = Lane("tests")
    yield lane
    lane.close()


@pytest.fixture
async def store(lane: Lane) -> MemoryStore:
    """A remote with an artifact of each name, none with a version."""
    store = MemoryStore()
    repository = await open_repository(store, lane)
    for name in NAMES:
        await _make(repository, name)
    return store


async def _make(repository: Repository, name: str) -> None:
    registered, made = f"reg-{name}", f"new-{name}"
    await repository.registry().append(
        registered, lambda _, prev: Register(txn=registered, prev=prev, project="p", name=name, type="t")
    )
    await repository.artifact_log(ArtifactKey("p", name)).append(
        made, lambda _, prev: Create(txn=made, prev=prev, type="t")
    )


def verbs(store: Store, lane: Lane) -> HistoryVerbs:
    opened: list[Repository] = []

    async def repository() -> Repository:
        if not opened:
            opened.append(await open_repository(store, lane))
        return opened[0]

    return HistoryVerbs(repository, lane, Budget(1 << 20), InstantClock(), "node", lambda: "txn", repository)


async def test_logs_are_read_some_at_once_and_told_in_order(store: MemoryStore, lane: Lane) -> None:
    slow = Counting(store)
    page, after = await verbs(slow, lane).artifacts("", "", 1000)
    assert [artifact.name for artifact in page] == NAMES
    assert after == ""
    assert slow.most == 16
    page, after = await verbs(Counting(store), lane).artifacts("p", f"p/{NAMES[9]}", 7)
    assert [artifact.name for artifact in page] == NAMES[10:17]
    assert after == f"p/{NAMES[16]}"


@pytest.mark.parametrize(
    ("fault", "code"), [(flip_bit(100), "corrupt"), (refuse(RemoteRefused("not yours")), "remote_refused")]
)
async def test_a_log_that_cannot_be_read_is_told_and_hides_no_other(
    store: MemoryStore, lane: Lane, fault: object, code: str
) -> None:
    bad = on("get", artifact_log(ArtifactKey("p", NAMES[5])), fault)  # type: ignore[arg-type]
    page, _ = await verbs(FlakyStore(store, bad), lane).artifacts("", "", 1000)
    assert [artifact.name for artifact in page] == NAMES
    [told] = [artifact for artifact in page if artifact.error is not None]
    assert (told.name, told.type, told.latest) == (NAMES[5], "t", None)
    assert told.error is not None
    assert told.error.code == code


async def test_a_remote_that_is_away_is_said_as_it_is(store: MemoryStore, lane: Lane) -> None:
    away = on("get", artifact_log(ArtifactKey("p", NAMES[5])), refuse(RemoteUnavailable("away")))
    with pytest.raises(RemoteUnavailable, match="away"):
        await verbs(FlakyStore(store, away), lane).artifacts("", "", 1000)
