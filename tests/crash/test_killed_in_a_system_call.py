"""The kernel kills the daemon as it enters its n-th call of a kind: also where no wrapper of ours could stand.

Among these places are the making of the journal, SQLite's own writes, and the start of the daemon. strace counts the
calls of each thread by itself.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from syncd_client.errors import CommError
from syncd_client.wire import messages as m
from tests.kit.crash_data import TINY, make_small_tree, tree
from tests.kit.daemon import Daemon, converged, running_daemon
from tests.kit.dying import Traffic
from tests.kit.kills import ENTRY, log_tree, restore_tree, same_again

CALLS = {
    "fsync": (1, 3, 5, 8),
    "fdatasync": (1, 2, 4, 8, 16, 32),
    "linkat": (1, 2),
    "link": (1, 2),
    "rename,renameat,renameat2": (1, 2, 4),
    "mkdir,mkdirat": (1, 3, 5),
    "unlink,unlinkat": (1, 2, 3),
    "writev": (1, 3),
    "pwrite64": (1, 2, 3, 5, 9, 17, 33, 65),
    "ftruncate": (1, 2),
    "fcntl": (1, 9, 81),
}
CASES = [(calls, number) for calls, numbers in CALLS.items() for number in numbers]
SEED = 20261122


class Traced:
    """Starts a daemon that dies in a call, and one that does not as soon as it is dead.

    Where the first makes fewer calls than that it is ended in peace: the second has nothing to do then.
    """

    def __init__(self, daemon: Daemon, calls: str, number: int) -> None:
        self._daemon = daemon
        daemon.entry = ["-m", "tests.kit.entry_straced", calls, str(number)]
        daemon.start(wait=False)
        daemon.entry = list(ENTRY)
        assert daemon.process is not None
        self._first = daemon.process
        self._successor = threading.Thread(target=self._succeed)

    def __enter__(self) -> None:
        self._successor.start()

    def __exit__(self, *_: object) -> None:
        if self._first.poll() is None:
            with suppress(CommError):
                self._daemon.call(m.Shutdown())
        self._successor.join()
        self._daemon.wait_ready()

    def _succeed(self) -> None:
        self._first.wait()
        self._daemon.start(wait=False)


@pytest.fixture(autouse=True)
def strace() -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is missing: apt-get install strace")


@pytest.mark.crash
@pytest.mark.parametrize(("calls", "number"), CASES)
def test_a_daemon_killed_in_a_system_call_ends_its_upload_in_the_next_life(
    calls: str, number: int, tmp_path: Path
) -> None:
    data, draft = tmp_path / "data", uuid.uuid4().hex
    make_small_tree(data, SEED)
    settings = {**TINY, "KIT_RECORD": str(tmp_path / "record")}
    with running_daemon(tmp_path / "one", remote=tmp_path / "remote", settings=settings, start=False) as one:
        with Traced(one, calls, number):
            job = log_tree(one, data, "data", draft)
        assert (job.state, job.version, job.new_version) == ("done", 0, True), job
        assert converged(one) == []
        same_again(one, data, "data", tmp_path / "record")
    settings["KIT_RECORD"] = str(tmp_path / "record-two")
    with running_daemon(tmp_path / "two", remote=tmp_path / "remote", settings=settings, start=False) as two:
        with Traced(two, calls, number):
            assert restore_tree(two, "data", tmp_path / "out").state == "done"
        assert converged(two) == []
    assert tree(tmp_path / "out") == tree(data)
    assert Traffic.of(tmp_path / "record-two").rewritten == 0
