"""Open, migrate and run transactions. See the package docstring for the two kinds of promise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib import resources
from typing import Protocol, TypeVar

from syncd.errors import Conflict, Corrupt, LocalDisk
from syncd.lanes import Lane

T = TypeVar("T")

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 5000


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

    def __init__(self, connection: sqlite3.Connection, lane: Lane) -> None:
        self._connection = connection
        self._lane = lane

    async def write(self, act: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Run `act` in one write transaction and commit; on any exception nothing of it stays.

        Raises:
            LocalDisk: the disk is full, read-only or failing; the daemon keeps serving what needs no write.
        """
        return await self._lane.run(self._write, act, durable)

    async def read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Run `act` on the current state; it must not write."""
        return await self._lane.run(self._read, act)

    async def close(self) -> None:
        """Checkpoint the write-ahead log and close the file."""
        await self._lane.run(self._connection.close)

    def _write(self, act: Callable[[sqlite3.Connection], T], durable: bool) -> T:
        connection = self._connection
        try:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = act(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise _disk_error(error) from error
        return result

    def _read(self, act: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return act(self._connection)
        except sqlite3.OperationalError as error:
            raise _disk_error(error) from error


async def open_journal(path: str, lane: Lane) -> Journal:
    """Open or create the journal at `path`; `lane` must have exactly one thread.

    Raises:
        Corrupt: the file is damaged; the hint says how to set it aside and what that costs.
        Conflict: a newer syncd wrote it.
        LocalDisk: it cannot be opened or written.
    """
    return Journal(await lane.run(_open, path), lane)


def _open(path: str) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise LocalDisk(f"cannot open the journal {path}", str(error), "check the state directory") from error
    try:
        _prepare(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise _disk_error(error) from error
        raise _damaged(path, str(error)) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise _damaged(path, verdict)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise Conflict(
            f"the journal {path} has schema {version}, this syncd knows {SCHEMA_VERSION}",
            "a newer syncd wrote it",
            "run the newer syncd, or give this one another state directory",
        )
    for step in range(version + 1, SCHEMA_VERSION + 1):
        script = resources.files(__package__).joinpath("schema", f"{step:03d}.sql").read_text()
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version={step};\nCOMMIT;")


def _damaged(path: str, why: str) -> Corrupt:
    return Corrupt(
        f"the journal {path} is damaged",
        why,
        f"move it aside (mv {path} {path}.damaged) and start again: committed versions are safe in the remote, "
        "jobs not yet committed must be logged again; their bytes are still in the spool",
    )


def _disk_error(error: sqlite3.OperationalError) -> LocalDisk:
    return LocalDisk(
        "the journal cannot be written",
        str(error),
        "free space in, or restore write access to, the state directory",
    )
