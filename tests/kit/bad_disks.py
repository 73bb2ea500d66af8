"""Remotes and state directories that are full or read-only: run in a mount namespace by test_bad_disks.

python -m tests.kit.bad_disks SCENARIO TOP
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, init_remote, running_daemon, until
from tests.kit.own_mounts import remount
from tests.kit.refusals import check_refusal, hinted, refused
from tests.kit.trainer import ended

SETTINGS = {**SMALL, "SYNCD_RETRY_TRIES": "1", "SYNCD_PIN_RESERVE": "0"}


@contextmanager
def remote_on(top: Path, mount: Path) -> Iterator[Daemon]:
    """A daemon whose remote is on a small file system."""
    daemon_home = top / "home"
    with running_daemon(daemon_home, remote=mount / "remote", settings=SETTINGS, start=False) as daemon:
        init_remote(daemon)
        daemon.start()
        yield daemon


def comes_through(daemon: Daemon, job: str, name: str, data: bytes, top: Path) -> None:
    """The job that was held up is done, with the right bytes."""
    assert ended(daemon, job).state == "done"
    daemon.get_done(name, top / "out")
    assert (top / "out" / "file").read_bytes() == data


def held_up(daemon: Daemon, top: Path, data: bytes, naming: str) -> str:
    """Put a file that cannot be stored now; return the job that goes on with it."""
    (top / "file").write_bytes(data)
    hinted(refused(daemon, 8, "put", str(top / "file"), "--name", "big", naming=naming))
    (top / "file").unlink()
    (job,) = daemon.call(m.ListJobs(open_only=True)).jobs
    assert job.error is not None
    waited = daemon.syncctl("--json", "wait", job.job)
    assert waited.returncode == 8, waited
    assert job.job in waited.stderr
    return job.job


def remote_read_only(top: Path) -> None:
    """The mount of the remote turns read-only, then comes back."""
    data = os.urandom(100_000)
    with remote_on(top, top / "m") as daemon:
        daemon.call(m.ListArtifacts())
        remount(top / "m", "ro")
        job = held_up(daemon, top, data, "read-only")
        remount(top / "m", "rw")
        comes_through(daemon, job, "big", data, top)


def remote_full(top: Path) -> None:
    """The remote's disk is too small, then larger."""
    data = os.urandom(2_000_000)
    with remote_on(top, top / "m") as daemon:
        (top / "file").write_bytes(data)
        job = daemon.put(top / "file", name="big").job
        until(lambda: daemon.call(m.ShowJob(job)).error is not None, 60, "a try that fails")
        (top / "file").unlink()
        error = refused(daemon, 7, "wait", job, "--timeout", "0.1", naming="full")
        assert "nothing is lost" in error["why"]
        remount(top / "m", "size=32m")
        comes_through(daemon, job, "big", data, top)


def state_full(top: Path) -> None:
    """No room in the state directory: new work is refused, what was promised stays promised."""
    data = os.urandom(60_000)
    with running_daemon(top / "m" / "home", remote=top / "remote", settings=SETTINGS) as daemon:
        (top / "file").write_bytes(data)
        assert daemon.syncctl("put", str(top / "file"), "--name", "before").returncode == 0
        fill(top / "m" / "ballast")
        (top / "file2").write_bytes(data[::-1])
        error = refused(daemon, 1, "put", str(top / "file2"), "--name", "big", naming=str(top / "m"))
        assert error["code"] in ("local_disk", "refused")
        hinted(error)
        assert json.loads(daemon.syncctl("--json", "show", "before").stdout)["version"] == 0
        (top / "m" / "ballast").unlink()
        assert daemon.syncctl("put", str(top / "file2"), "--name", "big").returncode == 0
        daemon.get_done("big", top / "out")
        assert (top / "out" / "file2").read_bytes() == data[::-1]


def state_read_only(top: Path) -> None:
    """A daemon on a read-only state directory says so and ends."""
    with running_daemon(top / "m" / "home", remote=top / "remote", settings=SETTINGS) as daemon:
        assert daemon.stop() == 0
        remount(top / "m", "ro")
        argv = [sys.executable, *daemon.entry]
        done = subprocess.run(argv, env=daemon.environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, done
        assert str(daemon.state) in done.stderr
        assert "read-only" in done.stderr.lower()
        assert "Traceback" not in done.stderr
        check_refusal(daemon.syncctl("--json", "status"), 5)
        remount(top / "m", "rw")
        daemon.start()


def source_disk_full(top: Path) -> None:
    """Files on a full disk can be logged: where their own disk has no room for a rescue, another has."""
    data = os.urandom(300_000)
    with running_daemon(
        top / "home", remote=top / "remote", settings={**SETTINGS, "SYNCD_PIN_RESERVE": "1MiB"}
    ) as daemon:
        (top / "m" / "file").write_bytes(data)
        fill(top / "m" / "ballast")
        done = daemon.syncctl("put", str(top / "m" / "file"), "--name", "full")
        assert done.returncode == 0, done.stderr
        daemon.get_done("full", top / "out")
        assert (top / "out" / "file").read_bytes() == data


def fill(path: Path) -> None:
    """Fill a file system to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    if file.write(bytes(size)) < size:
                        break
                except OSError:
                    break


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
