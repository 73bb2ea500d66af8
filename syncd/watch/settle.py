"""When is a sub-directory quiet? Pure: from successive signatures and the times they were seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """A signature and since when (monotonic seconds) it has been seen with nobody writing."""

    signature: bytes
    since: float


def observe(previous: Sight | None, signature: bytes, ended: float, busy: bool = False) -> Sight:
    """Return what is known after one more look.

    Args:
        previous: what was known before, None at the first look (which never proves any quiet).
        signature: what this look saw.
        ended: when the look ended: only from then on is a new signature known to have stood.
        busy: somebody has a file open for writing: that is no quiet, whatever the signature says.
    """
    if previous is None or busy or previous.signature != signature:
        return Sight(signature, ended)
    return previous


def quiet_for(sight: Sight, at: float) -> float:
    """Seconds of quiet proved by a look that *began* at `at` and saw the sight's signature once more."""
    return max(0.0, at - sight.since)


def settled(sight: Sight, at: float, settle: float) -> bool:
    """Whether the quiet has lasted `settle` seconds."""
    return quiet_for(sight, at) >= settle


def due_in(sight: Sight, at: float, settle: float) -> float:
    """Seconds from `at` until it can be settled at the earliest."""
    return max(0.0, settle - quiet_for(sight, at))
