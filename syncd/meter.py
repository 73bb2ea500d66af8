"""Counters and gauges of one daemon, plain numbers in one object; web/metrics.py alone gives them their public names.

Adding is safe from any thread of the daemon (one lock, nanoseconds); nothing here knows Prometheus.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager


class Meter:
    """Named numbers with optional labels: `add("upload_bytes", n, remote="local")`, `set("queue_bytes", n)`.

    Args:
        lock: guards the tables; threads of several lanes count at once.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._times: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count up."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += amount  # type: ignore[assignment]

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[name, tuple(sorted(labels.items()))] = value

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Note a duration: count and sum are kept."""
        with self._lock:
            slot = self._times.setdefault((name, tuple(sorted(labels.items()))), [0.0, 0.0])
            slot[0] += 1
            slot[1] += seconds

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's value, 0 when never counted; without labels the sum over all of them."""
        with self._lock:
            wanted = tuple(sorted(labels.items()))
            return sum(v for (n, ls), v in self._counts.items() if n == name and (not wanted or ls == wanted))

    def snapshot(self) -> Snapshot:
        """Return everything counted so far, for the metrics page."""
        with self._lock:
            return Snapshot(dict(self._counts), dict(self._gauges), {k: (v[0], v[1]) for k, v in self._times.items()})


Key = tuple[str, tuple[tuple[str, str], ...]]


class Snapshot:
    """All numbers at one moment: `counts`, `gauges`, and `times` as (count, sum of seconds), by (name, labels)."""

    def __init__(
        self, counts: dict[Key, float], gauges: dict[Key, float], times: dict[Key, tuple[float, float]]
    ) -> None:
        self.counts = counts
        self.gauges = gauges
        self.times = times
