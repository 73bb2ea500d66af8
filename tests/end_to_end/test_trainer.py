"""The trainer interferes: logged files are deleted, replaced and rewritten while the upload is held back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from syncd_client.wire import messages as m
from tests.kit.daemon import converged
from tests.kit.disk_images import image
from tests.kit.own_mounts import in_own_mounts
from tests.kit.trainer import (
    LIMITED,
    SPOILED,
    assert_old_bytes,
    come_back,
    ended,
    go_away,
    held_back,
    interfered,
    log_each,
    make_files,
    overwrite_all,
    spoil,
)

SURVIVE_A_DEAD_DAEMON = {"deleted", "renamed"}
"""What a link guards without anybody's help."""


def in_mounts(top: Path, way: str, *mounts: str) -> None:
    """Play the trainer on the directory `m` below `top`, after making mounts in a namespace of its own."""
    in_own_mounts(top, "tests.kit.trainer", top / "home", top / "m" / "data", way, mounts=mounts)


def test_versions_have_the_bytes_of_the_moment_of_add_file(tmp_path: Path) -> None:
    interfered(tmp_path / "home", tmp_path / "data", "lease")


def test_files_open_for_writing_elsewhere_are_copied(tmp_path: Path) -> None:
    interfered(tmp_path / "home", tmp_path / "data", "copy", open_elsewhere=True)


def test_a_small_signal_limit_changes_nothing(tmp_path: Path) -> None:
    interfered(tmp_path / "home", tmp_path / "data", "lease", entry=LIMITED)


def test_a_spool_on_the_files_own_second_file_system(tmp_path: Path) -> None:
    in_mounts(tmp_path, "lease", "mkdir -p m", "mount -t tmpfs t m")


def test_a_spool_on_another_file_system_than_the_files(tmp_path: Path) -> None:
    """The daemon may write nowhere on the files' mount; the trainer, who has more rights, may."""
    in_mounts(tmp_path, "copy", "mkdir -p m", "mount -t tmpfs t m", "mkdir m/data", "chmod 555 m/data m")


def test_on_overlayfs(tmp_path: Path) -> None:
    in_mounts(
        tmp_path, "copy", "mkdir -p t m", "mount -t tmpfs t t", "mkdir t/l t/u t/w",
        "mount -t overlay o -o lowerdir=t/l,upperdir=t/u,workdir=t/w m",
    )  # fmt: skip


def overwritten_at_once(tmp_path: Path, count: int, size: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    old = {f"{number:04}": os.urandom(16) + bytes(size) + os.urandom(16) for number in range(count)}
    for name, content in old.items():
        (data / name).write_bytes(content)
    with held_back(tmp_path / "home", entry=LIMITED) as daemon:
        job = daemon.put(data, name="many")
        ways = daemon.call(m.Status()).pins
        assert ways == {"lease": count}
        overwrite_all(data)
        come_back(daemon)
        info = ended(daemon, job.job, 100)
        assert info.state == "done", info
        daemon.get_done("many", tmp_path / "out")
        assert converged(daemon) == []
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old


def test_three_hundred_files_overwritten_at_once_under_a_small_signal_limit(tmp_path: Path) -> None:
    overwritten_at_once(tmp_path, 300, 70_000)


@pytest.mark.crash
def test_five_thousand_files_overwritten_at_once_under_a_small_signal_limit(tmp_path: Path) -> None:
    overwritten_at_once(tmp_path, 5000, 70_000)


@pytest.mark.parametrize("way", ["lease", "copy"])
def test_while_the_daemon_is_dead_old_bytes_or_a_loud_failure(tmp_path: Path, way: str) -> None:
    data = tmp_path / "data"
    made = make_files(data)
    with held_back(tmp_path / "home") as daemon:
        writers = [(data / name).open("r+b") for name in SPOILED] if way == "copy" else []
        jobs, receipts = log_each(daemon, data)
        for writer in writers:
            writer.close()
        assert all(receipt.ways == {way: 1} for receipt in receipts.values())
        assert any("while the daemon is dead" in gap for gap in receipts["rewritten"].gaps) == (way == "lease")
        daemon.kill()
        spoil(data)
        daemon.start()
        come_back(daemon)
        infos = {name: ended(daemon, job) for name, job in jobs.items()}
        kept = {name for name, info in infos.items() if info.state == "done"}
        assert kept >= (SURVIVE_A_DEAD_DAEMON if way == "lease" else set(SPOILED))
        assert_old_bytes(daemon, {name: made[name] for name in kept}, tmp_path / "out")
        for name in set(SPOILED) - kept:
            info = infos[name]
            assert info.error is not None
            assert (info.state, info.error.code) == ("failed", "source_lost")
            waited = daemon.syncctl("wait", jobs[name])
            assert waited.returncode == 1
            assert str(data / name) in waited.stderr
            as_json = daemon.syncctl("--json", "wait", jobs[name])
            assert json.loads(as_json.stdout)["jobs"][0]["error"]["code"] == "source_lost"
        assert {artifact.name for artifact in daemon.call(m.ListArtifacts()).artifacts} == kept


def test_a_write_while_the_daemon_is_up_after_a_kill_is_held_as_before(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = make_files(data)
    with held_back(tmp_path / "home") as daemon:
        jobs, _ = log_each(daemon, data)
        daemon.kill()
        daemon.start()
        spoil(data)
        come_back(daemon)
        for job in jobs.values():
            assert ended(daemon, job).state == "done"
        assert_old_bytes(daemon, made, tmp_path / "out")


def test_a_remote_that_goes_away_twice_costs_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = make_files(data)
    with held_back(tmp_path / "home") as daemon:
        jobs, _ = log_each(daemon, data)
        come_back(daemon)
        go_away(daemon)
        spoil(data)
        come_back(daemon)
        for job in jobs.values():
            assert ended(daemon, job).state == "done"
        assert_old_bytes(daemon, made, tmp_path / "out")
        assert converged(daemon) == []


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_on_a_file_system_with_reflinks(tmp_path: Path, kind: str) -> None:
    in_mounts(tmp_path, "reflink", *image(tmp_path, kind))
