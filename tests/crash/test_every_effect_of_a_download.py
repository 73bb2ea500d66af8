"""A small download dies in every one of its effects; the next life ends it and fetches nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.crash_data import TINY, copy_tree, make_small_tree, memory_directory, tree
from tests.kit.dying import AFTER, BEFORE, CHANGES_NOTHING, LOST, Traffic
from tests.kit.forks import Forks, forks

SEED = 20261121
MANY = 2000
MUST_DIE_IN = {
    "ledger.write", "ledger.commit", "ledger.read", "store.get", "store.stat", "disk.write_into", "disk.sync",
    "disk.rename_at", "disk.make_directory", "disk.make_directory_at", "disk.open_or_create", "disk.resize",
    "disk.set_mode", "disk.symlink", "disk.remove_directory_at",
}  # fmt: skip


@pytest.mark.timeout(400)
@pytest.mark.parametrize("side", [BEFORE, *(pytest.param(side, marks=pytest.mark.crash) for side in (AFTER, LOST))])
def test_a_download_that_dies_in_any_effect_gives_the_right_bytes_and_fetches_none_twice(side: str) -> None:
    seen: set[str] = set()
    with memory_directory() as top, forks() as lives:
        source = top / "source"
        make_small_tree(source / "data", SEED)
        assert lives.live("upload", source, TINY).reply["state"] == "done"

        def died(at: int, only: str = "") -> bool:
            work = top / f"{at}{only}"
            copy_tree(source / "one/state/remote", work / "remote")
            death = _one(lives, work, source / "data", at, side, only)
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


@pytest.mark.timeout(400)
def test_a_download_cancelled_by_a_daemon_that_dies_leaves_nothing_half_done() -> None:
    with memory_directory() as top, forks() as lives:
        source = top / "source"
        make_small_tree(source / "data", SEED)
        assert lives.live("upload", source, TINY).reply["state"] == "done"
        for at in range(1, MANY):
            work = top / str(at)
            copy_tree(source / "one/state/remote", work / "remote")
            first = lives.live("cancel_download", work, TINY, at)
            told = f"effect {at} ({Traffic.of(work / 'record').died}), seed {SEED}"
            assert first.error == "", f"{told}: {first.error}"
            after = lives.live("survey_cancelled", work, TINY)
            assert after.error == "" and after.reply["problems"] == [], f"{told}: {after}"
            shutil.rmtree(work)
            if not first.signal:
                break


def _one(lives: Forks, work: Path, data: Path, at: int, side: str, only: str) -> str:
    first = lives.live("download", work, TINY, at, side, only)
    death = Traffic.of(work / "record").died
    told = f"effect {at} {only} ({death}), side {side}, seed {SEED}"
    assert first.error == "", f"{told}: {first.error}"
    assert first.signal == (9 if death and side != LOST else 0), told
    after = lives.live("survey_download", work, TINY)
    assert after.error == "" and after.signal == 0, f"{told}: signal {after.signal} {after.error}"
    assert after.reply["problems"] == [], told
    assert tree(work / "out") == tree(data), told
    assert Traffic.of(work / "record").rewritten == 0, f"{told}: verified bytes were fetched again"
    return death[0] if death else ""
