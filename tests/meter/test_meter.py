"""Counting loses nothing between threads and a snapshot does not move."""

from __future__ import annotations

import threading

import pytest

from syncd.lanes import new_lock
from syncd.meter import Meter


@pytest.fixture
def meter() -> Meter:
    return Meter(new_lock())


def test_threads_that_count_at_once_lose_nothing(meter: Meter):
    start = threading.Barrier(4)

    def count() -> None:
        start.wait(30)
        for _ in range(5000):
            meter.add("bytes", 2, remote="here")
            meter.observe("seconds", 0.5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.count("bytes", remote="here") == 40_000
    assert meter.snapshot().times["seconds", ()] == (20_000, 10_000.0)


def test_a_count_is_by_labels_or_over_all_of_them(meter: Meter):
    meter.add("n", 1, op="get", remote="a")
    meter.add("n", 2, remote="b", op="get")
    meter.add("other", 7)
    assert meter.count("n", op="get", remote="b") == 2
    assert meter.count("n") == 3
    assert meter.count("n", op="put", remote="b") == 0
    assert meter.count("never") == 0


def test_a_snapshot_keeps_its_moment(meter: Meter):
    meter.add("n")
    meter.set("g", 1.0)
    meter.observe("t", 1.0)
    before = meter.snapshot()
    meter.add("n")
    meter.set("g", 2.0)
    meter.observe("t", 1.0)
    assert (before.counts["n", ()], before.gauges["g", ()], before.times["t", ()]) == (1, 1.0, (1, 1.0))
    assert meter.snapshot().gauges["g", ()] == 2.0
