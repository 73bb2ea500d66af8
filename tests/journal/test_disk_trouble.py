"""Full disks, read-only disks, missing fsyncs and sudden death, each of them real."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.journal.core import open_journal
from syncd.lanes import Lane
from tests.kit.confined import run_confined

ROOT = Path(__file__).parents[2]

PRELUDE = """
import asyncio, os, sys
from syncd.errors import LocalDisk
from syncd.journal.core import open_journal
from syncd.lanes import Lane

def put(key, size=10):
    return lambda db: db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, "x" * size))

def count(db):
    return db.execute("SELECT count(*) FROM meta").fetchone()[0]

async def expect(act, **options):
    try:
        await act(**options)
    except LocalDisk as error:
        assert error.hint and "journal.db" in error.what, error
        return
    raise SystemExit("LocalDisk was not raised")

def run(main):
    lane = Lane("journal")
    asyncio.run(main(sys.argv[1] + "/journal.db", lane))
    lane.close()
"""

FULL = """
async def main(path, lane):
    journal = await open_journal(path, lane)
    await journal.write(put("before"), durable=True)
    filler = os.path.dirname(path) + "/filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    await expect(lambda: journal.write(put("big", 300_000), durable=True))
    await expect(lambda: journal.write(put("big", 300_000)))
    assert await journal.read(count) == 1, "reading goes on, nothing half is seen"
    os.unlink(filler)
    await journal.write(put("after"), durable=True)
    assert await journal.read(count) == 2
    await journal.close()
    print("as promised")
"""

READ_ONLY = """
import subprocess
async def main(path, lane):
    await (await open_journal(path, lane)).close()
    subprocess.run(["mount", "-o", "remount,ro", os.path.dirname(path)], check=True)
    await expect(lambda: open_journal(path, lane))
    subprocess.run(["mount", "-o", "remount,rw", os.path.dirname(path)], check=True)
    journal = await open_journal(path, lane)
    await journal.write(put("after"))
    await journal.close()
    print("as promised")
"""

SYNCS = """
async def main(path, lane):
    journal = await open_journal(path, lane)
    await journal.write(put("warm"), durable=True)
    for durable in (False, True):
        os.write(2, b"MARK\\n")
        for n in range(3):
            await journal.write(put(str(n)), durable=durable)
    os.write(2, b"MARK\\n")
    await journal.close()
"""

FOR_EVER = """
def both(n):
    def act(db):
        db.execute("INSERT INTO meta VALUES (?, ?)", (f"{n:08d}", "x" * 500))
        db.execute("INSERT INTO drafts (draft, touched, job) VALUES (?, ?, NULL)", (f"{n:08d}", n))
    return act

async def main(path, lane):
    journal = await open_journal(path, lane)
    n = await journal.read(count)
    while True:
        await journal.write(both(n), durable=n % 2 == 0)
        os.write(1, b"%d\\n" % n)
        n += 1
"""


def command(script: str, directory: Path) -> list[str]:
    return [sys.executable, "-c", f"{PRELUDE}\n{script}\nrun(main)", str(directory)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def in_small_tmpfs(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with a tmpfs of 1 MiB mounted at `directory`, in a mount namespace of its own."""
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mounted = [*unshare, "sh", "-c", f'mount -t tmpfs -o size=1m none "{directory}" && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces here: allow unprivileged user namespaces, or run as root")
    return subprocess.run(
        [*mounted, *command(script, directory)], env=environment(), capture_output=True, text=True, timeout=60
    )


def test_a_full_disk_is_a_typed_error_and_writes_work_again_with_space(tmp_path: Path) -> None:
    done = in_small_tmpfs(FULL, tmp_path)
    assert (done.stdout, done.stderr) == ("as promised\n", "")


def test_a_read_only_disk_is_a_typed_error_and_opens_again_when_writable(tmp_path: Path) -> None:
    done = in_small_tmpfs(READ_ONLY, tmp_path)
    assert (done.stdout, done.stderr) == ("as promised\n", "")


def test_a_directory_that_may_not_be_written_is_a_typed_error(tmp_path: Path) -> None:
    act = (
        "os.chmod(sys.argv[1], 0o500)\nasync def main(path, lane):\n    await expect(lambda: open_journal(path, lane))"
    )
    place = tmp_path / "state"
    place.mkdir()
    assert run_confined(f"{PRELUDE}\n{act}\nrun(main)\nprint('as promised')", mount=str(place)) == "as promised\n"


def test_a_durable_transaction_syncs_and_an_ordered_one_does_not(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("apt install strace")
    trace = tmp_path / "trace"
    watched = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync,write"]
    done = subprocess.run(
        [*watched, *command(SYNCS, tmp_path)], env=environment(), capture_output=True, text=True, timeout=60
    )
    if "ptrace" in done.stderr:
        pytest.skip("ptrace is not permitted here")
    assert done.returncode == 0, done.stderr
    _, ordered, durable, _ = trace.read_text().split('write(2, "MARK')
    assert ordered.count("sync(") == 0
    assert durable.count("sync(") >= 3


@pytest.mark.parametrize("answers", [1, 7, 40, 150])
def test_kill_9_leaves_whole_transactions_and_all_that_was_answered(tmp_path: Path, answers: int) -> None:
    told = 0
    for _ in range(2):  # the second life begins with the first one's write-ahead log
        child = subprocess.Popen(command(FOR_EVER, tmp_path), env=environment(), stdout=subprocess.PIPE)
        assert child.stdout is not None
        with child, child.stdout as lines:
            for _ in range(answers):
                told = int(next(lines)) + 1
            child.send_signal(signal.SIGKILL)
        metas, drafts = asyncio.run(survivors(str(tmp_path / "journal.db")))
        assert metas == drafts
        assert len(metas) >= told
        assert metas == [f"{n:08d}" for n in range(len(metas))]


async def survivors(path: str) -> tuple[list[str], list[str]]:
    def both(db: sqlite3.Connection) -> tuple[list[str], list[str]]:
        first, second = ([key for (key, *_) in db.execute(f"SELECT * FROM {t} ORDER BY 1")] for t in ("meta", "drafts"))
        return first, second

    lane = Lane("journal-test")
    journal = await open_journal(path, lane)
    try:
        return await journal.read(both)
    finally:
        await journal.close()
        lane.close()
