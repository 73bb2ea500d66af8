"""A small upload dies in every one of its effects; the next life ends it as if nothing had happened."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.crash_data import (
    CHUNK_MAXIMUM,
    CHUNK_MINIMUM,
    PACK_TARGET,
    SENDS,
    TINY,
    in_flight,
    make_small_tree,
    memory_directory,
    tree,
)
from tests.kit.dying import AFTER, BEFORE, CHANGES_NOTHING, LOST, Traffic
from tests.kit.forks import Forks, forks

SEED = 20261120
MANY = 2000
MUST_DIE_IN = {
    "ledger.write", "ledger.commit", "ledger.read", "store.get", "store.put", "store.create",
    "disk.link_fd", "disk.create", "disk.append", "disk.write_new", "disk.rename", "disk.link", "disk.sync_directory",
    "disk.make_directory", "disk.remove", "disk.read_at",
}  # fmt: skip


@pytest.mark.timeout(400)
@pytest.mark.parametrize("side", [BEFORE, *(pytest.param(side, marks=pytest.mark.crash) for side in (AFTER, LOST))])
def test_an_upload_that_dies_in_any_effect_is_one_version_with_the_right_bytes(side: str) -> None:
    seen: set[str] = set()
    with memory_directory() as top, forks() as lives:

        def died(at: int, only: str = "") -> bool:
            work = top / f"{at}{only}"
            make_small_tree(work / "data", SEED)
            death = _one(lives, work, at, side, only)
            shutil.rmtree(work)
            seen.update(death.split()[1:2])
            return death != ""

        for at in range(1, MANY):
            if not died(at):
                break
        if side != LOST:
            wanted = MUST_DIE_IN - (CHANGES_NOTHING if side == AFTER else set())
            for effect in sorted(wanted - seen):  # threads race: it may have had another number each time
                died(1, effect)
            assert wanted <= seen, f"never died in {sorted(wanted - seen)}: the test misses what it is for"


def _one(lives: Forks, work: Path, at: int, side: str, only: str) -> str:
    """One death and what comes after; return what it died in, "" when there were fewer effects than that."""
    first = lives.live("upload", work, TINY, at, side, only)
    death = Traffic.of(work / "record").died
    told = f"effect {at} {only} ({death}), side {side}, seed {SEED}"
    assert first.error == "", f"{told}: {first.error}"
    assert first.signal == (9 if death and side != LOST else 0), told
    after = lives.live("survey_upload", work, TINY)
    assert after.error == "" and after.signal == 0, f"{told}: signal {after.signal} {after.error}"
    assert after.reply["problems"] == [], told
    assert tree(work / "out") == tree(work / "data"), told
    traffic = Traffic.of(work / "record")
    bound = in_flight(PACK_TARGET, SENDS, CHUNK_MINIMUM, CHUNK_MAXIMUM)
    assert traffic.packs <= bound and traffic.chunks <= bound, f"{told}: sent again: {traffic}"
    assert traffic.sent > 2 * bound, "the upload is too small to tell"
    return death[0] if death else ""
