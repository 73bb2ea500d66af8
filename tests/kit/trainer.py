"""A trainer that does not wait: it logs files while the remote is away and spoils them, then the remote comes back.

Run as a program inside a mount namespace for file systems that a test must make for itself:

    python -m tests.kit.trainer HOME SOURCE WAY
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, init_remote, running_daemon, until

SETTINGS = {**SMALL, "SYNCD_RETRY_TRIES": "1"}
SIZE = 200_000
SPOILED = ("deleted", "renamed", "truncated", "appended", "rewritten")
"""What becomes of the logged file with that name."""
_LIMIT = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_SIGPENDING, (100, 100))
sys.argv = ["syncd", "serve"]
runpy.run_module("syncd", run_name="__main__")
"""
LIMITED = ("-c", _LIMIT)
"""A daemon's entry under `ulimit -i 100`."""

_SPOIL = """
import os, sys
os.chdir(sys.argv[1])
os.unlink("deleted")
open("other", "wb").write(b"new" * 70_000)
os.replace("other", "renamed")
with open("truncated", "wb") as file:
    file.write(b"new")
with open("appended", "ab") as file:
    file.write(b"new" * 1000)
with open("rewritten", "r+b") as file:
    file.write(b"new" * 1000)
"""

_OVERWRITE = """
import os, sys
os.chdir(sys.argv[1])
names = [entry.name for entry in os.scandir(".") if entry.is_file()]
for name in names:  # every lease breaks now; none of these opens waits for it
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_NONBLOCK))
    except BlockingIOError:
        pass
for name in names:
    with open(name, "r+b") as file:
        file.write(b"new" * 1000)
"""


def elsewhere(code: str, *arguments: Path | str) -> None:
    """Run Python code in another process."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, timeout=110)


def spoil(folder: Path) -> None:
    """Let another process do to each of the five files what its name says."""
    elsewhere(_SPOIL, folder)


def overwrite_all(folder: Path) -> None:
    """Let another process break every lease at once, then rewrite every file in place."""
    elsewhere(_OVERWRITE, folder)


def make_files(folder: Path) -> dict[str, bytes]:
    """Make the five files; return their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: os.urandom(SIZE) for name in SPOILED}
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


@contextmanager
def held_back(home: Path, **more: object) -> Iterator[Daemon]:
    """A daemon whose remote is away from the start: it takes work and holds it until `come_back`."""
    with running_daemon(home, remote=home / "remote", settings=SETTINGS, start=False, **more) as daemon:  # type: ignore[arg-type]
        init_remote_away(daemon)
        daemon.start()
        yield daemon


def init_remote_away(daemon: Daemon) -> None:
    """Make the remote if need be, and take it away."""
    if not daemon.remote.exists():
        init_remote(daemon)
    go_away(daemon)


def go_away(daemon: Daemon) -> None:
    """The remote is not there any more."""
    daemon.remote.rename(daemon.remote.with_name("remote.away"))


def come_back(daemon: Daemon) -> None:
    """The remote is there again."""
    daemon.remote.with_name("remote.away").rename(daemon.remote)


def ended(daemon: Daemon, job: str, seconds: float = 60.0) -> m.JobInfo:
    """Return a job when it has ended (Wait also answers for jobs that wait for a person)."""

    def look() -> m.JobInfo | None:
        info = daemon.call(m.ShowJob(job))
        return info if info.state in ("done", "failed", "cancelled") else None

    info = until(look, seconds, f"the end of job {job}")
    assert isinstance(info, m.JobInfo)
    return info


def log_each(daemon: Daemon, folder: Path) -> tuple[dict[str, str], dict[str, m.Receipt]]:
    """Log each of the five files as an artifact of its name; return jobs and receipts by name."""
    jobs, receipts = {}, {}
    for name in SPOILED:
        path = folder / name
        facts = path.stat()
        connection = daemon.connect()
        draft = os.urandom(8).hex()
        add = m.AddFile(draft, os.fsencode(path), os.fsencode(name), facts.st_dev, facts.st_ino, facts.st_size)
        receipts[name] = connection.call(add)
        jobs[name] = connection.call(m.Log(draft, name=name, type="model")).job
    return jobs, receipts


def assert_old_bytes(daemon: Daemon, made: Mapping[str, bytes], root: Path) -> None:
    """Restore artifacts of one file each and compare."""
    for name, data in made.items():
        daemon.get_done(name, root / name)
        assert (root / name / name).read_bytes() == data, name


def interfered(home: Path, folder: Path, way: str, *, open_elsewhere: bool = False, **more: object) -> None:
    """The five interferences while the upload is held back: the receipt says `way`, the versions have the old bytes."""
    made = make_files(folder)
    with ExitStack() as stack:
        daemon = stack.enter_context(held_back(home, **more))
        if open_elsewhere:
            for name in SPOILED:
                stack.enter_context((folder / name).open("r+b"))
        jobs, receipts = log_each(daemon, folder)
        assert {name: receipt.ways for name, receipt in receipts.items()} == {name: {way: 1} for name in SPOILED}
        spoil(folder)
        come_back(daemon)
        for name, job in jobs.items():
            info = ended(daemon, job)
            assert info.state == "done", (name, info)
        assert_old_bytes(daemon, made, home / "out")


if __name__ == "__main__":
    interfered(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
