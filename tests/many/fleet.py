"""Several real daemons on one remote, somebody who kills and freezes them, and who remembers what was promised.

The clients are real too: they ask again when their daemon went away, as a trainer's connection does. The remote is a
directory made for the test, or whatever address the environment gives (`MANY_REMOTE`, `SOAK_REMOTE`): an empty one.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncd_client.errors import Error
from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, running_daemon, until
from tests.kit.kills import riding

PROJECT = "many"
PATIENCE = 240.0


@dataclass(frozen=True)
class Promise:
    """A caller was told that this content is this version."""

    node: int
    name: str
    version: int
    new: bool
    content: bytes


@dataclass
class Fleet:
    """The daemons, the promises, and what has happened so far."""

    home: Path
    daemons: list[Daemon]
    promises: list[Promise] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def log(self, node: int, name: str, content: bytes) -> Promise:
        """Log one file on a node and wait until it is done, however often the daemon dies meanwhile."""
        daemon, draft = self.daemons[node], uuid.uuid4().hex
        folder = self.home / f"data-{node}" / draft
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(content)
        facts = folder.stat()
        riding(lambda: daemon.call(m.AddDir(draft, os.fsencode(folder), b"", facts.st_dev, facts.st_ino)))
        job = riding(lambda: daemon.call(m.Log(draft, name=name, type="dataset", project=PROJECT)))
        assert isinstance(job, m.JobInfo)
        info = self.ended(daemon, job.job)
        assert info.state == "done", info
        assert info.version is not None
        shutil.rmtree(folder)
        promise = Promise(node, name, info.version, bool(info.new_version), content)
        self.promises.append(promise)
        self.done["versions told"] += 1
        return promise

    def ended(self, daemon: Daemon, job: str) -> m.JobInfo:
        """Return a job when it has ended, whatever happens to its daemon."""
        deadline = time.monotonic() + PATIENCE
        while True:
            waited = riding(lambda: daemon.call(m.Wait([job], 5.0)))
            assert isinstance(waited, m.Waited)
            if waited.jobs[0].state in ("done", "failed", "cancelled"):
                return waited.jobs[0]
            assert time.monotonic() < deadline, waited.jobs[0]

    def read(self, node: int, promise: Promise) -> None:
        """Download a promised version on a node and compare."""
        root = self.home / f"out-{node}" / uuid.uuid4().hex
        daemon = self.daemons[node]

        def asked() -> m.Message:
            page = daemon.call(m.ListJobs())
            found = [job for job in page.jobs if job.root == os.fsencode(root)]
            return (
                found[0]
                if found
                else daemon.call(m.Get(promise.name, os.fsencode(root), f"v{promise.version}", PROJECT))
            )

        job = riding(asked)
        assert isinstance(job, m.JobInfo)
        info = self.ended(daemon, job.job)
        assert info.state == "done", (promise.name, promise.version, info)
        got = (root / "file").read_bytes()
        assert got == promise.content, f"{promise.name}:v{promise.version} on node {node} has other bytes"
        shutil.rmtree(root)
        self.done["downloads compared"] += 1


def writer(fleet: Fleet, node: int, names: int, seed: int) -> None:
    """Log contents of one's own, and now and then one that others log too, until told to stop."""
    rng = random.Random(f"{seed} writer {node}")
    while not fleet.stop.is_set():
        common = rng.random() < 0.2
        content = b"common %d\n" % rng.randrange(3) * 500 if common else rng.randbytes(rng.randrange(1, 60_000))
        fleet.log(node, f"art-{rng.randrange(names)}", content)


def reader(fleet: Fleet, node: int, seed: int) -> None:
    """Download what others were promised, again and again."""
    rng = random.Random(f"{seed} reader {node}")
    while not fleet.stop.is_set():
        if fleet.promises:
            fleet.read(node, rng.choice(fleet.promises))
        fleet.stop.wait(0.2)


def killer(fleet: Fleet, seed: int, every: float) -> None:
    """Kill, or freeze and thaw, one daemon after the other; each is started again at once."""
    rng = random.Random(f"{seed} killer")
    while not fleet.stop.wait(rng.uniform(0.3, 1.7) * every):
        daemon = rng.choice(fleet.daemons)
        if rng.random() < 0.5:
            daemon.kill()
            fleet.done["SIGKILL"] += 1
            daemon.start()
        else:
            daemon.pause()
            fleet.done["SIGSTOP"] += 1
            fleet.stop.wait(rng.uniform(0.1, 2.0) * every)
            daemon.go_on()


@contextmanager
def fleet(home: Path, size: int, remote: str | None) -> Iterator[Fleet]:
    """Daemons with a state directory each on one remote; all of them ended when the context is left."""
    address = remote or f"file://{home / 'remote'}"
    settings = {**SMALL, "SYNCD_LOG_LEVEL": "error", "SYNCD_REMOTE": address}
    credentials = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with _started(home, size, settings | credentials) as daemons:
        yield Fleet(home, daemons)


@contextmanager
def _started(home: Path, size: int, settings: dict[str, str]) -> Iterator[list[Daemon]]:
    with ExitStack() as stack:
        daemons = [
            stack.enter_context(running_daemon(home / f"node-{number}", settings=settings, start=False))
            for number in range(size)
        ]
        initialise(daemons[0], settings["SYNCD_REMOTE"])
        for daemon in daemons:
            daemon.start(wait=False)
        for daemon in daemons:
            until(lambda daemon=daemon: _answers(daemon), 20.0 + 4.0 * size, "an answering daemon")  # type: ignore[misc]
        yield daemons


def initialise(daemon: Daemon, address: str) -> None:
    """Make the repository."""
    daemon.home.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "syncd", "init", address]
    done = subprocess.run(argv, env=daemon.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def _answers(daemon: Daemon) -> bool:
    assert daemon.process is not None
    assert daemon.process.poll() is None, daemon.log_text()
    try:
        daemon.call(m.Ping())
    except Error:
        return False
    return True


def at_work(fleet: Fleet, seconds: float, works: list[threading.Thread]) -> None:
    """Let threads work for so long, then wait until each has ended what it had begun."""
    for work in works:
        work.start()
    fleet.stop.wait(seconds)
    fleet.stop.set()
    for work in works:
        work.join(PATIENCE)
        assert not work.is_alive(), f"{work.name} did not end"
    assert not fleet.trouble, fleet.trouble[0]


def thread(fleet: Fleet, name: str, *arguments: object) -> threading.Thread:
    """Return a thread that does one of the works above; what goes wrong in it stops all of them."""

    def run() -> None:
        try:
            {"writer": writer, "reader": reader, "killer": killer}[name](fleet, *arguments)  # type: ignore[operator]
        except BaseException as error:
            fleet.trouble.append(f"{name} {arguments}: {error!r}")
            fleet.stop.set()

    return threading.Thread(target=run, name=f"{name} {arguments}")


def check_promises(fleet: Fleet, most: int, rng: random.Random) -> None:
    """Hold the end to everything that was promised, on nodes that did not log it."""
    for daemon in fleet.daemons:
        daemon.go_on()
        until(lambda daemon=daemon: _answers(daemon), 60.0)  # type: ignore[misc]
    by_name: dict[str, dict[int, bytes]] = {}
    for promise in fleet.promises:
        known = by_name.setdefault(promise.name, {}).setdefault(promise.version, promise.content)
        assert known == promise.content, f"{promise.name}:v{promise.version} was told for two contents"
    made = [(promise.name, promise.version) for promise in fleet.promises if promise.new]
    assert len(set(made)) == len(made), "one version was told as new twice"
    for name, versions in by_name.items():
        assert sorted(versions) == list(range(len(versions))), f"{name}: {sorted(versions)}"
        for daemon in fleet.daemons:
            seen = [v.version for v in listed(daemon, name)]
            assert sorted(seen) == list(range(len(versions))), f"{name} has {sorted(seen)}, {len(versions)} were told"
    chosen = fleet.promises if len(fleet.promises) <= most else rng.sample(fleet.promises, most)
    for promise in chosen:
        others = [node for node in range(len(fleet.daemons)) if node != promise.node]
        fleet.read(rng.choice(others), promise)


def listed(daemon: Daemon, name: str) -> list[m.VersionInfo]:
    """Return all versions as a node lists them."""
    found: list[m.VersionInfo] = []
    after = ""
    while True:
        page = daemon.call(m.ListVersions(name, PROJECT, after=after, limit=500))
        found += page.versions
        after = page.next
        if not after:
            return found
