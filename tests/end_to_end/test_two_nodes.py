"""Two daemons with their own state log to one artifact in one remote at once: v0..v99, no gap, no duplicate."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, converged, running_daemon
from tests.kit.trainer import ended

EACH = 50
SAMPLE = 12


def log_many(node: Daemon, folder: Path, word: str) -> list[tuple[int, bytes]]:
    """Log 50 contents of one node's own, one after the other without waiting; return the versions they became."""
    jobs = []
    for number in range(EACH):
        content = f"{word} {number}\n".encode() * 100
        (folder / "file").write_bytes(content)
        jobs.append((node.put(folder / "file", name="shared").job, content))
    became = []
    for job, content in jobs:
        info = ended(node, job, 100)
        assert (info.state, info.new_version) == ("done", True), info
        assert info.version is not None
        became.append((info.version, content))
    return became


def test_a_hundred_versions_without_gap_or_duplicate(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    settings = {**SMALL, "SYNCD_LOG_LEVEL": "error"}
    for word in "ab":
        (tmp_path / word).mkdir()
    with (
        running_daemon(tmp_path / "one", remote=remote, settings=settings) as one,
        running_daemon(tmp_path / "two", remote=remote, settings=settings) as two,
        ThreadPoolExecutor(2) as pool,
    ):
        logged = [pool.submit(log_many, node, tmp_path / word, word) for node, word in ((one, "a"), (two, "b"))]
        of_one, of_two = (future.result() for future in logged)
        assert sorted(version for version, _ in of_one + of_two) == list(range(2 * EACH))
        for became in (of_one, of_two):
            assert became == sorted(became), "a node's versions come in the order of its logs"
        assert min(of_two)[0] < max(of_one)[0], "they did not meet at all"
        contents = dict(of_one + of_two)
        for version in random.Random(2).sample(range(2 * EACH), SAMPLE):
            for node, word in ((one, "a"), (two, "b")):
                out = tmp_path / f"out-{word}-{version}"
                node.get_done("shared", out, f"v{version}")
                assert (out / "file").read_bytes() == contents[version]
        for node in (one, two):
            page = node.call(m.ListVersions("shared", limit=500))
            assert [version.version for version in page.versions] == list(reversed(range(2 * EACH)))
            assert node.call(m.Show("shared")).version == 2 * EACH - 1
            assert converged(node) == []
