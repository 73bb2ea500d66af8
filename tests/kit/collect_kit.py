"""Collections in tests: without ages, on a node of flow_kit, and what must hold afterwards."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncd.collect.params import CollectParams
from syncd.collect.run import Collected, Collector
from syncd.format.log import LogEntry
from syncd.model.names import ArtifactKey
from syncd.repo.history import Version
from syncd.repo.repository import Repository
from syncd.store.base import Store
from tests.kit.flow_kit import Files, Node, node
from tests.kit.repo_kit import open_repository

AT_ONCE = CollectParams(min_age=0, grace=0)
KEY = ArtifactKey("p", "data")


def collector(at: Node, seed: int = 1) -> Collector:
    """Return a collector on a node."""
    return Collector(at.repository, at.lane, at.clock, random.Random(seed), at.name)


async def collect(at: Node, params: CollectParams = AT_ONCE, **changes: Any) -> Collected:
    """Collect once, at the worst moment: nothing is too young, nothing has any grace."""
    return await collector(at).collect(replace(params, **changes))


async def keys_of(store: Store, prefix: str) -> list[str]:
    """Return what lies below a prefix."""
    return [info.key async for info in store.list(prefix)]


async def add(at: Node, kind: type, key: ArtifactKey = KEY, **facts: Any) -> None:
    """Append an entry as whatever verb writes it would."""
    txn = f"t-{random.SystemRandom().getrandbits(64):x}"

    def build(_: object, prev: bytes) -> LogEntry:
        return kind(txn=txn, prev=prev, **facts)  # type: ignore[no-any-return]

    await at.repository.artifact_log(key).append(txn, build)


def content(version: Version, entries: int) -> dict[str, Any]:
    """Return what an entry says of content that a version has already."""
    return {
        "manifest": version.manifest, "manifest_hash": version.manifest_hash, "manifest_size": version.manifest_size,
        "digest": version.digest, "entries": entries, "files": version.files, "size": version.size,
    }  # fmt: skip


async def readable(at: Node, root: Path, number: int, name: str = "data") -> Files:
    """Return a version's files as a download gives them, into a fresh directory."""
    from tests.kit.flow_kit import tree

    target = root / f"{name}-{number}-{len(list(root.iterdir())) if root.exists() else 0}"
    target.parent.mkdir(parents=True, exist_ok=True)
    await at.download(target, name, number)
    return tree(target)


@asynccontextmanager
async def fresh(store: Store, state: Path) -> AsyncIterator[Node]:
    """A node that has seen nothing yet."""
    async with node(state, store) as made:
        yield made


async def repository_of(at: Node) -> Repository:
    """Return a second view of the repository, as another process on the node has it."""
    return await open_repository(at.store, at.lane, clock=at.clock)
