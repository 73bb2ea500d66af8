"""Many writers at once: signals are lost, bytes are not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("storm.py")


def storm(top: Path, count: int, signal_limit: int = 0) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, SCRIPT, top, str(count), str(signal_limit)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=110
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == str(count)


@pytest.mark.parametrize("signal_limit", [0, 100])
def test_300_files_overwritten_at_once_keep_their_bytes(tmp_path: Path, signal_limit: int) -> None:
    storm(tmp_path, 300, signal_limit)


@pytest.mark.crash
@pytest.mark.parametrize("signal_limit", [0, 100])
def test_5000_files_overwritten_at_once_keep_their_bytes(tmp_path: Path, signal_limit: int) -> None:
    storm(tmp_path, 5000, signal_limit)
