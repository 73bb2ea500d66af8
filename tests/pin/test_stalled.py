"""A daemon that stood still while the kernel let writers in: it says so, and takes no new bytes for old ones."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.disk import Disk
from syncd.errors import SourceLost
from syncd.pin import PinReader, leases
from syncd.pin.leases import Answer, Held, LeaseTable
from syncd.pin.place import Pin, Place
from syncd.pin.spool import Spool
from tests.kit.daemon import running_daemon, until

SIZE = 100_000
OLD = os.urandom(SIZE)
REWRITE = """
import os, sys
facts = os.stat(sys.argv[1])
with open(sys.argv[1], 'r+b') as file:
    file.write(b'n' * 100000)
if sys.argv[2] == 'hide':
    os.utime(sys.argv[1], ns=(facts.st_atime_ns, facts.st_mtime_ns))
"""


class LateClock(SystemClock):
    """A clock that the test sets forward: the time a stopped process did not see pass."""

    late = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.late


@contextmanager
def leased(path: Path, clock: LateClock) -> Iterator[tuple[LeaseTable, Held]]:
    """A file under a lease that nobody watches."""
    leases.mask_signals()
    path.write_bytes(OLD)
    fd = os.open(path, os.O_RDONLY)
    table = LeaseTable(45.0, clock)
    seen = table.now()
    assert leases.take(fd) is Answer.GRANTED
    facts = os.fstat(fd)
    pin = Pin(
        1, "d", bytes(path), SIZE, facts.st_dev, facts.st_ino, facts.st_mtime_ns, Place("lease", bytes(path))
    )  # fmt: skip
    held = Held(fd, pin, Spool(bytes(path.parent), facts.st_dev, 0, True), seen, facts.st_ctime_ns)
    table.add(held)
    try:
        yield table, held
    finally:
        table.let_go(1)


def start_writer(path: Path, held: Held, how: str) -> subprocess.Popen[bytes]:
    """Start a process that rewrites the file; it waits in open() when this returns."""
    writer = subprocess.Popen([sys.executable, "-I", "-c", REWRITE, path, how])
    until(lambda: not leases.unbroken(held.fd), what="a writer that waits")
    return writer


def read(table: LeaseTable, pin: Pin) -> bytes:
    reader = PinReader(Disk(), table, pin)
    try:
        data = bytearray(SIZE)
        reader.read_at(0, memoryview(data))
        return bytes(data)
    finally:
        reader.close()


@pytest.mark.parametrize("how", ["plainly", "hide"])
@pytest.mark.parametrize("memory", [False, True], ids=["disk", "tmpfs"])
def test_a_break_noticed_after_the_writer_was_let_in_vouches_for_nothing(
    memory: bool, how: str, tmp_path: Path
) -> None:
    clock = LateClock()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if memory else tmp_path) as folder:
        path = Path(folder) / "model.pt"
        with leased(path, clock) as (table, held):
            writer = start_writer(path, held, how)
            clock.late = 60
            leases.release(held.fd)  # what the kernel does after the break time
            assert writer.wait(20) == 0
            assert table.newly_broken() == [held]
            assert not table.vouches(held, held.fd)
            with pytest.raises(SourceLost, match=r"model\.pt"):
                read(table, held.pin)


def test_while_the_kernel_still_holds_the_writer_the_bytes_are_right(tmp_path: Path) -> None:
    clock = LateClock()
    with leased(tmp_path / "model.pt", clock) as (table, held):
        writer = start_writer(tmp_path / "model.pt", held, "plainly")
        clock.late = 30
        assert table.newly_broken() == [held]
        assert read(table, held.pin) == OLD
        clock.late = 44.5  # seen intact before the break: the kernel's patience counts from there at the earliest
        assert not table.in_force(held)
        table.let_go(1)
        assert writer.wait(20) == 0


def test_each_look_that_sees_a_lease_intact_counts_from_then(tmp_path: Path) -> None:
    clock = LateClock()
    with leased(tmp_path / "model.pt", clock) as (table, held):
        clock.late = 100
        assert table.newly_broken() == []
        writer = start_writer(tmp_path / "model.pt", held, "plainly")
        clock.late = 130
        assert table.in_force(held)
        table.let_go(1)
        assert writer.wait(20) == 0


def test_a_leased_file_is_read_whatever_becomes_of_its_name_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with leased(path, LateClock()) as (table, held):
        path.unlink()
        assert read(table, held.pin) == OLD


@pytest.mark.crash
@pytest.mark.parametrize("how", ["plainly", "hide"])
def test_a_daemon_stopped_past_the_break_time_fails_the_job(how: str, tmp_path: Path) -> None:
    source, remote, away = tmp_path / "model.pt", tmp_path / "remote", tmp_path / "away"
    source.write_bytes(OLD)
    with running_daemon(tmp_path / "node", remote=remote) as daemon:
        daemon.put_done(source, name="before")
        remote.rename(away)
        source.write_bytes(OLD[::-1])
        job = daemon.put(source).job
        daemon.pause()
        subprocess.run([sys.executable, "-I", "-c", REWRITE, source, how], check=True, timeout=100)
        away.rename(remote)
        daemon.go_on()
        (ended,) = daemon.wait(job)
        assert ended.state == "failed", ended
        assert "model.pt" in str(ended.error)
