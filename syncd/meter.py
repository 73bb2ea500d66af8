"""Counters and gauges of one daemon, plain numbers in one object; web/metrics.py alone gives them their public names.

Adding is safe from any thread of the daemon (one lock, nanoseconds); nothing here knows Prometheus.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers at one moment: `counts`, `gauges`, and `times` as (count, sum of seconds), by (name, labels)."""

    counts: dict[Key, float]
    gauges: dict[Key, float]
    times: dict[Key, tuple[float, float]]


class Meter:
    """Named numbers with optional labels: `add("upload_bytes", n, remote="local")`, `set("queue_bytes", n)`.

    Args:
        lock: guards the tables; threads of several lanes count at once.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._counts: dict[Key, float] = {}
        self._gauges: dict[Key, float] = {}
        self._times: dict[Key, tuple[float, float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count up."""
        key = _key(name, labels)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[_key(name, labels)] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Note a duration: count and sum are kept."""
        key = _key(name, labels)
        with self._lock:
            times, total = self._times.get(key, (0.0, 0.0))
            self._times[key] = (times + 1, total + seconds)

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's value, 0 when never counted; without labels the sum over all of them."""
        _, wanted = _key(name, labels)
        with self._lock:
            return sum(v for (n, ls), v in self._counts.items() if n == name and (not wanted or ls == wanted))

    def snapshot(self) -> Snapshot:
        """Return everything counted so far, for the metrics page."""
        with self._lock:
            return Snapshot(dict(self._counts), dict(self._gauges), dict(self._times))


def _key(name: str, labels: dict[str, str]) -> Key:
    return name, tuple(sorted(labels.items()))
