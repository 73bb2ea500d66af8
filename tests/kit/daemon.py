"""Real daemons for tests: a process of its own, a socket, a state directory, no privileges even when the suite is root.

    with running_daemon(tmp_path) as daemon:
        daemon.call(m.Ping())

Every daemon that was started is ended, whatever the test does. `entry` is the module that is run; crash tests give an
entry script of their own that puts wrappers around store, journal and disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syncd_client.connection import Connection
from syncd_client.errors import Error
from syncd_client.wire import messages as m

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.01
SMALL = {
    "SYNCD_CHUNKER_MINIMUM": "256",
    "SYNCD_CHUNKER_AVERAGE": "1024",
    "SYNCD_CHUNKER_MAXIMUM": "4096",
    "SYNCD_UPLOAD_PACK_TARGET": "16384",
}
"""Constants so small that every edge of packing is met by a few kilobytes."""


def unprivileged(argv: Sequence[str]) -> list[str]:
    """Return a command line that runs without capabilities: root passes every permission check, tests must not."""
    if os.geteuid() == 0 and shutil.which("setpriv"):
        return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", *argv]
    return list(argv)


def until(look: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Return what `look` gives once it is true; fail after `seconds`. For what no event tells."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not seen in {seconds} s: {what or look}"
        time.sleep(POLL_SECONDS)  # polling with a deadline


class Daemon:
    """One daemon: may be started, killed, stopped and started again on the same state."""

    def __init__(self, home: Path, remote: Path | None, settings: dict[str, str], entry: Sequence[str]) -> None:
        self.home = home
        self.state = home / "state"
        self.socket = home / "s"
        self.remote = remote or self.state / "remote"
        self.log = home / "daemon.log"
        self.entry = list(entry)
        self.environ = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
            "HOME": str(home),
            "SYNCD_SOCKET": str(self.socket),
            "SYNCD_STATE_DIR": str(self.state),
            "SYNCD_CACHE_DIR": str(home / "cache"),
            "SYNCD_AUTOSTART": "0",
            "SYNCD_PIN_SPOOL_DIRS": f"{home.parent}:/dev/shm",
            "SYNCD_PIN_RESERVE": "16MiB",
            "SYNCD_UVLOOP": os.environ.get("SYNCD_UVLOOP", "1"),
            **({"SYNCD_REMOTE": f"file://{remote}"} if remote else {}),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []

    def start(self, wait: bool = True) -> None:
        """Start it; with `wait` return when the socket answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        argv = unprivileged([sys.executable, *self.entry])
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, env=self.environ, stdout=log, stderr=log, cwd="/")
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the daemon answers; fail with its log when it ends instead."""

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the daemon ended: {self.log_text()}"
            try:
                self.call(m.Ping())
            except Error:
                return False
            return True

        until(answers, START_SECONDS, "an answering daemon")

    def kill(self) -> None:
        """SIGKILL, and wait for the process to be gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it stalls for as long as the test wants."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def wait_ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the process ends by itself; return its exit code (negative: the signal)."""
        assert self.process is not None
        return self.process.wait(seconds)

    def connect(self) -> Connection:
        """Return a connection of its own; closed at the end of the test."""
        connection = Connection(str(self.socket), autostart=False)
        self._connections.append(connection)
        return connection

    def call(self, request: m.Request) -> Any:
        """Say one request on a fresh connection; return the reply."""
        connection = Connection(str(self.socket), autostart=False)
        try:
            return connection.call(request)
        finally:
            connection.close()

    def syncctl(self, *words: str | bytes, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run syncctl against this daemon, as a person would."""
        argv = unprivileged([sys.executable, "-m", "syncd_client.cli.main"]) + list(words)  # type: ignore[arg-type]
        return subprocess.run(
            argv, env=self.environ, capture_output=True, text=True, timeout=more.pop("timeout", 120), **more
        )

    def put(self, *paths: Path | bytes, name: str = "data", **more: Any) -> m.JobInfo:
        """Add files and directories to a fresh draft, log it and return the accepted job (not waited for)."""
        import uuid

        connection = self.connect()
        draft = uuid.uuid4().hex
        for path in paths:
            raw = os.fsencode(path)
            state = os.stat(raw)
            if os.path.isdir(raw):
                connection.call(m.AddDir(draft, raw, b"", state.st_dev, state.st_ino))
            else:
                connection.call(m.AddFile(draft, raw, os.path.basename(raw), state.st_dev, state.st_ino, state.st_size))
        job = connection.call(m.Log(draft, name=name, type=more.pop("type", "dataset"), **more))
        assert isinstance(job, m.JobInfo)
        return job

    def wait(self, *jobs: str, timeout: float = 60.0) -> list[m.JobInfo]:
        """Wait for jobs (none named: all open ones); return them as they ended."""
        return list(self.call(m.Wait(list(jobs), timeout)).jobs)

    def put_done(self, *paths: Path | bytes, **more: Any) -> m.JobInfo:
        """`put`, and wait until it is done."""
        (job,) = self.wait(self.put(*paths, **more).job)
        assert job.state == "done", job
        return job

    def get_done(self, name: str, root: Path, ref: str = "latest") -> m.JobInfo:
        """Restore a version below `root`; return the finished job."""
        (job,) = self.wait(self.call(m.Get(name, os.fsencode(root), ref)).job)
        assert job.state == "done", job
        return job

    def log_text(self) -> str:
        """What the daemon has said so far."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def close(self) -> None:
        """End it however it stands."""
        for connection in self._connections:
            connection.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        for connection in self._connections:
            connection.close()
        self._connections = []
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_daemon(
    home: Path,
    *,
    remote: Path | None = None,
    settings: dict[str, str] | None = None,
    entry: Sequence[str] = ("-m", "syncd", "serve"),
    start: bool = True,
) -> Iterator[Daemon]:
    """A daemon with its state below `home`, ended when the context is left.

    Args:
        remote: a directory that other daemons share, made with `syncd init` when missing; None: the daemon's own.
        settings: SYNCD_* names and values.
    """
    daemon = Daemon(home, remote, settings or {}, entry)
    if remote is not None and not remote.exists():
        init_remote(daemon)
    try:
        if start:
            daemon.start()
        yield daemon
    finally:
        daemon.close()


def init_remote(daemon: Daemon) -> None:
    """Make the shared repository, with the constants the daemon's settings ask for."""
    daemon.home.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "syncd", "init", f"file://{daemon.remote}"]
    done = subprocess.run(argv, env=daemon.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def converged(daemon: Daemon) -> list[str]:
    """Return what keeps a node from being converged: open jobs, spool bytes, temporary files in the remote."""
    problems = [f"job {job.job} is {job.state}" for job in daemon.call(m.ListJobs(open_only=True)).jobs]
    status = daemon.call(m.Status())
    if status.spool_bytes or status.pins:
        problems.append(f"the spool holds {status.spool_bytes} bytes, pins {status.pins}")
    temporary = daemon.remote / ".tmp"
    if temporary.exists():
        problems += [f"{path} is left" for path in temporary.iterdir()]
    return problems
