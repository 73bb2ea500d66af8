"""Many nodes, one faulty bucket, virtual time: whatever the seed, no law is broken; whatever the bug, a seed finds it.

`SIM_SEED=n` plays one seed, `SIM_SECONDS` says for how long fresh seeds are drawn, `SIM_SEEDS` how many at most.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.daemon import ROOT
from tests.sim.checker import Broken
from tests.sim.mutants import MUTANTS, Caught
from tests.sim.world import Report, play, play_long

SECONDS = float(os.environ.get("SIM_SECONDS", "30"))
FRESH = int(os.environ.get("SIM_SEEDS", "1000000000"))
CAUGHT_WITHIN = 150
A_HUNDRED = 84
"""A seed that draws a hundred nodes."""


def played(seeds: Any, seconds: float) -> list[Report]:
    """Play seeds for so long, at least one; say what they came to."""
    end = time.monotonic() + seconds
    reports: list[Report] = []
    for seed in seeds:
        reports.append(play(seed))
        if time.monotonic() > end or len(reports) >= FRESH:
            break
    words = ("nodes", "requests", "steps", "crashes", "deletes", "complete", "aborted")
    total = {word: sum(getattr(report, word) for report in reports) for word in words}
    hours = sum(report.active for report in reports) / 3600
    print(
        f"\nsimulation: {len(reports)} seeds from {reports[0].seed} on, {total['nodes']} nodes, {hours:,.0f} virtual "
        f"hours of work, {total['requests']} requests, {total['steps']} changes checked, {total['crashes']} crashes, "
        f"{total['deletes']} objects collected, {total['complete']} groups complete and {total['aborted']} aborted"
    )
    return reports


def test_no_law_is_broken_whatever_the_seed() -> None:
    if "SIM_SEED" in os.environ:
        played([int(os.environ["SIM_SEED"])], 0)
        return
    first = random.SystemRandom().randrange(10**9)
    played(range(first, first + 10**9), SECONDS)


def test_a_hundred_nodes_break_no_law() -> None:
    assert play(A_HUNDRED).nodes == 100


@pytest.mark.parametrize(("mutant", "caught"), MUTANTS.items(), ids=[mutant.__name__ for mutant in MUTANTS])
def test_a_known_bug_is_found(mutant: Callable[[], Any], caught: Caught) -> None:
    with mutant():
        for seed in range(caught.near, caught.near + CAUGHT_WITHIN):
            try:
                play(seed, most=8, requests=15_000)
            except Broken as broken:
                said = str(broken).splitlines()[0]
                if re.search(caught.law, said):
                    print(f"\n{mutant.__name__}: seed {seed}: {said[:200]}")
                    return
                assert "Broken" in said, broken
    pytest.fail(f"{CAUGHT_WITHIN} seeds did not find it")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_thousands_of_fresh_seeds() -> None:
    first = random.SystemRandom().randrange(10**9)
    count = int(os.environ.get("SOAK_SEEDS", "3000"))
    for start in range(first, first + count, 500):
        played(range(start, min(start + 500, first + count)), float("inf"))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_sixteen_nodes_at_work_for_six_virtual_hours() -> None:
    seed = int(os.environ.get("SIM_SEED", "0")) or random.SystemRandom().randrange(10**9)
    hours = float(os.environ.get("SOAK_HOURS", "6"))
    print(f"\nSIM_SEED={seed}: {play_long(seed, hours, 16)}")


def test_one_seed_is_one_run_in_every_process() -> None:
    """Whoever gets a seed from a failure sees the same failure: nothing depends on hashes, addresses or the time."""
    script = "from tests.sim.world import play; print([play(s).trace for s in (5, 66, 69)])"
    traces = set()
    for hashes in ("1", "2"):
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}", "PYTHONHASHSEED": hashes}
        ended = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        traces.add(ended.stdout)
    assert len(traces) == 1
