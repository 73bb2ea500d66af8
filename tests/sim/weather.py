"""What the network, the store and the machines do to everybody, drawn from the seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from enum import StrEnum

HOUR = 3600.0
DAY = 24 * HOUR
PATIENCE = 30.0


class Fate(StrEnum):
    """What becomes of one request that changes something."""

    CLEAN = "clean"
    LOST_REPLY = "it takes effect, the reply is lost"
    OWN_RETRY = "it takes effect, the client library sends it again and reports a conflict with itself"
    NEVER = "it never arrives"
    LATE = "it takes effect long after everybody gave it up"
    AGAIN = "it takes effect, and once more long after"
    BUSY = "429 or 503 without effect"
    CONFLICT = "409 without effect"


_FAULTS = [fate for fate in Fate if fate is not Fate.CLEAN]


@dataclass
class Weather:
    """Rates are chances a request or an effect; all of them become 0 at `calm` (virtual seconds).

    Attributes:
        faults: of a request; crashes, stalls: of an effect; stale: of a list.
        put, get: shortest and longest round trip, in seconds.
    """

    rng: random.Random
    faults: float = 0.0
    crashes: float = 0.0
    stalls: float = 0.0
    stale: float = 0.0
    calm: float = 3 * HOUR
    longest: float = DAY
    put: tuple[float, float] = (0.04, 0.08)
    get: tuple[float, float] = (0.015, 0.03)

    @classmethod
    def drawn(cls, rng: random.Random) -> Weather:
        """Draw the weather of one run: from a still day to a storm."""
        return cls(
            rng,
            faults=rng.choice([0.0, 0.05, 0.15, 0.4]),
            crashes=rng.choice([0.0, 0.002, 0.01, 0.03]),
            stalls=rng.choice([0.0, 0.001, 0.01]),
            stale=rng.choice([0.0, 0.5]),
            calm=rng.choice([HOUR, 6 * HOUR, 3 * DAY]),
            longest=rng.choice([HOUR, 10 * DAY]),
        )

    def happens(self, rate: float, now: float) -> bool:
        """Whether something of this rate happens now."""
        return rate > 0 and now < self.calm and self.rng.random() < rate

    def fate(self, now: float) -> Fate:
        return self.rng.choice(_FAULTS) if self.happens(self.faults, now) else Fate.CLEAN

    def trip(self, op: str) -> float:
        """Seconds one way."""
        return self.rng.uniform(*(self.get if op in ("get", "stat", "list") else self.put)) / 2

    def pause(self, shortest: float) -> float:
        """A time of any order of magnitude, from `shortest` seconds to the longest there is."""
        return math.exp(self.rng.uniform(math.log(shortest), math.log(self.longest)))
