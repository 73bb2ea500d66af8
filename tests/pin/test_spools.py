"""Spools that are shared, copied or removed: what others promised stays, what is ours is read or lost loudly."""

import os
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from syncd.errors import SourceLost
from syncd_client.wire import messages as m
from tests.kit.daemon import running_daemon
from tests.kit.pinning import pin_room, spool_files, until
from tests.pin.test_interference import OLD


async def test_the_spool_of_a_living_daemon_is_not_touched_by_a_copy_of_its_journal(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        await room.add("e", source, b"later")
        files = sorted(spool_files(tmp_path))
        async with pin_room(tmp_path / "copy") as copy:
            with pytest.raises(SourceLost, match="another daemon uses the spool"):
                await copy.bytes_of("d")
            await copy.add("own", source)
            assert await copy.bytes_of("own") == OLD
            await copy.pins.drop("d")
            await copy.pins.drop("own")
        assert sorted(spool_files(tmp_path)) == files
    # The living one has ended: its spool is free, and still not the copy's.
    async with pin_room(tmp_path / "copy") as copy:
        await copy.add("own", source)
        await copy.pins.drop("own")
        assert sorted(spool_files(tmp_path)) == files
    source.unlink()
    async with pin_room(tmp_path / "state") as room:
        assert await room.bytes_of("d") == await room.bytes_of("e", b"later") == OLD


async def test_a_spool_that_is_removed_costs_nothing_while_the_daemon_lives(tmp_path: Path) -> None:
    source, other = tmp_path / "model.pt", tmp_path / "other.pt"
    source.write_bytes(OLD)
    other.write_bytes(OLD[::-1])
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        for spool in tmp_path.glob(".syncd-spool-*"):
            shutil.rmtree(spool)
        source.unlink()
        assert await room.bytes_of("d") == OLD
        assert (await room.add("later", other)).ways == {"lease": 1}
        assert await room.bytes_of("later") == OLD[::-1]
        await room.pins.release("d")
    async with pin_room(tmp_path / "state") as room:
        assert await room.bytes_of("later") == OLD[::-1]
        assert not room.lost


async def test_without_a_free_descriptor_a_leased_file_is_still_saved(tmp_path: Path) -> None:
    source = tmp_path / "model.pt"
    source.write_bytes(OLD)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    async with pin_room(tmp_path / "state") as room:
        await room.add("d", source)
        await room.pins.synced()
        code = "import sys; sys.stdin.read(1); f = open(sys.argv[1], 'r+b'); f.write(b'n' * 300000)"
        with subprocess.Popen([sys.executable, "-I", "-c", code, source], stdin=subprocess.PIPE) as writer:
            assert writer.stdin is not None
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
            try:
                with suppress(OSError):
                    while True:
                        taken.append(os.open(os.devnull, os.O_RDONLY))
                writer.stdin.write(b"x")
                writer.stdin.flush()
                await until(lambda: writer.poll() is not None)
            finally:
                writer.kill()
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for fd in taken:
                    os.close(fd)
        assert source.read_bytes() == b"n" * 300_000
        assert await room.bytes_of("d") == OLD
        assert not room.lost


@pytest.mark.parametrize("restart", [False, True], ids=["living", "restarted"])
def test_a_file_nobody_may_read_any_more(restart: bool, tmp_path: Path) -> None:
    source, remote, away = tmp_path / "model.pt", tmp_path / "remote", tmp_path / "away"
    source.write_bytes(OLD)
    with running_daemon(tmp_path / "node", remote=remote) as daemon:
        remote.rename(away)
        job = daemon.put(source).job
        source.chmod(0)
        if restart:
            daemon.kill()
            daemon.start()
        away.rename(remote)
        (ended,) = daemon.wait(job)
        if restart:
            assert ended.state == "failed"
            assert "model.pt" in str(ended.error)
            assert "chmod" in str(ended.error)
        else:
            assert ended.state == "done"


def test_a_copied_state_directory_is_another_node_and_the_original_keeps_its_pins(tmp_path: Path) -> None:
    first, second, remote, away = (tmp_path / name for name in ("first.pt", "second.pt", "remote", "away"))
    first.write_bytes(OLD)
    second.write_bytes(OLD[::-1])
    with running_daemon(tmp_path / "node", remote=remote) as daemon:
        remote.rename(away)
        one = daemon.put(first, name="one").job
        node = daemon.call(m.Status()).node
        daemon.stop()
        shutil.copytree(tmp_path / "node" / "state", tmp_path / "copy" / "state")
        daemon.start()
        two = daemon.put(second, name="two").job
        with running_daemon(tmp_path / "copy", remote=away) as copy:
            assert copy.call(m.Status()).node != node
            (ended,) = copy.wait(one)
            assert ended.state == "failed"
            assert "copied" in str(ended.error)
            copy.call(m.Cancel(one))
        second.unlink()
        away.rename(remote)
        assert [job.state for job in daemon.wait(one, two)] == ["done", "done"]
        assert daemon.call(m.Status()).node == node
