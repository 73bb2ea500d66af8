"""The user unit as it is shipped, run by a real systemd user manager: started by a client, restarted, watched over.

The manager wants to see a machine that systemd booted. In a mount namespace of its own it finds the few things in /run
that such a machine has; everything else is real, every line of the unit is in force.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MANAGER = "/lib/systemd/systemd"
PATIENCE_S = 30.0
BOOTED = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/systemd/inaccessible/dir && cd /run/systemd/inaccessible
touch reg && mkfifo fifo && mknod chr c 0 0 && mknod blk b 0 0 && cp -a fifo sock && chmod 000 * && cd / || exit 97
exec {manager} --user --log-target=console
"""

pytestmark = pytest.mark.timeout(180)


class Manager:
    """One user manager with a home of its own, in which the units are installed as systemd/README.md says."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SYNCD_", "XDG_", "DBUS_"))}
        self.pid = 0
        self.runtime = home / "run"
        self.units = home / ".config" / "systemd" / "user"
        self.environ = {
            **kept,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PYTHONPATH": os.pathsep.join(filter(os.path.isdir, sys.path)),
            "SYNCD_AUTOSTART": "0",
        }
        self.runtime.mkdir(mode=0o700)
        self.units.mkdir(parents=True)
        for name in ("syncd.service", "syncd.socket", "syncd.slice"):
            shutil.copy(ROOT / "systemd" / name, self.units)
        program = home / ".local" / "bin" / "syncd"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nPYTHONPATH={self.environ["PYTHONPATH"]} exec {sys.executable} -m syncd "$@"\n')
        program.chmod(0o755)

    def systemctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "systemctl", "--user", *words],
            env=self.environ, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def show(self, name: str) -> str:
        return self.systemctl("show", "syncd.service", "--property", name, "--value").stdout.strip()

    def syncctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        code = "import sys; from syncd_client.cli.main import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *words], env=self.environ, capture_output=True, text=True, timeout=60
        )


def until(what: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    if os.geteuid() != 0:
        pytest.skip("only root may make the mount namespace that the manager needs")
    if not os.path.exists(MANAGER) or shutil.which("unshare") is None:
        pytest.skip("systemd is missing: apt-get install systemd util-linux")
    made = Manager(tmp_path)
    log = tmp_path / "manager.log"
    with log.open("wb") as out:
        script = BOOTED.format(manager=MANAGER)
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], env=made.environ, stdout=out, stderr=out, start_new_session=True
        )
    made.pid = process.pid
    try:
        up = until(lambda: made.systemctl("is-system-running").stdout.strip() in ("running", "degraded"))
        if not up:
            pytest.skip(f"no user manager can run here: {log.read_text()[-300:]}")
        yield made
        made.systemctl("stop", "syncd.socket", "syncd.service")
        made.systemctl("exit")
        process.wait(PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)


def test_the_shipped_unit_serves_survives_a_kill_and_is_restarted_when_it_hangs(
    tmp_path: Path, manager: Manager
) -> None:
    (tmp_path / "weights.bin").write_bytes(os.urandom(100_000))
    assert manager.systemctl("start", "syncd.socket").returncode == 0
    assert manager.show("ActiveState") == "inactive"

    put = manager.syncctl("put", str(tmp_path / "weights.bin"), "--name", "w")
    assert put.returncode == 0, put.stderr
    assert (manager.show("ActiveState"), manager.show("StatusText")) == ("active", "serving")

    first = int(manager.show("MainPID"))
    os.kill(first, signal.SIGKILL)
    assert until(lambda: manager.show("NRestarts") == "1" and manager.show("ActiveState") == "active")
    listed = manager.syncctl("ls", "w")
    assert "v0" in listed.stdout, listed.stderr

    drop_in = manager.units / "syncd.service.d" / "watchdog.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2\n")
    manager.systemctl("daemon-reload")
    assert manager.systemctl("restart", "syncd.service").returncode == 0
    hung = int(manager.show("MainPID"))
    os.kill(hung, signal.SIGSTOP)
    assert until(lambda: manager.show("ActiveState") == "active" and int(manager.show("MainPID")) not in (0, hung))

    assert manager.systemctl("stop", "syncd.service").returncode == 0
    assert (manager.show("ActiveState"), manager.show("Result")) == ("inactive", "success")
    woken = manager.syncctl("get", "w:latest", "--root", str(tmp_path / "again"))
    assert woken.returncode == 0, woken.stderr
    assert (tmp_path / "again" / "weights.bin").read_bytes() == (tmp_path / "weights.bin").read_bytes()
