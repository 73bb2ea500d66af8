"""A daemon that brings the last two ranks of a group dies in its effects; the next life makes it one version."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.crash_data import TINY, memory_directory, tree
from tests.kit.dying import AFTER, BEFORE, LOST, Traffic
from tests.kit.forks import Forks, forks

RANKS = 3
MANY = 500
EFFECTS = {
    BEFORE: ["store.create", "store.put", "ledger.write", "ledger.commit"],
    AFTER: ["store.create", "store.put", "ledger.write"],
    LOST: ["store.create", "store.put", "store.get"],
}
"""What a contribution changes, and what it learns; the disk's own verbs are met by the lane of a whole upload."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("side", [BEFORE, *(pytest.param(side, marks=pytest.mark.crash) for side in (AFTER, LOST))])
def test_ranks_whose_daemon_dies_in_any_effect_are_one_version_with_the_files_of_all(side: str) -> None:
    with memory_directory() as top, forks() as lives:
        begun = top / "begun"
        for rank in range(RANKS):
            _make_share(begun / f"data-{rank}", rank)
        first = lives.live("first_part", begun, TINY)
        assert (first.error, first.signal) == ("", 0), first
        deaths = {only: _deaths(lives, begun, top / "work", side, only) for only in EFFECTS[side]}
        assert min(deaths.values()) > 0, f"never died in one of them: {deaths}"


def _deaths(lives: Forks, begun: Path, work: Path, side: str, only: str) -> int:
    """Die in the first, the second ... effect of that name until there are no more; return how many there were."""
    for at in range(1, MANY):
        shutil.copytree(begun, work, symlinks=True)
        life = lives.live("last_parts", work, TINY, at, side, only)
        death = Traffic.of(work / "record").died
        told = f"{only} {at} ({death}), side {side}"
        assert life.error == "", f"{told}: {life.error}"
        assert life.signal == (9 if death and side != LOST else 0), told
        after = lives.live("survey_parts", work, TINY)
        assert after.error == "" and after.signal == 0, f"{told}: signal {after.signal} {after.error}"
        assert after.reply["problems"] == [], told
        shares = [tree(work / f"data-{rank}") for rank in range(RANKS)]
        assert tree(work / "out") == {path: facts for share in shares for path, facts in share.items()}, told
        shutil.rmtree(work)
        if not death:
            return at - 1
    raise AssertionError(f"{only} does not end")


def _make_share(place: Path, rank: int) -> None:
    place.mkdir(parents=True)
    (place / f"shard-{rank}.bin").write_bytes(bytes((rank * 7 + number * number) % 251 for number in range(9000)))
    (place / "config.json").write_text("{}")
