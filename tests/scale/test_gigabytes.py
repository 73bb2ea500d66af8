"""Inputs of gigabytes through real daemons: memory stays bounded, a kill costs little, the restore is right.

`make scale`. Needs free disk of about three times the input beside the default temporary directory (or --basetemp).
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

import pytest

from bench.inputs import GIB, MIB, random_file, sparse_file
from bench.node import Packs
from syncd_client.wire import messages as m
from tests.kit.daemon import Daemon, converged, running_daemon

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3600)]

MEMORY_LIMIT = 400 * MIB
PATIENCE = 1800.0
IN_FLIGHT = 5 * 16 * MIB
"""Packs that a kill may cost: four on their way and the one being filled."""


def peak_memory(daemon: Daemon) -> int:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def room_for(place: Path, size: int) -> None:
    if shutil.disk_usage(place).free < 3 * size + 4 * GIB:
        pytest.skip(f"needs {(3 * size + 4 * GIB) // GIB} GiB free at {place}: choose a larger disk with --basetemp")


class Reached(Exception):
    """The upload came to where it shall be killed."""


def kill_when_stored(daemon: Daemon, job: str, size: int) -> None:
    def look(info: m.JobInfo) -> None:
        if info.bytes_stored >= size:
            daemon.kill()
            raise Reached

    with pytest.raises(Reached):
        daemon.connect().call(m.Wait([job], PATIENCE), look)


@pytest.mark.parametrize("gib", [4, 16])
def test_a_file_of_gigabytes_survives_a_kill_within_bounded_memory_and_comes_back_whole(
    tmp_path: Path, gib: int
) -> None:
    size = gib * GIB
    room_for(tmp_path, size)
    file = tmp_path / "weights"
    # Half of the larger one are holes: twice the input for the same disk.
    random_file(file, size) if gib <= 4 else sparse_file(file, size)
    bytes_there = size if gib <= 4 else size // 2
    with running_daemon(tmp_path / "node") as node:
        job = node.put(file, name="weights", type="model")
        kill_when_stored(node, job.job, bytes_there // 3)
        before = Packs(node.remote)
        unfinished = before.unfinished()
        node.start()
        (done,) = node.wait(job.job, timeout=PATIENCE)
        assert (done.state, done.version) == ("done", 0), done
        assert peak_memory(node) <= MEMORY_LIMIT
        after = Packs(node.remote)
        assert after.put_again(before) + after.held_twice() + unfinished <= IN_FLIGHT
        again = node.put_done(file, name="weights", type="model") if gib <= 4 else None
        assert again is None or (again.bytes_stored, again.new_version) == (0, False)
        assert converged(node) == []
        restored = node.call(m.Get("weights", os.fsencode(tmp_path / "out")))
        (fetched,) = node.wait(restored.job, timeout=PATIENCE)
        assert fetched.state == "done", fetched
        assert peak_memory(node) <= MEMORY_LIMIT
        assert filecmp.cmp(file, tmp_path / "out" / "weights", shallow=False)
    shutil.rmtree(tmp_path)  # gigabytes: pytest would keep them for three runs


def test_a_download_of_gigabytes_that_is_killed_does_not_fetch_what_it_has_verified(tmp_path: Path) -> None:
    size = 4 * GIB
    room_for(tmp_path, size)
    file = tmp_path / "weights"
    sparse_file(file, size)
    with running_daemon(tmp_path / "node") as node:
        (done,) = node.wait(node.put(file, name="weights", type="model").job, timeout=PATIENCE)
        assert done.state == "done", done
        job = node.call(m.Get("weights", os.fsencode(tmp_path / "out")))
        kill_when_stored(node, job.job, size // 6)
        node.start()
        (fetched,) = node.wait(job.job, timeout=PATIENCE)
        assert fetched.state == "done", fetched
        assert fetched.bytes_stored <= size // 2 - size // 6 + IN_FLIGHT
        assert peak_memory(node) <= MEMORY_LIMIT
        assert filecmp.cmp(file, tmp_path / "out" / "weights", shallow=False)
    shutil.rmtree(tmp_path)
