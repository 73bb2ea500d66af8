"""What the logs say is needed: the roots of a collection, replayed artifact by artifact and let go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from syncd.collect.each import each
from syncd.model.names import ArtifactKey
from syncd.repo.history import History
from syncd.repo.registry import Registered
from syncd.repo.repository import Repository


@dataclass(frozen=True, slots=True)
class Root:
    """One manifest that is needed, and why.

    Attributes:
        owner: whose it is, for people: "project/name:v3", "project/name, group g, rank 0".
        why: "version", "link", "kept", "open group", or "deleted": then it is no root, only spoken of.
        key, version: the artifact and the number of the version; None for a part of a group.
        manifest, manifest_hash, digest: as in the log.
    """

    owner: str
    why: str
    key: ArtifactKey
    version: int | None
    manifest: str
    manifest_hash: bytes
    digest: bytes


@dataclass(slots=True)
class Survey:
    """All logs at one time.

    Attributes:
        roots: what is needed.
        deleted: versions that nothing protects, whose bytes may still be there.
        ended: of the transactions asked about, those that are in a log.
    """

    artifacts: int = 0
    roots: list[Root] = field(default_factory=list)
    deleted: list[Root] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)

    def take(self, history: History, asked: set[str]) -> None:
        """Add what one artifact's history needs."""
        self.artifacts += 1
        for root in needed(history):
            (self.deleted if root.why == "deleted" else self.roots).append(root)
        if asked:
            parts = {part.txn for group in history.groups.values() for part in group.parts.values()}
            self.ended |= asked & (parts | history.outcomes.keys())


def needed(history: History) -> Iterator[Root]:
    """Yield the versions and the parts of open groups of a history."""
    key = history.key
    for v in history.versions:
        why = "kept" if v.kept else "deleted" if v.deleted else "link" if v.source else "version"
        yield Root(f"{key}:v{v.number}", why, key, v.number, v.manifest, v.manifest_hash, v.digest)
    for group in history.groups.values():
        if group.open:
            for part in group.shares:
                owner = f"{key}, group {group.name}, rank {part.index}"
                yield Root(owner, "open group", key, None, part.manifest, part.manifest_hash, part.digest)


async def survey(repository: Repository, asked: set[str]) -> Survey:
    """Replay the registry and every log it names.

    Args:
        asked: transactions of which `ended` shall tell whether they are in a log.

    Raises:
        Corrupt: a log cannot be read; nothing is deleted then.
    """
    found = Survey()

    async def replay(item: Registered) -> None:
        log, history = repository.visit(item.key)
        found.take(history.apply(await log.refresh()), asked)

    await each(list((await repository.registered()).artifacts.values()), replay)
    return found
