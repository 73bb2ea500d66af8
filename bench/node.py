"""A node for demo, bench and the scale lane: a real `syncd serve` with a state of its own, seen from outside.

The daemon inherits the environment, less every SYNCD_* setting of the person who runs this.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from syncd.format.pack import TAIL_GUESS, parse_tail, tail_needed
from syncd_client.connection import Connection
from syncd_client.errors import Error
from syncd_client.wire import messages as m

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STOP_SECONDS = 30.0
_POLL = 0.02


class Broken(Exception):
    """Something is not as promised; the text is for people."""


class Node:
    """One daemon that may be killed and started again on its state.

    Args:
        home: its directory; state, cache, log and socket lie in it.
        remote: the directory that all nodes share.
        settings: SYNCD_* names and values.
    """

    def __init__(self, home: Path, remote: Path, settings: dict[str, str] | None = None) -> None:
        self.home = home
        self.remote = remote
        self.socket = home / "s"
        self.log = home / "daemon.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
        self.environ = {
            **own,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
            "SYNCD_SOCKET": str(self.socket),
            "SYNCD_STATE_DIR": str(home / "state"),
            "SYNCD_CACHE_DIR": str(home / "cache"),
            "SYNCD_CONFIG": str(home / "syncd.toml"),
            "SYNCD_REMOTE": f"file://{remote}",
            "SYNCD_AUTOSTART": "0",
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        home.mkdir(parents=True, exist_ok=True)
        (home / "syncd.toml").touch()  # an empty one of its own: not the person's, nor the machine's

    def init_remote(self) -> None:
        """Make the repository: `syncd init`."""
        argv = [sys.executable, "-m", "syncd", "init", f"file://{self.remote}"]
        done = subprocess.run(argv, check=False, env=self.environ, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Broken(f"`syncd init` failed: {done.stderr or done.stdout}")

    def start(self) -> float:
        """Start `syncd serve`; return the seconds until it answered."""
        begin = time.perf_counter()
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the one who started all this, who then ends the daemons.
            self.process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "serve"], env=self.environ, stdout=log, stderr=log, cwd="/",
                start_new_session=True,
            )  # fmt: skip
        while not self._answers():
            if self.process.poll() is not None or time.perf_counter() - begin > START_SECONDS:
                raise Broken(f"the daemon does not answer; its log:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(_POLL)
        return time.perf_counter() - begin

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it kindly, then not kindly."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def connect(self) -> Connection:
        """Return a connection to it; the caller closes it."""
        return Connection(str(self.socket), autostart=False)

    def peak_memory(self) -> int:
        """Return the most resident memory it ever had (VmHWM), in bytes."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise Broken("the kernel does not tell the peak memory of the daemon")

    def cpu_seconds(self) -> float:
        """Return the processor time it has used so far, user and system."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        connection = self.connect()
        try:
            connection.call(m.Ping())
        except Error:
            return False
        finally:
            connection.close()
        return True


class Packs:
    """What lies in a remote's packs, seen without the daemon: the files, their inodes, the chunks in them."""

    def __init__(self, remote: Path) -> None:
        self._remote = remote
        self.files = {path: path.stat() for path in (remote / "packs").glob("*/*")}

    @property
    def size(self) -> int:
        """Bytes of all packs."""
        return sum(facts.st_size for facts in self.files.values())

    def put_again(self, before: Packs) -> int:
        """Return the bytes of packs that were there before and have been put once more since (another inode)."""
        return sum(
            facts.st_size
            for path, facts in self.files.items()
            if path in before.files and before.files[path].st_ino != facts.st_ino
        )

    def held_twice(self) -> int:
        """Return the stored bytes of chunks that lie in more than one pack."""
        seen: set[bytes] = set()
        twice = 0
        for path, facts in self.files.items():
            with path.open("rb") as file:
                file.seek(max(0, facts.st_size - TAIL_GUESS))
                tail = file.read()
                if (needed := tail_needed(tail)) > len(tail):
                    file.seek(facts.st_size - needed)
                    tail = file.read()
            for frame in parse_tail(tail, bytes.fromhex(path.name), facts.st_size):
                twice += frame.stored_length if frame.hash in seen else 0
                seen.add(frame.hash)
        return twice

    def unfinished(self) -> int:
        """Return the bytes of temporary files: packs that a kill interrupted."""
        return sum(path.stat().st_size for path in (self._remote / ".tmp").iterdir())
