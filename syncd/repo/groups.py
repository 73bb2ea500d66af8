"""Versions made by several ranks: what the parts of one group add up to. Pure; history.py applies it slot by slot.

Every rank appends a part; the version exists from the part on that leaves no rank missing. Nobody finalises: whoever
finds that its own part is the last one wanted reads the others' manifests first and carries the union with it, as
`whole`. So a reader finds one manifest, as for any commit, and two ranks whose files clash are found out before
there is a version: then the last one appends an abort that says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import UNSET

from syncd.format.log import Commit, Part


@dataclass(frozen=True, slots=True)
class Group:
    """The parts of one version as far as they have come.

    Attributes:
        of: how many ranks contribute; the first part says so.
        parts: the part of each rank that has come; several ranks may share one.
        opened: slot of the first part.
        aborted: why there will be no version; None: nothing speaks against it.
        version: the version that the group became, else None.
    """

    name: str
    of: int
    opened: int
    parts: dict[int, Part] = field(default_factory=dict)
    aborted: str | None = None
    version: int | None = None

    @property
    def open(self) -> bool:
        """Whether a part may still come."""
        return self.aborted is None and self.version is None

    @property
    def missing(self) -> list[int]:
        """The ranks whose part has not come, in order."""
        return [rank for rank in range(self.of) if rank not in self.parts]

    @property
    def shares(self) -> list[Part]:
        """The parts, each once, in the order of the lowest rank of each."""
        return list({part.txn: part for _, part in sorted(self.parts.items())}.values())

    def digest_of(self, rank: int) -> bytes | None:
        """Return the digest of what a rank has contributed; None: its part has not come, or does not say."""
        part = self.parts.get(rank)
        if part is None or part.also is UNSET:
            return part.digest if part else None
        if part.digests is UNSET or len(part.digests) != len(part.ranks):
            return None
        return part.digests[part.ranks.index(rank)]

    def joined(self, part: Part) -> Group | None:
        """Return the group with one more part; None when the part has no effect.

        It has none when the group is not open, when it counts other ranks, when one of its ranks is there already
        (the first entry of a rank counts), or when it would complete the group and does not say what the whole is.
        """
        if not self.open or part.of != self.of or any(rank in self.parts for rank in part.ranks):
            return None
        grown = replace(self, parts=self.parts | dict.fromkeys(part.ranks, part))
        if not grown.missing and len(grown.shares) > 1 and part.whole is UNSET:
            return None
        return grown

    def commit(self, last: Part) -> Commit:
        """Return the commit that the complete group amounts to; `last` is the part that completed it."""
        content = last if last.whole is UNSET else last.whole
        return Commit(
            txn=last.txn,
            prev=last.prev,
            gc_seen=last.gc_seen,
            node=last.node,
            at=last.at,
            manifest=content.manifest,
            manifest_hash=content.manifest_hash,
            manifest_size=content.manifest_size,
            digest=content.digest,
            entries=content.entries,
            files=content.files,
            size=content.size,
            aliases=self._union("aliases"),
            tags=self._union("tags"),
            inputs=self._union("inputs"),
            metadata=self._first("metadata", {}),
            description=self._first("description", ""),
            run=self._first("run", ""),
            run_project=self._first("run_project", ""),
        )

    def _union(self, name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(word for part in self.shares for word in getattr(part, name)))

    def _first(self, name: str, none: Any) -> Any:
        return next((value for part in self.shares if (value := getattr(part, name))), none)
