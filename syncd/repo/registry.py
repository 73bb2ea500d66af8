"""Replay of the registry's log: which artifacts there are, and up to which epoch collection has fenced it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from syncd.format.log import Fence, Register
from syncd.model.names import ArtifactKey
from syncd.repo.log import Slot


@dataclass(frozen=True, slots=True)
class Registered:
    """One artifact the registry knows. Its log may not exist yet when its first writer died in between."""

    key: ArtifactKey
    type: str


@dataclass(slots=True)
class Registry:
    """The state after some prefix of the registry's log. Mutated only by `apply`.

    A `register` written behind a fence without having seen it counts for nothing, its transaction id included: the
    collection that fenced did not see the artifact, so its first writer must see the collection.
    """

    fence: int = 0
    artifacts: dict[ArtifactKey, Registered] = field(default_factory=dict)
    applied: int = 0
    _txns: set[str] = field(default_factory=set)

    def apply(self, slots: Iterable[Slot]) -> Registry:
        """Apply the slots not applied yet, in order; return self."""
        for slot in slots:
            if slot.number < self.applied:
                continue
            self.applied = slot.number + 1
            entry = slot.entry
            if entry.txn in self._txns or (isinstance(entry, Register) and entry.gc_seen < self.fence):
                continue
            self._txns.add(entry.txn)
            if isinstance(entry, Fence):
                self.fence = max(self.fence, entry.epoch)
            elif isinstance(entry, Register):
                key = ArtifactKey(entry.project, entry.name)
                self.artifacts.setdefault(key, Registered(key, entry.type))
        return self
