"""The same promise without rights, on overlayfs, on a full disk: in processes and mounts of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("worlds.py")
PATHS = os.pathsep.join(path for path in sys.path if path)
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def scenario(name: str, top: Path, *before: str, script: Path = SCRIPT) -> list[str]:
    command = [*before, sys.executable, script, name, top]
    env = {**os.environ, "PYTHONPATH": PATHS}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def in_mounts(name: str, top: Path, *mounts: str, script: Path = SCRIPT) -> list[str]:
    """Run a scenario below mounts of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare: apt install util-linux")
    user = ["-r"] if os.geteuid() else []
    line = " && ".join((*mounts, 'exec "$0" "$@"'))
    tried = subprocess.run(["unshare", *user, "-m", "sh", "-c", line, "true"], cwd=top, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"these mounts cannot be made here: {tried.stderr.strip()[:200]}")
    return scenario(name, top / "m", "unshare", *user, "-m", "sh", "-c", line, script=script)


@pytest.fixture(autouse=True)
def _stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's file")
def test_another_users_file_is_copied_and_an_unreadable_one_refused(tmp_path: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv: apt install util-linux")
    for name, mode in (("readable", 0o644), ("unreadable", 0o600)):
        (tmp_path / name).write_bytes(b"old" * 100_000)
        (tmp_path / name).chmod(mode)
        os.chown(tmp_path / name, 12345, 12345)
    seen = scenario("another_owner", tmp_path, *POWERLESS)
    assert seen == ["copied", "local_disk cannot read /unreadable"]


def test_on_overlayfs_files_are_copied_and_a_mapped_writer_changes_nothing(tmp_path: Path) -> None:
    seen = in_mounts(
        "overlay", tmp_path, "mkdir -p t m", "mount -t tmpfs t t", "mkdir t/l t/u t/w",
        "mount -t overlay o -o lowerdir=t/l,upperdir=t/u,workdir=t/w m",
    )  # fmt: skip
    assert seen == ["copy"]


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    seen = in_mounts("full", tmp_path, "mkdir -p m", "mount -t tmpfs -o size=500k t m")
    assert seen == ["refused"]
