"""Real daemons killed from outside at a random moment, and what must be true of them afterwards.

The client is the real one too: its connection rides over the restart, as a trainer's would. A run is told by the seed
of its series and its index in it: the data, the moment and the sizes follow from the two.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncd.format.keys import artifact_log
from syncd.format.log import Commit, decode_entry
from syncd.model.names import ArtifactKey
from syncd_client.errors import CommError
from syncd_client.wire import messages as m
from tests.kit.crash_data import in_flight, make_tree, tree
from tests.kit.daemon import START_SECONDS, Daemon, converged, running_daemon
from tests.kit.dying import Traffic

ENTRY = ("-m", "tests.kit.entry_dying")
PROJECT = "crash"
PATIENCE = 60.0
LATEST = 1.15


@dataclass(frozen=True, slots=True)
class Size:
    """How large the data is and how it is sent. Bytes, but for `sends`."""

    data: int
    target: int
    sends: int
    minimum: int
    maximum: int
    settings: dict[str, str]

    @property
    def in_flight(self) -> int:
        """Bytes that packs on their way may have, the worst case."""
        return in_flight(self.target, self.sends, self.minimum, self.maximum)


@dataclass
class Figures:
    """What a series of kills came to, for the reader."""

    moments: Counter[str] = field(default_factory=Counter)
    again: list[int] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{count} {moment}" for moment, count in sorted(self.moments.items()))
        worst = max(self.again, default=0)
        total = sum(self.again) / max(1, len(self.again))
        usual = statistics.median(self.durations) if self.durations else 0.0
        return f"killed {killed}; again: worst {worst:,} bytes, mean {total:,.0f}; undisturbed {usual:.2f} s"


@contextmanager
def node(home: Path, remote: Path, size: Size) -> Iterator[Daemon]:
    """A daemon that keeps a record at `home`/record."""
    settings = {**size.settings, "KIT_RECORD": str(home / "record"), "SYNCD_LOG_LEVEL": "warning"}
    home.mkdir(parents=True, exist_ok=True)
    with running_daemon(home, remote=remote, settings=settings, entry=ENTRY) as daemon:
        yield daemon


class Assassin:
    """Kills a daemon after some seconds and starts it again at once; the test goes on meanwhile."""

    def __init__(self, daemon: Daemon, seconds: float) -> None:
        self._daemon = daemon
        self._timer = threading.Timer(seconds, self._strike)
        self.struck = threading.Event()

    def __enter__(self) -> Assassin:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.join()

    def _strike(self) -> None:
        process = self._daemon.process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(START_SECONDS)
        self.struck.set()
        self._daemon.start(wait=False)


def riding(call: Callable[[], m.Message]) -> m.Message:
    """Ask until the daemon is there to answer; only for what may be asked twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except CommError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # polling with a deadline


def log_tree(daemon: Daemon, data: Path, name: str, draft: str) -> m.JobInfo:
    """Add a directory, log it, wait for the end; every step asked again when the daemon went away."""
    facts = data.stat()
    riding(lambda: daemon.call(m.AddDir(draft, os.fsencode(data), b"", facts.st_dev, facts.st_ino)))
    job = riding(lambda: daemon.call(m.Log(draft, name=name, type="dataset", project=PROJECT, aliases=["best"])))
    assert isinstance(job, m.JobInfo)
    return ended(daemon, job.job)


def ended(daemon: Daemon, job: str) -> m.JobInfo:
    """Wait for one job."""
    waited = riding(lambda: daemon.call(m.Wait([job], PATIENCE)))
    assert isinstance(waited, m.Waited)
    return waited.jobs[0]


def restore_tree(daemon: Daemon, name: str, root: Path) -> m.JobInfo:
    """Ask for a download and wait for it. A request is not repeated blindly: the job may have been accepted."""

    def asked() -> m.Message:
        page = daemon.call(m.ListJobs())
        found = [job for job in page.jobs if job.root == os.fsencode(root)]
        return found[0] if found else daemon.call(m.Get(name, os.fsencode(root), "best", PROJECT))

    job = riding(asked)
    assert isinstance(job, m.JobInfo)
    return ended(daemon, job.job)


def kill_an_upload(one: Daemon, two: Daemon, work: Path, seed: int, at: float, size: Size, figures: Figures) -> None:
    """Log fresh data, kill after `at` seconds, and hold the outcome to everything that was promised."""
    data, out, name, record = work / "data", work / "out", f"data{seed}", one.home / "record"
    make_tree(data, seed, size.data)
    since = record.stat().st_size if record.exists() else 0
    with Assassin(one, at) as assassin:
        job = log_tree(one, data, name, uuid.uuid4().hex)
        figures.moments["before its end" if assassin.struck.is_set() else "after its end"] += 1
    assert (job.state, job.version, job.new_version) == ("done", 0, True), job
    one.wait_ready()
    assert converged(one) == []
    traffic = Traffic.of(record, since)
    again = max(traffic.packs, traffic.chunks)
    figures.again.append(again)
    assert again <= size.in_flight, f"{again:,} bytes were sent again, {size.in_flight:,} may be in flight: {traffic}"
    same_again(one, data, name, record)
    restored = restore_tree(two, name, out)
    assert restored.state == "done", restored
    assert tree(out) == tree(data), "another node restored other bytes"
    shutil.rmtree(work)


def same_again(daemon: Daemon, data: Path, name: str, record: Path) -> None:
    """The same content once more: no new version, no pack, one transaction more in the log."""
    since = record.stat().st_size
    job = log_tree(daemon, data, name, uuid.uuid4().hex)
    assert (job.state, job.version, job.new_version, job.bytes_stored) == ("done", 0, False, 0), job
    assert Traffic.of(record, since).sent == 0
    versions = daemon.call(m.ListVersions(name, PROJECT, deleted=True)).versions
    assert [version.version for version in versions] == [0]
    slots = sorted((daemon.remote / artifact_log(ArtifactKey(PROJECT, name))).iterdir())
    entries = [decode_entry(path.read_bytes()) for path in slots]
    assert max(Counter(entry.txn for entry in entries).values()) == 1
    assert sum(isinstance(entry, Commit) for entry in entries) == 2


def kill_a_download(two: Daemon, data: Path, name: str, out: Path, at: float, figures: Figures) -> None:
    """Restore a version, kill after `at` seconds; nothing verified is fetched again and nothing is left over."""
    record = two.home / "record"
    since = record.stat().st_size if record.exists() else 0
    with Assassin(two, at) as assassin:
        job = restore_tree(two, name, out)
        figures.moments["before its end" if assassin.struck.is_set() else "after its end"] += 1
    assert job.state == "done", job
    two.wait_ready()
    assert converged(two) == []
    assert tree(out) == tree(data), "the restored bytes are others, or something is left over"
    traffic = Traffic.of(record, since)
    assert traffic.rewritten == 0, f"{traffic.rewritten:,} verified bytes were fetched again"
    stored = sum(path.stat().st_size for path in data.rglob("*") if path.is_file() and not path.is_symlink())
    figures.again.append(max(0, traffic.fetched - stored))
    shutil.rmtree(out)


def undisturbed(do: Callable[[int], object], figures: Figures, times: int = 3) -> float:
    """Return how long the job takes when nobody kills it: the median of some runs, in seconds."""
    for number in range(times):
        start = time.monotonic()
        do(number)
        figures.durations.append(time.monotonic() - start)
    return statistics.median(figures.durations[-times:])


def moment(chance: random.Random, duration: float) -> float:
    """Return when to kill: anywhere in the job, and a little beyond its end."""
    return chance.random() * duration * LATEST
