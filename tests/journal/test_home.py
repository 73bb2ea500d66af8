"""A journal knows the directory it lives in: a copy of it is another node, whatever else moves or restarts."""

from pathlib import Path

import pytest

from syncd.journal import pins
from syncd.journal.core import open_journal
from syncd.journal.home import Home, disown, settle
from syncd.lanes import Lane

HERE = Home(5, 100, "boot-1")
ROW = pins.PinRow(1, "d", "lease", b"/spool/x", 0, 0, 9, 5, 7, 1, b"/data/model.pt", "boot-1")


@pytest.mark.parametrize(
    ("then", "copied"),
    [
        (HERE, False),
        (Home(6, 100, "boot-2"), False),  # device numbers change with a boot
        (Home(6, 100, "boot-1"), True),
        (Home(5, 101, "boot-1"), True),
        (Home(5, 101, "boot-2"), True),
    ],
)
async def test_only_another_directory_is_a_copy(then: Home, copied: bool, tmp_path: Path) -> None:
    lane = Lane("journal")
    journal = await open_journal(str(tmp_path / "journal.db"), lane)
    try:
        assert await settle(journal, HERE, "node-1") == ("node-1", False)
        spool = await pins.spool_id(journal, "spool-1")
        await pins.add_spools(journal, [pins.SpoolRow(b"/spool", 5, 8)])
        none = pins.PinRow(2, "d", "none", b"/data/b", 0, 0, 9, 5, 7, 1, b"/data/b", "boot-1")
        await pins.add(journal, "d", 0.0, [ROW, none], [], overwrite=False)
        assert await settle(journal, then, "node-2") == ("node-2" if copied else "node-1", copied)
        assert (await pins.spool_id(journal, "spool-2") == spool) is not copied
        assert (await pins.spools(journal) == []) is copied
        assert [bool(row.lost) for row in await pins.all_pins(journal)] == [copied, False]
        assert await settle(journal, then, "node-3") == ("node-2" if copied else "node-1", False)
    finally:
        await journal.close()
        lane.close()


async def test_spools_that_are_somebody_elses_are_given_up(tmp_path: Path) -> None:
    lane = Lane("journal")
    journal = await open_journal(str(tmp_path / "journal.db"), lane)
    try:
        await pins.spool_id(journal, "spool-1")
        await pins.add(journal, "d", 0.0, [ROW], [], overwrite=False)
        await disown(journal, "taken")
        assert [row.lost for row in await pins.all_pins(journal)] == ["taken"]
        assert await pins.spool_id(journal, "spool-2") == "spool-2"
    finally:
        await journal.close()
        lane.close()
