"""The main job with real processes: log on one node, kill it, go on, restore on another node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, converged, running_daemon


def tree(root: Path) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize("way", [{}, {"SYNCD_UVLOOP": "0"}, {"SYNCD_PURE": "1"}], ids=["uvloop", "asyncio", "pure"])
def test_what_one_node_logs_another_restores_bit_for_bit(tmp_path: Path, way: dict[str, str]) -> None:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "a.bin").write_bytes(os.urandom(200_000))
    (data / "deep" / "empty").touch()
    (data / "deep" / "link").symlink_to("../a.bin")
    settings = {**SMALL, **way}
    with running_daemon(tmp_path / "one", remote=tmp_path / "remote", settings=settings) as one:
        job = one.put_done(data, name="train")
        assert (job.version, job.new_version) == (0, True)
        assert converged(one) == []
    with running_daemon(tmp_path / "two", remote=tmp_path / "remote", settings=settings) as two:
        two.get_done("train", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(data)


def test_the_same_content_again_makes_no_new_version_and_sends_nothing(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(100_000))
    with running_daemon(tmp_path / "node", settings=SMALL) as node:
        first = node.put_done(file, name="model", aliases=["best"])
        again = node.put_done(file, name="model", aliases=["stable"])
        assert (first.version, again.version, again.new_version) == (0, 0, False)
        assert again.bytes_stored == 0
        assert again.warnings
        shown = node.call(m.Show("model", "stable"))
        assert shown.aliases == ["latest", "best", "stable"]


def test_a_killed_daemon_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(os.urandom(400_000))
    with running_daemon(tmp_path / "node", settings=SMALL) as node:
        job = node.put(file, name="model")
        node.kill()
        node.start()
        (done,) = node.wait(job.job)
        assert done.state == "done"
        assert converged(node) == []
        node.get_done("model", tmp_path / "out")
    assert (tmp_path / "out" / "checkpoint").read_bytes() == file.read_bytes()


def test_daemon_stops_cleanly_and_leaves_no_socket(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "node") as node:
        node.call(m.Shutdown())
        assert node.wait_ended() == 0
        assert not node.socket.exists()
