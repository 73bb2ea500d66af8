"""Open, migrate and run transactions. See the package docstring for the two kinds of promise."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from importlib import resources
from typing import Protocol, TypeVar
from urllib.parse import quote

from syncd.errors import Conflict, Corrupt, LocalDisk
from syncd.journal import mark
from syncd.lanes import Lane

T = TypeVar("T")

SCHEMA_VERSION = 4
BUSY_TIMEOUT_MS = 5000
READ_WHOLE_BELOW = 64 << 20
"""Journals smaller than so many bytes are read whole at every start: under a second even from a cold disk."""


class Ledger(Protocol):
    """What the subjects need of a journal: run a function inside one transaction. Tests wrap it to die in it."""

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `act` in one write transaction and commit; durable ones are on disk when this returns."""
        ...

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Run `act`, which must not write."""
        ...


class Journal:
    """The journal file. Made by `open_journal`, used through the subjects' verbs."""

    def __init__(self, connection: sqlite3.Connection, lane: Lane, path: str) -> None:
        self._connection = connection
        self._lane = lane
        self._path = path

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `act` in one write transaction and commit; on any exception nothing of it stays.

        Raises:
            LocalDisk: the disk is full, read-only or failing; the daemon keeps serving what needs no write, and writes
                work again once the disk does.
            Corrupt: the file was damaged while it was open.
        """
        return await self._lane.run(self._write, act, durable)

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Run `act` on the current state; it must not write."""
        return await self._lane.run(self._read, act)

    async def close(self) -> None:
        """Checkpoint the write-ahead log, close the file and note that this was done in good order."""
        await self._lane.run(self._close)

    def _close(self) -> None:
        self._connection.close()
        with suppress(OSError):  # not noted: the next start reads everything
            mark.leave(self._path)

    def _write(self, act: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        connection = self._connection
        try:
            # Outside the transaction: inside one the pragma is silently without effect.
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = act(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite may have rolled back by itself, as on a full disk
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            _translate(error, self._path)
            raise
        return _kept(result)

    def _read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return _kept(act(self._connection))
        except sqlite3.DatabaseError as error:
            _translate(error, self._path)
            raise


def _kept(result: T) -> T:
    """Close a cursor before it leaves the lane, whose thread alone may touch statements.

    Its end in another thread would reset a statement that this thread may be running again: "API misuse" (seen).
    """
    if isinstance(result, sqlite3.Cursor):
        result.close()
    return result


async def open_journal(
    path: str, lane: Lane, schema: Sequence[str] = (), read_whole_below: int = READ_WHOLE_BELOW
) -> Journal:
    """Open or create the journal at `path`; `lane` must have exactly one thread.

    Args:
        schema: one SQL script a schema version, each migrating from the one before; the package's own when empty.
        read_whole_below: a journal of that many bytes or more is not searched for damage when `mark` vouches for it;
            damage that came from below the file system shows then when the page is used, as Corrupt.

    Raises:
        Corrupt: the file is damaged; the hint says how to set it aside and what that costs. It is left as it was.
        Conflict: a newer syncd wrote it; it is left as it was.
        LocalDisk: it cannot be opened or written.
    """
    return Journal(await lane.run(_open, path, schema or _packaged_schema(), read_whole_below), lane, path)


def _packaged_schema() -> Sequence[str]:
    folder = resources.files(__package__).joinpath("schema")
    return [folder.joinpath(f"{step:03d}.sql").read_text() for step in range(1, SCHEMA_VERSION + 1)]


def _open(path: str, schema: Sequence[str], read_whole_below: int) -> sqlite3.Connection:
    try:
        if os.path.exists(path):
            _finish_rollback(path)
            vouched = mark.take(path)
            _inspect(path, len(schema), whole=not vouched or os.path.getsize(path) < read_whole_below)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, schema)
        except BaseException:
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        _translate(error, path)
        raise
    return connection


def _finish_rollback(path: str) -> None:
    """Undo a transaction that a crash cut short before the file had its write-ahead log, so that it can be read.

    Only the very first life has a rollback journal; a file opened for reading only may not be rolled back.
    """
    if os.path.exists(f"{path}-journal"):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.execute("SELECT count(*) FROM sqlite_master")


def _inspect(path: str, known: int, *, whole: bool) -> None:
    """Refuse a damaged or newer file while it is open for reading only: closing it then cannot change it."""
    with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True)) as connection:
        connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
        if verdict != "ok":
            raise _damaged(path, verdict)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > known:
        raise Conflict(
            f"the journal {path} has schema {version}, this syncd knows {known}",
            "a newer syncd wrote it",
            "run the newer syncd, or give this one another state directory",
        )


def _prepare(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for step, script in enumerate(schema[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={step};\nCOMMIT;")


def _translate(error: sqlite3.DatabaseError, path: str) -> None:
    """Raise what the caller may do about it. Returns for a mistake of our own (bad SQL, a broken constraint)."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise _damaged(path, str(error)) from error
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        raise _disk_error(error, path) from error


def _damaged(path: str, why: str) -> Corrupt:
    return Corrupt(
        f"the journal {path} is damaged",
        why,
        f"move it aside (mv {path} {path}.damaged) and start again: committed versions are safe in the remote, "
        "jobs not yet committed must be logged again; their bytes are still in the spool",
    )


def _disk_error(error: sqlite3.OperationalError, path: str) -> LocalDisk:
    return LocalDisk(
        f"the journal {path} cannot be used",
        str(error),
        "free space in, or restore write access to, the state directory",
    )
