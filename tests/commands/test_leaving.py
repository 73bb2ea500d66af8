"""How the process ends: at once, so that no thread of the library meets a half dismantled interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.bucket_daemon import bucket_daemon
from tests.kit.daemon import ROOT
from tests.kit.servers import Server


def python(code: str, *, shell: str = "") -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT}/client", "HOME": "/nonexistent"}
    argv = ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, code]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)


LATE = "import atexit, sys; atexit.register(lambda: print('late')); from syncd.__main__ import main; "


def test_nothing_runs_after_the_last_word() -> None:
    """Python's own way out joins, collects and dismantles: the window in which the library aborts (SIGABRT)."""
    done = python(LATE + "sys.argv = ['syncd', '--version']; main()")
    assert (done.returncode, done.stderr) == (0, "")
    assert "version" in done.stdout
    assert "late" not in done.stdout


def test_the_exit_code_and_the_words_arrive() -> None:
    done = python(LATE + "sys.argv = ['syncd', 'nonsense']; main()")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_a_fault_of_our_own_is_told_whole() -> None:
    code = "import syncd.__main__ as m; m.run = lambda words: 1 / 0; m.main()"
    done = python(code)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_words_that_could_not_be_written_are_no_success() -> None:
    assert python(LATE + "sys.argv = ['syncd', '--help']; main()", shell="> /dev/full").returncode == 1


def starts() -> int:
    return int(os.environ.get("SYNCD_TEST_STARTS", "15"))


@pytest.mark.starts
@pytest.mark.timeout(300)
def test_every_start_and_stop_of_a_daemon_on_a_bucket_ends_with_0(tmp_path: Path, moto: Server) -> None:
    """Stopped as soon as it has spoken with the bucket: with Python's own way out 1 in 20 to 6 in 15 end with 134."""
    url = moto.url("bucket", "starts")
    (tmp_path / "data").write_bytes(b"x")
    with bucket_daemon(tmp_path / "n", moto, url, {"SYNCD_UVLOOP": "0"}, start=False) as node:
        for number in range(starts()):
            node.start()
            (tmp_path / "data").write_bytes(b"%d" % number)
            node.put_done(tmp_path / "data", name="model")
            assert node.stop() == 0, node.log_text()
    assert "Aborted" not in node.log_text() and "Fatal" not in node.log_text()
