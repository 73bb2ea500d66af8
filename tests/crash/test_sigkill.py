"""SIGKILL from outside at random moments: fifteen in every run of the suite, four hundred in the long lane."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.kit.crash_data import make_tree
from tests.kit.kills import Figures, Size, kill_a_download, kill_an_upload, log_tree, moment, node, undisturbed
from tests.kit.kills import restore_tree as restore

MIB = 1 << 20
SMALL = Size(6 * MIB, 512 << 10, 2, 4 << 10, 64 << 10, {
    "SYNCD_CHUNKER_MINIMUM": "4096", "SYNCD_CHUNKER_AVERAGE": "16384", "SYNCD_CHUNKER_MAXIMUM": "65536",
    "SYNCD_UPLOAD_PACK_TARGET": str(512 << 10), "SYNCD_UPLOAD_CONCURRENCY": "2",
})  # fmt: skip
"""For the suite: the bound on what is sent again is a fifth of the data."""
REAL = Size(60 * MIB, 16 * MIB, 4, 64 << 10, 2 * MIB, {})
"""The constants of the product. Four packs in flight are all of it: what is bound here is that nothing goes twice."""
ONE_SEND = Size(60 * MIB, 16 * MIB, 1, 64 << 10, 2 * MIB, {"SYNCD_UPLOAD_CONCURRENCY": "1"})
"""The constants of the product but for one send at a time: a third of the data may go again."""
SERIES = 20
"""Kills before the remote is made anew: two hundred times 60 MiB need not lie on the disk."""


@pytest.fixture
def seed() -> int:
    """A seed of this run, or the one that CRASH_SEED names, to see a failure again."""
    return int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


def test_fifteen_kills_of_uploads_and_downloads(tmp_path: Path, seed: int) -> None:
    figures = Figures()
    uploads(tmp_path / "up", seed, range(8), SMALL, figures)
    downloads(tmp_path / "down", seed, range(7), SMALL, figures)
    assert figures.moments["before its end"] >= 5, f"seed {seed}: too few kills hit anything: {figures}"


@pytest.mark.crash
@pytest.mark.timeout(7200)
def test_two_hundred_kills_of_uploads(tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    with told("uploads", seed, capsys) as figures:
        for number, first in enumerate(range(0, 200, SERIES)):
            size = REAL if number % 2 == 0 else ONE_SEND
            uploads(tmp_path / str(first), seed, range(first, first + SERIES), size, figures)


@pytest.mark.crash
@pytest.mark.timeout(7200)
def test_two_hundred_kills_of_downloads(tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    with told("downloads", seed, capsys) as figures:
        for first in range(0, 200, SERIES):
            downloads(tmp_path / str(first), seed, range(first, first + SERIES), REAL, figures)


class told:
    """Gives figures, and prints them with seed and duration when the series is over, however it ends."""

    def __init__(self, what: str, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
        self._what = f"{what}, seed {seed}"
        self._capsys = capsys
        self._figures = Figures()
        self._start = time.monotonic()

    def __enter__(self) -> Figures:
        return self._figures

    def __exit__(self, *_: object) -> None:
        with self._capsys.disabled():
            print(f"\n{self._what}: {time.monotonic() - self._start:.0f} s, {self._figures}")


def uploads(top: Path, seed: int, indices: range, size: Size, figures: Figures) -> None:
    remote = top / "remote"
    with node(top / "one", remote, size) as one, node(top / "two", remote, size) as two:

        def plain(number: int) -> None:
            log_tree(one, top / f"plain{number}", f"plain{number}", f"{number:032x}")

        for number in range(3):
            make_tree(top / f"plain{number}", -seed - number, size.data)
        duration = undisturbed(plain, figures)
        for index in indices:
            chance = random.Random(f"{seed} upload {index}")
            at = moment(chance, duration)
            try:
                kill_an_upload(one, two, top / f"work{index}", chance.getrandbits(40), at, size, figures)
            except BaseException as error:
                error.add_note(f"upload {index} of seed {seed}, killed after {at:.3f} s; {one.log_text()}")
                raise
    shutil.rmtree(top)


def downloads(top: Path, seed: int, indices: range, size: Size, figures: Figures) -> None:
    remote, data = top / "remote", top / "data"
    make_tree(data, seed, size.data)
    with node(top / "one", remote, size) as one:
        log_tree(one, data, "data", "0" * 32)
    with node(top / "two", remote, size) as two:
        duration = undisturbed(lambda number: restore(two, "data", top / f"plain{number}"), figures)
        for index in indices:
            at = moment(random.Random(f"{seed} download {index}"), duration)
            try:
                kill_a_download(two, data, "data", top / f"out{index}", at, figures)
            except BaseException as error:
                error.add_note(f"download {index} of seed {seed}, killed after {at:.3f} s; {two.log_text()}")
                raise
    shutil.rmtree(top)
