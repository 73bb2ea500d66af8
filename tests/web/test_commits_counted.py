"""What /metrics of a real daemon says after real commits."""

from __future__ import annotations

import os
import socket
import time
import urllib.request
from pathlib import Path

from tests.kit.daemon import SMALL, Daemon, running_daemon, until

DEDUP = "syncd_dedup_bytes_total"
CONFLICTS = "syncd_commit_conflicts_total"
LAST = "syncd_last_commit_timestamp_seconds"
PAGES = 4096
"""More than the manifest pages of one file take; they are sent too, and make up for as much of what was not."""


def with_door() -> dict[str, str]:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return {**SMALL, "SYNCD_WEB": f"127.0.0.1:{trial.getsockname()[1]}"}


def metrics(daemon: Daemon) -> dict[str, float]:
    """Return the metrics without labels by name; a missing one has never been set."""
    with urllib.request.urlopen(f"http://{daemon.environ['SYNCD_WEB']}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in pairs}


def test_bytes_are_spared_only_where_the_remote_had_them(tmp_path: Path) -> None:
    """Neither a first upload nor compression spares any; a second name for the same bytes spares them all."""
    text, other = tmp_path / "text", tmp_path / "other"
    text.write_text(os.urandom(200_000).hex())  # half of it goes in compression, nothing of it is there twice
    other.write_bytes(os.urandom(100_000))
    with running_daemon(tmp_path / "home", remote=tmp_path / "remote", settings=with_door()) as daemon:
        assert metrics(daemon)[DEDUP] == 0
        first = daemon.put_done(text, name="one")
        assert first.bytes_stored < 300_000
        assert metrics(daemon)[DEDUP] == 0
        daemon.put_done(text, name="two")
        spared = metrics(daemon)[DEDUP]
        assert 400_000 - PAGES <= spared <= 400_000
        daemon.put_done(other, name="three")
        assert metrics(daemon)[DEDUP] == spared
        daemon.put_done(text, other, name="four")
        assert 500_000 - PAGES <= metrics(daemon)[DEDUP] - spared <= 500_000


def test_the_last_commit_is_when_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with running_daemon(tmp_path / "home", remote=tmp_path / "remote", settings=with_door()) as daemon:
        assert metrics(daemon).get(LAST, 0) == 0
        last = 0.0
        for content in (b"1", b"2"):
            file.write_bytes(content)
            begun = time.time()
            daemon.put_done(file)
            assert max(last, begun) <= metrics(daemon)[LAST] <= time.time()
            last = metrics(daemon)[LAST]
        assert daemon.syncctl("show", "data").returncode == 0
        assert metrics(daemon)[LAST] == last, "nothing but a commit moves it"
        assert not daemon.put_done(file).new_version
        assert metrics(daemon)[LAST] == last, "identical content made no new version"


def test_a_slot_that_another_node_took_is_counted_once_and_by_who_lost_it(tmp_path: Path) -> None:
    """Two nodes read the same log; the one held at the gate comes second to slot 2."""
    file, gate, remote = tmp_path / "file", tmp_path / "gate", tmp_path / "remote"
    gate.mkdir()
    held = {**with_door(), "KIT_GATE": str(gate), "KIT_GATED": f"/data/log/{2:020}"}
    with (
        running_daemon(tmp_path / "first", remote=remote, settings=with_door()) as first,
        running_daemon(
            tmp_path / "second", remote=remote, settings=held, entry=("-m", "tests.kit.entry_gated")
        ) as second,
    ):
        file.write_bytes(b"0")
        first.put_done(file)
        file.write_bytes(b"1")
        job = second.put(file).job
        until((gate / "arrived").exists, what="the second node at slot 2")
        file.write_bytes(b"2")
        assert first.put_done(file).version == 1
        (gate / "open").touch()
        (done,) = second.wait(job)
        assert (done.state, done.version) == ("done", 2)
        assert (metrics(first)[CONFLICTS], metrics(second)[CONFLICTS]) == (0, 1)
        file.write_bytes(b"3")
        second.put_done(file)
        assert metrics(second)[CONFLICTS] == 1
