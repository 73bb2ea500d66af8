"""The local store beside a real kernel: system calls in order, two processes, full and read-only disks, a SIGKILL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.confined import run_confined

OPEN = """
import asyncio, os, random, sys
from syncd.disk import Disk
from syncd.errors import SyncdError
from syncd.lanes import Lane
from syncd.store.local import LocalStore

def opened(path, writer="me", disk=None):
    return LocalStore(os.fsencode(path), disk or Disk(), Lane("store", 4), writer, random.Random(os.getpid()))

async def told(verb):
    try:
        await verb
    except SyncdError as error:
        print(error.code, error.retry, str(error).replace(chr(10), " | "))
    else:
        print("ok")
"""


def python(code: str, *args: str, under: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*under, sys.executable, "-W", "error", "-c", OPEN + code, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_of_creates_raced_by_two_processes_exactly_one_wins(tmp_path: Path):
    code = """
from syncd.errors import Conflict
async def main():
    store = opened(sys.argv[1], "writer" + sys.argv[2])
    await store.make_root()
    print("ready", flush=True)
    sys.stdin.readline()
    async def race(me):
        for slot in range(20):
            try:
                await store.create(f"log/{slot:020d}", f"{sys.argv[2]}-{me}".encode())
            except Conflict:
                continue
            print("won", slot, f"{sys.argv[2]}-{me}")
    async with asyncio.TaskGroup() as group:
        for me in range(10):
            group.create_task(race(me))
asyncio.run(main())
"""
    racers = [python(code, str(tmp_path / "remote"), me) for me in ("a", "b")]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    wins = [line.split()[1:] for racer in racers for line in finished(racer).splitlines()]
    assert sorted(int(slot) for slot, _ in wins) == list(range(20))
    for slot, winner in wins:
        assert (tmp_path / "remote" / "log" / f"{int(slot):020d}").read_text() == winner


def test_bytes_are_synced_before_their_name_appears_and_the_name_after(tmp_path: Path):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace is missing: apt-get install strace")
    trace = tmp_path / "trace"
    code = """
async def main():
    store = opened(sys.argv[1])
    await store.make_root()
    await store.put("packs/ab/one", [b"1", b"2"])
    await store.create("a/log/0", b"x")
asyncio.run(main())
"""
    under = (strace, "-f", "-y", "-o", str(trace), "-e", "trace=mkdir,mkdirat,fsync,fdatasync,/^rename,/^link,/^unlink")
    finished(python(code, str(tmp_path / "remote"), under=under))
    root = re.escape(str(tmp_path / "remote"))
    calls = [
        line.split(" ", 1)[1].strip()
        for line in trace.read_text().splitlines()
        if str(tmp_path) in line or "/proc/self/fd" in line
    ]

    def at(pattern: str, start: int = 0) -> int:
        for number in range(start, len(calls)):
            if re.search(pattern, calls[number]):
                return number
        pytest.fail(f"no {pattern} after call {start} of\n" + "\n".join(calls))

    made = at(rf'^mkdir\("{root}"')
    assert at(rf"^fsync\(\d+<{re.escape(str(tmp_path))}>\) += 0", made)
    for name in ("packs", "ab"):
        made = at(rf'^mkdir\("/proc/self/fd/\d+/{name}"', made)
    written = at(rf"^fsync\(\d+<{root}/\.tmp/me\.", made)
    renamed = at(r"^rename", written)
    assert renamed == written + 1
    for after, directory in enumerate(("/packs/ab", "/packs", ""), 1):
        assert re.match(rf"^fsync\(\d+<{root}{directory}>\) += 0", calls[renamed + after])
    written = at(rf"^fsync\(\d+<{root}/\.tmp/me\.", renamed)
    linked = at(r"^link", written)
    assert linked == written + 1
    assert re.match(rf"^fsync\(\d+<{root}/a/log>\) += 0", calls[linked + 1])
    assert at(r"^unlink", linked) == linked + 4  # the names of "log" and "a" were synced before


def test_a_killed_writer_leaves_no_half_object_and_its_next_start_sweeps(tmp_path: Path):
    code = """
class Pausing(Disk):
    def write_new(self, path, parts, mode=0o600):
        super().write_new(path, parts, mode)
        if b"stop here" in parts:
            print("written", flush=True)
            sys.stdin.read()
async def main():
    store = opened(sys.argv[1], disk=Pausing())
    await store.make_root()
    print(await store.sweep(), flush=True)
    await store.put("a/b", [sys.argv[2].encode()])
    print([info.key async for info in store.list("")], os.listdir(os.path.join(sys.argv[1], ".tmp")))
asyncio.run(main())
"""
    root = str(tmp_path / "remote")
    victim = python(code, root, "stop here")
    assert victim.stdout is not None
    assert [victim.stdout.readline(), victim.stdout.readline()] == ["0\n", "written\n"]
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=60)
    assert len(os.listdir(os.path.join(root, ".tmp"))) == 1
    assert not os.path.exists(os.path.join(root, "a", "b"))
    assert finished(python(code, root, "go on")) == "1\n['a/b'] []\n"


def test_a_full_remote_says_full_keeps_nothing_half_and_goes_on_when_there_is_space(tmp_path: Path):
    code = """
async def main():
    store = opened(sys.argv[1])
    await store.make_root()
    await store.put("packs/small", [bytes(1000)])
    await told(store.put("packs/big", [bytes(600_000)] * 2))
    await told(store.create("log/0", bytes(2_000_000)))
    print([info.key async for info in store.list("")], os.listdir(sys.argv[1] + "/.tmp"))
    await told(store.put("packs/fits", [bytes(600_000)]))
asyncio.run(main())
"""
    lines = run_confined(OPEN + code, mount=str(tmp_path)).splitlines()
    for line, key in zip(lines, ("packs/big", "log/0"), strict=False):
        assert line.startswith("remote_unavailable True ")
        assert "remote is full" in line
        assert key in line
    assert lines[2:] == ["['packs/small'] []", "ok"]


def test_a_read_only_remote_is_read_and_refuses_writes_with_words(tmp_path: Path):
    prepare = """
async def main():
    store = opened(sys.argv[1])
    await store.make_root()
    await store.put("a/b", [b"x"])
    open(os.path.join(sys.argv[1], ".tmp", "me.left.0"), "wb").close()
asyncio.run(main())
"""
    code = """
async def main():
    store = opened(sys.argv[1])
    print(await store.get("a/b"), [info.key async for info in store.list("")])
    for verb in (store.put("a/c", [b"x"]), store.create("n/c", b"x"), store.delete("a/b"), store.sweep()):
        await told(verb)
    await told(store.make_root())
asyncio.run(main())
"""
    lines = run_confined(OPEN + code, mount=str(tmp_path), prepare=OPEN + prepare, read_only=True).splitlines()
    assert lines[0] == "b'x' ['a/b']"
    for line in lines[1:5]:
        assert line.startswith("remote_refused False ")
        assert "mount it writable" in line
    assert lines[5] == "ok"  # the root is there: nothing to make


def test_a_remote_without_rights_is_refused_with_words(tmp_path: Path):
    code = """
async def main():
    store = opened(sys.argv[1])
    await store.make_root()
    await store.put("a/b", [b"x"])
    await store.put("z/b", [b"x"])
    os.chmod(sys.argv[1] + "/a/b", 0)
    await told(store.get("a/b"))
    os.chmod(sys.argv[1] + "/a", 0o500)
    await told(store.put("a/c", [b"x"]))
    os.chmod(sys.argv[1] + "/.tmp", 0o500)
    await told(store.create("z/c", b"x"))
    os.chmod(sys.argv[1] + "/z", 0)
    await told(store.stat("z/b"))
    await told(store.list("").__anext__())
    await told(store.list("z/").__anext__())
asyncio.run(main())
"""
    lines = run_confined(OPEN + code, mount=str(tmp_path)).splitlines()
    assert len(lines) == 6
    assert [line.split(" ", 2)[:2] for line in lines[:4]] == [["remote_refused", "False"]] * 4
    assert "check owner and mode" in lines[0]
    assert lines[4] == "ok"
    assert lines[5].startswith("remote_refused")
