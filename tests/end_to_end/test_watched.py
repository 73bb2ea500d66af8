"""Watched: checkpoints written slowly into sub-directories, old ones deleted, the daemon killed in the middle."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncd_client import errors
from syncd_client.wire import messages as m
from tests.kit.daemon import Daemon, converged, running_daemon, until

SETTLE = 0.5
SCAN = 2.0
"""Seconds within which a pending sub-directory is looked at again (docs/WATCHING.md)."""
SLACK = 1.5
KEPT = 3

WRITER = """
import hashlib, json, os, shutil, sys, time
watched, steps, size, pause, kept = sys.argv[1], *map(float, sys.argv[2:])
lives = {}
for step in range(int(steps)):
    folder = f"{watched}/step{step}"
    os.mkdir(folder)
    with open(f"{folder}/config.json", "w") as file:
        json.dump({"step": step}, file)
    digest = hashlib.sha256()
    with open(f"{folder}/weights", "wb", buffering=0) as file:
        for half in range(2):
            for piece in range(4):
                data = os.urandom(int(size) // 8)
                digest.update(data)
                file.write(data)
            if half == 0:
                time.sleep(pause)
    lives[step] = {"digest": digest.hexdigest(), "finished": time.monotonic(), "deleted": None}
    old = step - int(kept)
    if old >= 0:
        lives[old]["deleted"] = time.monotonic()
        shutil.rmtree(f"{watched}/step{old}")
print(json.dumps(lives))
"""


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(daemon: Daemon) -> list[m.VersionInfo]:
    """Return the versions, oldest first; none while nothing was taken."""
    try:
        page = daemon.call(m.ListVersions("ckpt", limit=500))
    except errors.NotFound:
        return []
    return sorted(page.versions, key=lambda version: version.version)


def is_through(daemon: Daemon, names: set[bytes]) -> bool:
    """Whether these sub-directories were taken, nothing is pending and nothing is on its way."""
    (watch,) = daemon.call(m.ListWatches()).watches
    taken = {os.path.basename(one.path) for one in watch.taken}
    return names <= taken and not watch.pending and not daemon.call(m.ListJobs(open_only=True)).jobs


def slow_writer_is_watched(tmp_path: Path, steps: int, size: int, seconds: float) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    with running_daemon(tmp_path / "home", remote=tmp_path / "remote") as daemon:
        daemon.call(m.AddWatch(bytes(watched), "ckpt", "model", settle=SETTLE))
        argv = [sys.executable, "-c", WRITER, watched, *map(str, (steps, size, 2.4 * SETTLE, KEPT))]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
            until((watched / f"step{steps // 2}" / "weights").exists, seconds, "the writer's middle")
            daemon.kill()
            killed = time.monotonic()
            until((watched / f"step{steps // 2 + 1}").exists, seconds, "a step without a daemon")
            daemon.start()
            started = time.monotonic()
            out, _ = writer.communicate(timeout=seconds)
        lives = {int(step): life for step, life in json.loads(out).items()}
        there = {os.fsencode(path.name) for path in watched.iterdir() if path.name.startswith("step")}
        assert len(there) == KEPT
        until(lambda: is_through(daemon, there), seconds, "everything taken")
        taken: list[int] = []
        for version in versions(daemon):
            root = tmp_path / "out" / str(version.version)
            daemon.get_done("ckpt", root, f"v{version.version}")
            step = json.loads((root / "config.json").read_text())["step"]
            assert digest_of(root / "weights") == lives[step]["digest"], f"step {step} is torn"
            taken.append(step)
        assert len(taken) == len(set(taken)), "a sub-directory became two versions"
        for step, life in lives.items():
            gone = life["deleted"] or float("inf")
            # The daemon was away for a while: what was deleted meanwhile nobody could take.
            watched_until = min(gone, killed) if life["finished"] < killed else gone
            since = life["finished"] if life["finished"] < killed else max(life["finished"], started)
            if watched_until - since > SETTLE + SCAN + SLACK or gone - started > SETTLE + SCAN + SLACK:
                assert step in taken, f"step {step} was not taken: {life}, killed {killed}, started {started}"
        assert taken == sorted(taken)
        assert converged(daemon) == []
        (watch,) = daemon.call(m.ListWatches()).watches
        assert watch.proof == "leases"


def test_every_checkpoint_of_a_slow_writer_is_one_whole_version_across_a_kill(tmp_path: Path) -> None:
    slow_writer_is_watched(tmp_path, 6, 2 << 20, 40.0)


@pytest.mark.crash
def test_checkpoints_of_200_mib_are_whole_across_a_kill(tmp_path: Path) -> None:
    slow_writer_is_watched(tmp_path, 8, 200 << 20, 110.0)
