"""Many nodes, one faulty bucket, virtual time: whatever the seed, no law is broken; whatever the bug, a seed finds it.

`SIM_SEED=n` plays one seed, `SIM_SECONDS` says for how long fresh seeds are drawn, `SIM_SEEDS` how many at most.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.daemon import ROOT
from tests.sim.checker import Broken
from tests.sim.mutants import MUTANTS
from tests.sim.world import Report, play

SECONDS = float(os.environ.get("SIM_SECONDS", "40"))
FRESH = int(os.environ.get("SIM_SEEDS", "1000000000"))
CAUGHT_WITHIN = 150
REMEMBERED = (6, 84)
"""Seeds that found something once."""


def played(seeds: Any, seconds: float) -> list[Report]:
    """Play seeds for so long, at least one; say what they came to."""
    end = time.monotonic() + seconds
    reports: list[Report] = []
    for seed in seeds:
        reports.append(play(seed))
        if time.monotonic() > end or len(reports) >= FRESH:
            break
    total = {word: sum(getattr(report, word) for report in reports) for word in ("nodes", "steps", "requests")}
    crashes, days = sum(report.crashes for report in reports), sum(report.seconds for report in reports) / 86400
    print(
        f"\nsimulation: {len(reports)} seeds from {reports[0].seed} on, {total['nodes']} nodes, {total['requests']} "
        f"requests, {total['steps']} changes checked, {crashes} crashes, {days:.0f} virtual days"
    )
    return reports


def test_no_law_is_broken_whatever_the_seed() -> None:
    if "SIM_SEED" in os.environ:
        played([int(os.environ["SIM_SEED"])], 0)
        return
    first = random.SystemRandom().randrange(10**9)
    played(range(first, first + 10**9), SECONDS)


@pytest.mark.parametrize("seed", REMEMBERED)
def test_seeds_that_found_something_once_find_nothing_any_more(seed: int) -> None:
    play(seed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_known_bug_is_found(mutant: Callable[[], Any]) -> None:
    with mutant():
        for seed in range(CAUGHT_WITHIN):
            try:
                play(seed, most=8)
            except Broken as broken:
                print(f"\n{mutant.__name__}: seed {seed}: {str(broken).splitlines()[0][:200]}")
                return
    pytest.fail(f"{CAUGHT_WITHIN} seeds did not find it")


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
