"""syncd beside cp, restic, rclone and borg, on the same work in one run: the tables of docs/BENCHMARKS.md.

    make bench        or        python bench/run.py [--dir D] [--rounds 5] [--only wait,large,small,memory] [--json F]

Every row is measured in rounds; within a round everybody has a turn, so a noisy neighbour hits all alike, and what
counts is the ratio of medians to the floor. Warm cache, one file system. Before every turn the disk is synced and free
memory is touched (written and freed again): a virtual machine's first use of a page costs four times a later one, and
would be paid by whoever comes first. Peers that are not installed are skipped and named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import inputs
from node import Broken, Node

from syncd_client.connection import Connection
from syncd_client.errors import Error
from syncd_client.wire import messages as m

WAIT = 600
FILES = 20_000
TOUCHED = 2 * inputs.GIB
PEERS = {"restic": "restic", "rclone": "rclone", "borg": "borgbackup"}

Turn = Callable[[], float]


class Table:
    """Seconds by row and by who; the floor is whose ratio is 1."""

    def __init__(self, home: Path, rounds: int) -> None:
        self._home = home
        self._rounds = rounds
        self.seconds: dict[str, dict[str, list[float]]] = {}

    def measure(self, row: str, who: str, turn: Turn) -> None:
        self.settle()
        seconds = turn()
        self.seconds.setdefault(row, {}).setdefault(who, []).append(seconds)
        print(f"   {row}, {who}: {show(seconds)}", flush=True)

    def settle(self) -> None:
        """Leave nothing dirty and the free memory touched."""
        os.sync()
        path = self._home / "touched"
        block = bytes(8 * inputs.MIB)
        with path.open("wb", buffering=0) as file:
            for _ in range(TOUCHED // len(block)):
                file.write(block)
        path.unlink()

    def rounds(self) -> Iterator[int]:
        yield from range(self._rounds)

    def print(self) -> None:
        print("\n| what | who | median | best | worst | to the floor |\n|---|---|---|---|---|---|")
        for row, people in self.seconds.items():
            floor = statistics.median(next(iter(people.values())))
            for who, times in people.items():
                middle = statistics.median(times)
                cells = (row, who, show(middle), show(min(times)), show(max(times)), f"{middle / floor:.2f}")
                print("| " + " | ".join(cells) + " |")


def show(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--dir", type=Path, help="where inputs, remotes and restores lie (default: temp)")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", default="wait,large,small,memory")
    arguments.add_argument("--json", type=Path, help="write every single time there")
    chosen = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with room(chosen.dir) as home:
        table = Table(home, chosen.rounds)
        chapters = {"wait": caller_wait, "large": large, "small": small, "memory": memory}
        facts: list[str] = []
        try:
            for name in chosen.only.split(","):
                print(f"\n== {name}", flush=True)
                facts += chapters[name](table, home)
        except (Broken, Error, subprocess.CalledProcessError) as error:
            print(f"bench failed: {error}", file=sys.stderr)
            return 1
        table.print()
        print("\n" + "\n".join(facts))
        for tool, package in PEERS.items():
            if not shutil.which(tool):
                print(f"skipped: {tool} is not installed (apt-get install {package})")
        if chosen.json:
            chosen.json.write_text(json.dumps({"seconds": table.seconds, "facts": facts}, indent=1))
    return 0


@contextmanager
def room(above: Path | None) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="syncd-bench-", dir=above))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


# --- floors -------------------------------------------------------------------------------------------------


def cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=never", source, target], check=True)


def cp_turn(source: Path, target: Path, durable: bool) -> Turn:
    """Copy a file or a tree; durable: also sync what was copied. The copy is removed afterwards."""

    def turn() -> float:
        begin = time.perf_counter()
        cp(source, target)
        if durable:
            files = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
            for path in files:
                fd = os.open(path, os.O_RDONLY)
                os.fsync(fd)
                os.close(fd)
        seconds = time.perf_counter() - begin
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        return seconds

    return turn


# --- syncd --------------------------------------------------------------------------------------------------


def add(connection: Connection, path: Path, name: str) -> m.JobInfo:
    """Add and log a file or a directory; return the accepted job."""
    draft = uuid.uuid4().hex
    seen = path.stat()
    raw = os.fsencode(path)
    if path.is_dir():
        connection.call(m.AddDir(draft, raw, b"", seen.st_dev, seen.st_ino))
    else:
        connection.call(m.AddFile(draft, raw, os.fsencode(path.name), seen.st_dev, seen.st_ino, seen.st_size))
    job: m.JobInfo = connection.call(m.Log(draft, name=name, type="bench"))
    return job


def ended(connection: Connection, job: str) -> m.JobInfo:
    info: m.JobInfo = connection.call(m.Wait([job], WAIT)).jobs[0]
    if info.state != "done":
        raise Broken(f"{info.kind} is {info.state}: {info.error}")
    return info


def upload_turn(connection: Connection, path: Path, name: str) -> Turn:
    def turn() -> float:
        begin = time.perf_counter()
        ended(connection, add(connection, path, name).job)
        return time.perf_counter() - begin

    return turn


def restore_turn(connection: Connection, name: str, root: Path) -> Turn:
    def turn() -> float:
        begin = time.perf_counter()
        ended(connection, connection.call(m.Get(name, os.fsencode(root))).job)
        seconds = time.perf_counter() - begin
        shutil.rmtree(root)
        return seconds

    return turn


@contextmanager
def fresh_node(home: Path) -> Iterator[tuple[Node, Connection]]:
    """A daemon that has seen nothing, with an empty remote."""
    place = Path(tempfile.mkdtemp(prefix="node-", dir=home))
    try:
        with Node(place / "home", place / "remote") as node:
            node.init_remote()
            node.start()
            with node.connect() as connection:
                yield node, connection
    finally:
        shutil.rmtree(place, ignore_errors=True)


# --- peers --------------------------------------------------------------------------------------------------


class Peer:
    """A tool's commands: make a repository, store a path in it, get it back."""

    def __init__(self, tool: str, home: Path) -> None:
        self.tool = tool
        self.repository = home / f"{tool}-repository"
        self._environ = {
            **os.environ,
            "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(home / "restic-cache"),
            "BORG_BASE_DIR": str(home / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "RCLONE_CONFIG": str(home / "rclone.conf"),
        }  # fmt: skip
        self._number = 0

    def fresh(self) -> None:
        shutil.rmtree(self.repository, ignore_errors=True)
        if self.tool == "restic":
            self._run("restic", "init", "-r", self.repository)
        elif self.tool == "borg":
            self._run("borg", "init", "-e", "none", self.repository)

    def store(self, path: Path) -> float:
        self._number += 1
        if self.tool == "restic":
            return self._run("restic", "backup", "-r", self.repository, path)
        if self.tool == "borg":
            return self._run("borg", "create", "-C", "none", f"{self.repository}::{self._number}", path)
        return self._run("rclone", "copy", path, self.repository)

    def get(self, root: Path) -> float:
        root.mkdir()
        if self.tool == "restic":
            seconds = self._run("restic", "restore", "latest", "-r", self.repository, "--target", root)
        elif self.tool == "borg":
            seconds = self._run("borg", "extract", f"{self.repository}::{self._number}", cwd=root)
        else:
            seconds = self._run("rclone", "copy", self.repository, root)
        shutil.rmtree(root)
        return seconds

    def _run(self, *argv: str | Path, cwd: Path | None = None) -> float:
        begin = time.perf_counter()
        subprocess.run(argv, check=True, env=self._environ, capture_output=True, cwd=cwd)
        return time.perf_counter() - begin


def peers(home: Path) -> list[Peer]:
    return [Peer(tool, home) for tool in PEERS if shutil.which(tool)]


# --- chapters -----------------------------------------------------------------------------------------------


def caller_wait(table: Table, home: Path) -> list[str]:
    """How long a script waits for add_file + log_artifact of a 1 GiB file, beside cp of it."""
    path = home / "weights"
    inputs.random_file(path, inputs.GIB)
    with fresh_node(home) as (_, connection):
        for number in table.rounds():
            table.measure("caller's wait, 1 GiB", "cp", cp_turn(path, home / "copy", durable=False))
            table.settle()
            begin = time.perf_counter()
            job = add(connection, path, f"wait-{number}").job
            seconds = time.perf_counter() - begin
            table.seconds["caller's wait, 1 GiB"].setdefault("syncd", []).append(seconds)
            print(f"   caller's wait, 1 GiB, syncd: {show(seconds)}", flush=True)
            ended(connection, job)
    path.unlink()
    return []


def large(table: Table, home: Path) -> list[str]:
    """A 1 GiB random file: first upload, unchanged again, 1 % changed, restore."""
    path, changed = home / "large", home / "changed"
    inputs.random_file(path, inputs.GIB, "large")
    cp(path, changed)
    inputs.change(changed, 0.01)
    others = peers(home)
    sent = []
    for _ in table.rounds():
        table.measure("first upload, 1 GiB", "cp + fsync", cp_turn(path, home / "copy", durable=True))
        table.measure("restore, 1 GiB", "cp + fsync", cp_turn(path, home / "copy", durable=True))
        table.measure("unchanged again, 1 GiB", "cp + fsync", cp_turn(path, home / "copy", durable=True))
        table.measure("1 % changed, 1 GiB", "cp + fsync", cp_turn(path, home / "copy", durable=True))
        with fresh_node(home) as (node, connection):
            table.measure("first upload, 1 GiB", "syncd", upload_turn(connection, path, "large"))
            table.measure("unchanged again, 1 GiB", "syncd", upload_turn(connection, path, "large"))
            table.measure("restore, 1 GiB", "syncd, verified", restore_turn(connection, "large", home / "out"))
            before = size_of(node.remote)
            table.measure("1 % changed, 1 GiB", "syncd", upload_turn(connection, changed, "large"))
            sent.append(size_of(node.remote) - before)
        for peer in others:
            peer.fresh()
            table.measure("first upload, 1 GiB", peer.tool, lambda peer=peer: peer.store(path))
            table.measure("unchanged again, 1 GiB", peer.tool, lambda peer=peer: peer.store(path))
            table.measure("restore, 1 GiB", peer.tool, lambda peer=peer: peer.get(home / "out"))
            shutil.rmtree(peer.repository)
    changed.unlink()
    path.unlink()
    return [f"1 % changed (10.7 MB in 163 places): {statistics.median(sent) / 1e6:.1f} MB new in the remote"]


def small(table: Table, home: Path) -> list[str]:
    """20,000 files of 4 to 64 KiB: up, unchanged, down."""
    root = home / "small"
    total = inputs.small_files(root, FILES)
    others = peers(home)
    for _ in table.rounds():
        for row in ("first upload, 20,000 files", "unchanged again, 20,000 files", "restore, 20,000 files"):
            table.measure(row, "cp -a", cp_turn(root, home / "copy", durable=False))
        with fresh_node(home) as (_, connection):
            table.measure("first upload, 20,000 files", "syncd", upload_turn(connection, root, "small"))
            table.measure("unchanged again, 20,000 files", "syncd", upload_turn(connection, root, "small"))
            table.measure("restore, 20,000 files", "syncd, verified", restore_turn(connection, "small", home / "out"))
        for peer in others:
            peer.fresh()
            table.measure("first upload, 20,000 files", peer.tool, lambda peer=peer: peer.store(root))
            table.measure("unchanged again, 20,000 files", peer.tool, lambda peer=peer: peer.store(root))
            table.measure("restore, 20,000 files", peer.tool, lambda peer=peer: peer.get(home / "out"))
            shutil.rmtree(peer.repository)
    shutil.rmtree(root)
    return [f"20,000 files are {total / 1e6:.0f} MB"]


def memory(table: Table, home: Path) -> list[str]:
    """The most memory a daemon ever had resident (VmHWM), by size of the file it uploaded and restored."""
    del table
    facts = []
    for size in (inputs.GIB, 4 * inputs.GIB):
        path = home / "memory"
        inputs.random_file(path, size, "memory")
        with fresh_node(home) as (node, connection):
            ended(connection, add(connection, path, "memory").job)
            uploaded = node.peak_memory()
            ended(connection, connection.call(m.Get("memory", os.fsencode(home / "out"))).job)
            restored = node.peak_memory()
        shutil.rmtree(home / "out")
        path.unlink()
        facts.append(
            f"peak memory, {size // inputs.GIB} GiB file: {uploaded // inputs.MIB} MiB after the upload, "
            f"{restored // inputs.MIB} MiB after the restore"
        )
        print(f"   {facts[-1]}", flush=True)
    return facts


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
