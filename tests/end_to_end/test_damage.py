"""Somebody meddles with the remote or the restored files behind the daemon's back: it is noticed, and said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, init_remote, running_daemon


def test_a_repository_that_was_replaced_while_the_daemon_ran_gets_no_first_slot(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(5000))
    with running_daemon(tmp_path / "one", remote=tmp_path / "remote", settings=SMALL) as one:
        one.call(m.ListArtifacts())
        shutil.rmtree(one.remote)
        init_remote(one)
        (job,) = one.wait(one.put(file).job)
        assert (job.state, job.error.code) == ("waiting", "corrupt")
        assert not list(one.remote.rglob("log/*"))


def test_packs_that_were_cut_short_are_not_believed_when_their_chunks_come_again(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(50_000))
    with running_daemon(tmp_path / "node", settings=SMALL) as node:
        node.put_done(file, name="first")
        for pack in (node.remote / "packs").rglob("*"):
            if pack.is_file():
                os.truncate(pack, 100)
        node.put_done(file, name="second")
        node.get_done("second", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_bytes() == file.read_bytes()


def test_verification_sees_a_changed_mode_and_a_damaged_log(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with running_daemon(tmp_path / "node", settings=SMALL) as node:
        node.put_done(file, name="data")
        node.get_done("data", tmp_path / "out")
        root = os.fsencode(tmp_path / "out")
        assert node.call(m.Verify("data", root=root)).problems == []
        (tmp_path / "out" / "file").chmod(0o600)
        assert "mode" in node.call(m.Verify("data", root=root)).problems[0]
        slot = min((node.remote / "reg" / "log").iterdir())
        damaged = bytearray(slot.read_bytes())
        damaged[20] ^= 1
        slot.chmod(0o600)
        slot.write_bytes(damaged)
        assert any("reg/log" in problem for problem in node.call(m.Verify("data")).problems)
