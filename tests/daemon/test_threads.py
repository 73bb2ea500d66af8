"""Lanes are the only door to threads: a daemon at work has no thread outside the list in docs/DESIGN.md."""

from __future__ import annotations

import os
import re
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.bucket_daemon import bucket_daemon
from tests.kit.daemon import ROOT, running_daemon
from tests.kit.servers import Server

LISTED = set(re.findall(r"`(syncd-[a-z]+)`", (ROOT / "docs/DESIGN.md").read_text()))
ENTRY = ROOT / "tests/kit/threads_daemon.py"


def test_a_daemon_at_work_has_no_thread_outside_the_list(tmp_path: Path) -> None:
    report = tmp_path / "threads"
    (tmp_path / "data").write_bytes(os.urandom(300_000))
    (tmp_path / "watched").mkdir()
    web = {"SYNCD_WEB": f"unix:{tmp_path}/web"}
    with running_daemon(tmp_path / "home", settings=web, entry=(str(ENTRY), str(report))) as daemon:
        daemon.call(m.AddWatch(os.fsencode(tmp_path / "watched"), "seen", "dataset", "", 1.0, ""))
        daemon.put_done(tmp_path / "data")
        daemon.get_done("data", tmp_path / "out")
        daemon.call(m.Status())
    *names, foreign = report.read_text().split("\n")
    lanes = {re.sub(r"_\d+$", "", name) for name in names} - {"MainThread"}
    assert lanes <= LISTED
    assert {"syncd-journal", "syncd-work", "syncd-store", "syncd-files", "syncd-pin", "syncd-leases"} <= lanes
    assert int(foreign) <= 1, "only inotify's own thread stands beside Python's"


def test_a_bucket_brings_the_librarys_own_pool_and_no_more(tmp_path: Path, moto: Server) -> None:
    report = tmp_path / "threads"
    (tmp_path / "data").write_bytes(os.urandom(300_000))
    url = moto.url("bucket", "threads")
    with bucket_daemon(tmp_path / "home", moto, url, entry=(str(ENTRY), str(report))) as daemon:
        daemon.put_done(tmp_path / "data")
        daemon.get_done("data", tmp_path / "out")
    *names, foreign = report.read_text().split("\n")
    assert {re.sub(r"_\d+$", "", name) for name in names} - {"MainThread"} <= LISTED
    requests = 4 + 8  # at once, with the settings' defaults: each may look up a name in a thread of its own
    assert 1 <= int(foreign) <= 1 + (os.cpu_count() or 1) + requests
