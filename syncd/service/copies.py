"""The verb copy: a version into another repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from syncd.budget import Budget
from syncd.clock import Clock
from syncd.lanes import Lane
from syncd.mirror.copy import CopyWork, Told, copy_version, same_repository
from syncd.model.names import ArtifactKey
from syncd.model.views import CopyView
from syncd.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class CopyVerbs:
    """Copies versions.

    Args:
        source: opens this daemon's repository for reading.
        target: opens the repository at an address; NotFound when there is none.
        node: this node's id, told in entries over there.
    """

    source: Callable[[], Awaitable[Repository]]
    target: Callable[[str], AbstractAsyncContextManager[Repository]]
    lane: Lane
    budget: Budget
    clock: Clock
    node: str

    async def copy(self, key: ArtifactKey, ref: str, url: str, to: ArtifactKey, told: Told) -> CopyView:
        """Make the version `ref` of an artifact a version of `to` in the repository at `url`. May be repeated.

        Raises:
            NotFound: no such version, or no repository there.
            Conflict: it is this very repository, or the artifact has another type there.
            Corrupt, RemoteUnavailable, RemoteRefused: as the remotes say.
        """
        source = await self.source()
        history, version, _ = await source.found(key, ref)
        async with self.target(url) as target:
            same_repository(source, target)
            work = CopyWork(source, target, self.lane, self.budget, self.clock, self.node)
            made = await copy_version(work, history, version, to, told)
        assert made.version is not None, "a commit is a version"
        return CopyView(
            project=to.project, name=to.name, version=made.version, new_version=made.new_version,
            source=f"{key}:v{version.number}", digest=made.digest.hex(), bytes_stored=made.bytes_stored,
            files=made.files, bytes=made.bytes, warnings=list(made.warnings),
        )  # fmt: skip
