"""Which packs are read: a share of them, by chance, but the same for the same seed, so that a check can be repeated."""

from __future__ import annotations

import math
from collections.abc import Iterable

from syncd.format.digest import hash_bytes


def sample(packs: Iterable[bytes], share: float, seed: int) -> set[bytes]:
    """Return a share (0 to 1) of the packs, at least one if any is wanted; larger shares hold the smaller ones'."""
    drawn = sorted(packs, key=lambda pack: hash_bytes(b"fsck %d" % seed, pack))
    return set(drawn[: math.ceil(len(drawn) * min(1.0, max(0.0, share)))])
