"""Real daemons on one remote, killed and frozen at random: what anybody was told is there, the same for everyone."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.many.fleet import at_work, check_promises, fleet, thread
from tests.sim.contention import all_at_once

SECONDS = 12.0
NAMES = 2
CHECKED = 24


def seed_of(name: str) -> int:
    """Return the seed the environment asks for, else a fresh one; printed, for whoever wants the same again."""
    seed = int(os.environ.get("MANY_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
    print(f"\n{name}: MANY_SEED={seed}")
    return seed


def test_four_daemons_are_killed_and_frozen_while_they_log_to_common_artifacts(tmp_path: Path) -> None:
    seed = seed_of("four daemons")
    with fleet(tmp_path, 4, os.environ.get("MANY_REMOTE")) as four:
        works = [thread(four, "writer", node, NAMES, seed) for node in range(4)]
        at_work(four, SECONDS, [*works, thread(four, "killer", seed, 1.2)])
        check_promises(four, CHECKED, random.Random(seed))
        print(f"four daemons, {SECONDS:.0f} s: {dict(four.done)}")
        assert four.done["versions told"] > 4
        assert four.done["SIGKILL"] + four.done["SIGSTOP"] > 0


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_sixteen_daemons_for_a_long_time(tmp_path: Path) -> None:
    seed, seconds = seed_of("sixteen daemons"), float(os.environ.get("SOAK_SECONDS", "1200"))
    size = int(os.environ.get("SOAK_DAEMONS", "16"))
    with fleet(tmp_path, size, os.environ.get("SOAK_REMOTE")) as many:
        works = [thread(many, "writer", node, 4, seed) for node in range(size)]
        works += [thread(many, "reader", node, seed) for node in range(0, size, 4)]
        begun = time.monotonic()
        at_work(many, seconds, [*works, thread(many, "killer", seed, 4.0)])
        check_promises(many, 400, random.Random(seed))
        print(f"{size} daemons, seed {seed}, {time.monotonic() - begun:.0f} s with the check: {dict(many.done)}")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_32_daemons_log_to_one_artifact_at_once(tmp_path: Path) -> None:
    size = int(os.environ.get("SOAK_AT_ONCE", "32"))
    with fleet(tmp_path, size + 1, os.environ.get("SOAK_REMOTE_32")) as many:
        gate = threading.Barrier(size + 1)

        def log(node: int) -> None:
            gate.wait()
            many.log(node, "one", b"of node %d\n" % node * 100)

        works = [threading.Thread(target=log, args=(node,)) for node in range(size)]
        for work in works:
            work.start()
        gate.wait()
        begun = time.monotonic()
        for work in works:
            work.join()
        took = time.monotonic() - begun
        assert sorted(promise.version for promise in many.promises) == list(range(size))
        for promise in many.promises:
            many.read(size, promise)
        simulated = all_at_once(size)
        print(
            f"\n{size} daemons at once: {took:.1f} s; simulated with 40-80 ms a put and 15-30 ms a get: "
            f"{simulated.seconds:.1f} s, {simulated.creates / size:.1f} creates and {simulated.gets / size:.1f} gets each"
        )
