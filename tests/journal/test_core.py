"""What the journal file promises, whatever the disk does."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from syncd.errors import Conflict, Corrupt
from syncd.journal import mark
from syncd.journal.core import SCHEMA_VERSION, Journal, open_journal
from syncd.lanes import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("journal-test")
    yield lane
    lane.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


@pytest.fixture
async def journal(path: str, lane: Lane) -> AsyncIterator[Journal]:
    journal = await open_journal(path, lane)
    yield journal
    await journal.close()


def put(key: str, value: str = "x") -> object:
    return lambda db: db.execute("INSERT INTO meta VALUES (?, ?)", (key, value)).rowcount


def keys(db: sqlite3.Connection) -> list[str]:
    return [key for (key,) in db.execute("SELECT key FROM meta ORDER BY key")]


def pragma(name: str) -> object:
    return lambda db: db.execute(f"PRAGMA {name}").fetchone()[0]


async def test_what_was_written_is_read_and_survives_reopening(path: str, lane: Lane) -> None:
    journal = await open_journal(path, lane)
    await journal.write(put("a"))
    assert await journal.read(keys) == ["a"]
    await journal.close()
    again = await open_journal(path, lane)
    assert await again.read(keys) == ["a"]
    await again.close()


async def test_an_exception_leaves_nothing_of_its_transaction(journal: Journal) -> None:
    def half(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO meta VALUES ('half', '')")
        raise Conflict("no")

    with pytest.raises(Conflict):
        await journal.write(half)
    await journal.write(put("whole"))
    assert await journal.read(keys) == ["whole"]


async def test_a_broken_constraint_is_not_called_a_disk_error(journal: Journal) -> None:
    await journal.write(put("a"))
    with pytest.raises(sqlite3.IntegrityError):
        await journal.write(put("a"))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await journal.read(lambda db: db.execute("SELECT * FROM nowhere"))


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)], ids=["durable", "ordered"])
async def test_the_kind_of_promise_reaches_sqlite(journal: Journal, durable: bool, level: int) -> None:
    await journal.write(put("before"), durable=not durable)
    assert await journal.write(pragma("synchronous"), durable=durable) == level
    assert await journal.read(pragma("journal_mode")) == "wal"


async def test_a_newer_schema_is_refused_and_left_as_it_is(path: str, lane: Lane) -> None:
    await (await open_journal(path, lane)).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    raw.close()
    before = Path(path).read_bytes()
    with pytest.raises(Conflict, match=f"has schema {SCHEMA_VERSION + 1}") as refused:
        await open_journal(path, lane)
    assert refused.value.hint
    assert Path(path).read_bytes() == before


async def test_an_older_schema_migrates_and_keeps_its_rows(path: str, lane: Lane) -> None:
    first = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    old = await open_journal(path, lane, [first])
    await old.write(put("kept"))
    await old.close()
    second = "ALTER TABLE meta ADD COLUMN note TEXT NOT NULL DEFAULT 'none';"
    new = await open_journal(path, lane, [first, second])
    assert await new.read(lambda db: db.execute("SELECT key, note FROM meta").fetchall()) == [("kept", "none")]
    assert await new.read(pragma("user_version")) == 2
    await new.close()
    with pytest.raises(Conflict):
        await open_journal(path, lane, [first])


async def test_a_migration_that_fails_leaves_the_schema_it_found(path: str, lane: Lane) -> None:
    first = "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    await (await open_journal(path, lane, [first])).close()
    with pytest.raises(sqlite3.OperationalError):
        await open_journal(path, lane, [first, "CREATE TABLE other (x); INSERT INTO nowhere VALUES (1);"])
    again = await open_journal(path, lane, [first])
    assert await again.read(pragma("user_version")) == 1
    assert await again.read(lambda db: db.execute("SELECT name FROM sqlite_master").fetchall()) == [("meta",)]
    await again.close()


async def damage(path: str, lane: Lane, how: str) -> None:
    journal = await open_journal(path, lane)
    for number in range(400):
        await journal.write(put(f"{number:04d}", "x" * 200))
    await journal.close()
    data = bytearray(Path(path).read_bytes())
    if how == "no database":
        data[:16] = b"something else!!"
    elif how == "a page overwritten":
        data[8 * 4096 : 9 * 4096] = b"\xff" * 4096
    elif how == "its last page":
        data[-4096:] = b"\xff" * 4096
    else:
        del data[len(data) // 2 :]
    Path(path).write_bytes(data)


@pytest.mark.parametrize("how", ["no database", "a page overwritten", "cut in half"])
async def test_a_damaged_file_is_refused_with_a_way_out_and_left_as_it_is(path: str, lane: Lane, how: str) -> None:
    await damage(path, lane, how)
    before = Path(path).read_bytes()
    with pytest.raises(Corrupt) as refused:
        await open_journal(path, lane)
    assert path in refused.value.what
    assert f"mv {path} {path}.damaged" in refused.value.hint
    assert Path(path).read_bytes() == before
    Path(path).rename(f"{path}.damaged")
    fresh = await open_journal(path, lane)
    assert await fresh.read(keys) == []
    await fresh.close()


async def test_a_damaged_file_with_a_log_left_by_a_kill_is_left_as_it_is_too(path: str, lane: Lane) -> None:
    living = await open_journal(path, lane)
    for number in range(400):
        await living.write(put(f"{number:04d}", "x" * 200))
    await living.read(lambda db: db.execute("PRAGMA wal_checkpoint(FULL)").fetchall())
    await living.write(put("only in the log"))
    dead = f"{path}.dead"
    for ending in ("", "-wal"):
        shutil.copy(f"{path}{ending}", f"{dead}{ending}")
    await living.close()
    data = bytearray(Path(dead).read_bytes())
    data[10 * 4096 : 11 * 4096] = b"\xff" * 4096
    Path(dead).write_bytes(data)
    with pytest.raises(Corrupt):
        await open_journal(dead, lane)
    assert Path(dead).read_bytes() == data


async def test_a_state_directory_with_odd_bytes_in_its_name_works(tmp_path: Path, lane: Lane) -> None:
    odd = tmp_path / "a ?#%\udcff"
    odd.mkdir()
    for _ in range(2):  # created, then opened again
        journal = await open_journal(str(odd / "journal.db"), lane)
        await journal.close()
    assert (odd / "journal.db").exists()
    assert list(tmp_path.iterdir()) == [odd]


async def test_no_statement_leaves_the_journals_thread(journal: Journal) -> None:
    """A cursor that ends in another thread resets a statement the lane may be running again: misuse, and lost work."""
    written = await journal.write(lambda db: db.executemany("INSERT INTO meta VALUES (?, ?)", [("a", "1"), ("b", "2")]))
    read = await journal.read(lambda db: db.execute("SELECT key FROM meta"))
    for cursor in (written, read):
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchall()
    assert await journal.read(keys) == ["a", "b"]


async def test_a_first_life_that_ended_in_the_middle_of_a_write_does_not_keep_the_next_from_starting(
    path: str, lane: Lane, tmp_path: Path
) -> None:
    other = tmp_path / "dying.db"
    dying = sqlite3.connect(other, isolation_level=None)
    dying.execute("PRAGMA cache_size=1")  # so that pages reach the file, and the rollback journal becomes a hot one
    dying.execute("CREATE TABLE cut_short (body)")
    dying.execute("BEGIN IMMEDIATE")
    dying.executemany("INSERT INTO cut_short VALUES (?)", [("x" * 3000,)] * 50)
    shutil.copy(other, path)
    shutil.copy(f"{other}-journal", f"{path}-journal")
    dying.close()
    journal = await open_journal(path, lane)
    assert await journal.read(lambda db: db.execute("SELECT count(*) FROM cut_short").fetchone()[0]) == 0
    await journal.close()


async def closed_journal(path: str, lane: Lane) -> None:
    journal = await open_journal(path, lane)
    for number in range(400):
        await journal.write(put(f"{number:04d}", "x" * 200))
    await journal.close()


async def test_the_mark_of_a_clean_close_vouches_once(path: str, lane: Lane) -> None:
    await closed_journal(path, lane)
    assert mark.take(path)
    assert not mark.take(path)
    journal = await open_journal(path, lane)
    assert not mark.take(path)  # a life that is killed leaves none
    await journal.close()
    assert mark.take(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda path: path.write_bytes(b"?" + path.read_bytes()[1:]),
    "only its times": lambda path: os.utime(path, ns=(1, 1)),
    "a copy of it": lambda path: (shutil.copy2(path, f"{path}.copy"), os.rename(f"{path}.copy", path)),
    "a log beside it": lambda path: Path(f"{path}-wal").write_bytes(b"x"),
    "another mark": lambda path: Path(f"{path}-closed").write_bytes(b"1 2 3 4\n"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_journal_touched_since_its_close_is_not_vouched_for(
    path: str, lane: Lane, change: Callable[[Path], object]
) -> None:
    await closed_journal(path, lane)
    change(Path(path))
    assert not mark.take(path)


async def test_only_a_large_journal_that_was_closed_well_is_not_read_whole(path: str, lane: Lane) -> None:
    """Damage from below the file system, as far as a test can make it: the mark is renewed after the damage."""
    await damage(path, lane, "its last page")
    mark.leave(path)
    with pytest.raises(Corrupt):
        await open_journal(path, lane)  # small: read whole whatever the mark says
    mark.leave(path)
    journal = await open_journal(path, lane, read_whole_below=0)
    with pytest.raises(Corrupt) as refused:
        await journal.read(lambda db: db.execute("SELECT sum(length(value)) FROM meta").fetchone())
    assert "damaged" in refused.value.what
    await journal.close()


@pytest.mark.parametrize("how", ["no database", "a page overwritten", "cut in half"])
async def test_a_large_journal_damaged_behind_the_daemons_back_is_refused(path: str, lane: Lane, how: str) -> None:
    await damage(path, lane, how)
    with pytest.raises(Corrupt):
        await open_journal(path, lane, read_whole_below=0)


async def test_a_large_journal_whose_last_life_was_killed_is_read_whole(path: str, lane: Lane) -> None:
    await damage(path, lane, "a page overwritten")
    Path(f"{path}-closed").unlink()
    with pytest.raises(Corrupt):
        await open_journal(path, lane, read_whole_below=0)
