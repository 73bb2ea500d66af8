"""What a check can find, in types."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

HURTS_TOLD = 20
FINDINGS_TOLD = 200
DAMAGED_TOLD = 1000


class Kind(StrEnum):
    """What is wrong with an object."""

    MISSING = "missing"
    TRUNCATED = "truncated"
    FLIPPED = "flipped"
    SWAPPED = "swapped"
    FORKED = "forked"
    SHORTENED = "shortened"
    UNREGISTERED = "unregistered"
    UNREADABLE = "unreadable"


MEANING = {
    Kind.MISSING: "it is not there",
    Kind.TRUNCATED: "its end is missing",
    Kind.FLIPPED: "its bytes changed",
    Kind.SWAPPED: "another object lies in its place",
    Kind.FORKED: "this node has seen another entry there",
    Kind.SHORTENED: "this node has seen more entries",
    Kind.UNREGISTERED: "the registry does not name it, so a collection would not see it",
    Kind.UNREADABLE: "the remote does not give it out",
}
"""What each kind means, in words."""

REPAIR = "`syncctl fsck --repair` looks for its bytes elsewhere"
FORK = "two histories exist: keep a copy of both, find out who wrote the other one, put the right objects back by hand"
RESTORE = "restore it from a backup of the remote, or give the versions up: `syncctl rm`"
AGAIN = "see that the remote answers, then check again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One damaged object.

    Attributes:
        kind, key: what is wrong with which object.
        what: the same for people, with details.
        hurts: versions ("project/name:v3") that cannot be had because of it, at most 20; `more` further ones.
        todo: what a person can do next.
        outcome: what a repair made of it: "", "restored from the mirror", "repaired", "quarantined" ...
    """

    kind: Kind
    key: str
    what: str
    hurts: tuple[str, ...] = ()
    more: int = 0
    todo: str = REPAIR
    outcome: str = ""

    @property
    def mended(self) -> bool:
        """Whether nothing is hurt by it any more."""
        return self.outcome.startswith(("restored", "repaired"))


@dataclass(frozen=True, slots=True)
class CheckParams:
    """What to check.

    Attributes:
        share: of the packs, from 0 to 1, whose chunks are read and hashed.
        seed: which ones; the same seed reads the same.
        repair: mend what can be mended.
    """

    share: float = 0.0
    seed: int = 0
    repair: bool = False


@dataclass(slots=True)
class Report:
    """What a check looked at and what it found.

    Attributes:
        damaged: versions hurt, with the words of what hurts them.
        bytes_read: of chunks that were read and hashed.
        seed: of the sample.
    """

    artifacts: int = 0
    versions: int = 0
    logs: int = 0
    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    seed: int = 0
    findings: list[Finding] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, or wrong any more."""
        return all(finding.mended for finding in self.findings)


def told(owners: set[str]) -> tuple[tuple[str, ...], int]:
    """Return `hurts` and `more` of a finding."""
    listed = sorted(owners)
    return tuple(listed[:HURTS_TOLD]), max(0, len(listed) - HURTS_TOLD)
