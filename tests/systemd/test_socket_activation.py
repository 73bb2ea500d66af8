"""The real daemon behind a socket that systemd made: started by the first client, answering it, leaving the socket."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

APT = "apt-get install systemd"
PATIENCE_S = 30.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCD_", "XDG_"))}
    return {
        **kept,
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(os.path.isdir, sys.path)),
        "SYNCD_STATE_DIR": str(tmp_path / "state"),
        "SYNCD_SOCKET": str(tmp_path / "sock"),
        "SYNCD_AUTOSTART": "0",
    }


@pytest.fixture
def activated(tmp_path: Path, environ: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip(f"systemd-socket-activate is missing: {APT}")
    passed = [f"--setenv={name}" for name in environ]
    command = [tool, *passed, "-l", environ["SYNCD_SOCKET"], sys.executable, "-m", "syncd", "serve"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while not os.path.exists(environ["SYNCD_SOCKET"]):
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.01)
    yield process
    if process.poll() is None:
        process.kill()
    process.wait(PATIENCE_S)


def ping(environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    script = (
        "import json, os; from syncd_client.connection import Connection; from syncd_client.wire.messages import Ping\n"
        "with Connection(os.environ['SYNCD_SOCKET'], autostart=False) as daemon:\n"
        "    print(json.dumps({'pid': daemon.call(Ping()).pid}))"
    )
    return subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=60)


def test_the_first_client_starts_the_daemon_and_is_answered(
    tmp_path: Path, environ: dict[str, str], activated: "subprocess.Popen[bytes]"
) -> None:
    first, second = ping(environ), ping(environ)
    log = (tmp_path / "log").read_text()
    assert first.returncode == 0, first.stderr + log
    # systemd-socket-activate becomes the program it starts: same process, and both clients meet the same daemon.
    assert json.loads(first.stdout)["pid"] == json.loads(second.stdout)["pid"] == activated.pid


def test_a_daemon_behind_systemds_socket_leaves_it_in_place(
    tmp_path: Path, environ: dict[str, str], activated: "subprocess.Popen[bytes]"
) -> None:
    assert ping(environ).returncode == 0
    activated.send_signal(signal.SIGTERM)
    assert activated.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()
    assert os.path.exists(environ["SYNCD_SOCKET"])
