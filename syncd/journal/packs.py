"""Chunks and packs this node knows to be stored: what need not be sent again, and what need not be read again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncd.journal.core import Ledger

_HASHES_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk lies: pack id (32 bytes), frame number, its length in bytes."""

    pack: bytes
    frame: int
    length: int


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk of a job's file: entry name, offset and length in bytes, hash (32 bytes)."""

    name: bytes
    offset: int
    length: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class StoredPack:
    """A pack that is durable in the remote, with the chunks it holds in frame order as (hash, length)."""

    pack: bytes
    size: int
    chunks: tuple[tuple[bytes, int], ...]


async def known_chunks(ledger: Ledger, repo: str, hashes: Sequence[bytes]) -> dict[bytes, ChunkPlace]:
    """Return the places of those `hashes` that are known to be stored. A hint that may be wrong after a collection."""

    def act(connection: sqlite3.Connection) -> dict[bytes, ChunkPlace]:
        found: dict[bytes, ChunkPlace] = {}
        for start in range(0, len(hashes), _HASHES_A_QUERY):
            some = hashes[start : start + _HASHES_A_QUERY]
            marks = ",".join("?" * len(some))
            rows = connection.execute(
                f"SELECT hash, pack, frame, length FROM known_chunks WHERE repo=? AND hash IN ({marks})", (repo, *some)
            )
            found.update((row[0], ChunkPlace(*row[1:])) for row in rows)
        return found

    return await ledger.read(act)


async def record_stored(
    ledger: Ledger, repo: str, job: str, draft: str, packs: Sequence[StoredPack], rows: Sequence[ChunkRow]
) -> None:
    """Note packs that are durable in the remote, and the pieces of the draft's files that are: they are not sent again.

    A row counts for resuming only as part of an unbroken chain from the file's start, so rows may be noted before
    others that precede them.
    """

    def act(connection: sqlite3.Connection) -> None:
        for pack in packs:
            connection.execute(
                "INSERT OR REPLACE INTO packs (repo, pack, job, size) VALUES (?,?,?,?)",
                (repo, pack.pack, job, pack.size),
            )
            _learn(connection, repo, pack)
        connection.executemany(
            "INSERT OR REPLACE INTO chunks (draft, name, offset, length, hash) VALUES (?,?,?,?,?)",
            [(draft, row.name, row.offset, row.length, row.hash) for row in rows],
        )

    await ledger.write(act)


async def learn_packs(ledger: Ledger, repo: str, packs: Sequence[StoredPack]) -> None:
    """Note chunks of packs that other nodes stored, so that they are not sent again."""

    def act(connection: sqlite3.Connection) -> None:
        for pack in packs:
            _learn(connection, repo, pack)

    await ledger.write(act)


async def forget_packs(ledger: Ledger, repo: str, packs: Iterable[bytes]) -> None:
    """Forget packs that turned out to be missing: their chunks must be sent again."""
    gone = [(repo, pack) for pack in packs]

    def act(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM known_chunks WHERE repo=? AND pack=?", gone)
        connection.executemany("DELETE FROM known_packs WHERE repo=? AND pack=?", gone)
        connection.executemany("DELETE FROM packs WHERE repo=? AND pack=?", gone)

    await ledger.write(act)


async def forget_condemned(ledger: Ledger, repo: str, packs: Iterable[bytes], settled: int) -> None:
    """Forget packs that collection has condemned, and note up to which epoch all that is condemned is forgotten.

    Both in one transaction: a note without the deed would have somebody refer to what is being deleted.
    """
    gone = [(repo, pack) for pack in packs]

    def act(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM known_chunks WHERE repo=? AND pack=?", gone)
        connection.executemany("DELETE FROM known_packs WHERE repo=? AND pack=?", gone)
        connection.executemany("DELETE FROM packs WHERE repo=? AND pack=?", gone)
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (_settled(repo), str(settled)))

    await ledger.write(act)


async def settled_epoch(ledger: Ledger, repo: str) -> int:
    """Return the epoch that `forget_condemned` noted last, 0 when none."""

    def act(connection: sqlite3.Connection) -> int:
        row = connection.execute("SELECT value FROM meta WHERE key=?", (_settled(repo),)).fetchone()
        return int(row[0]) if row else 0

    return await ledger.read(act)


async def packs_of_job(ledger: Ledger, repo: str, job: str) -> list[bytes]:
    """Return the packs that a job has stored so far, over all its lives, in order of their ids."""

    def act(connection: sqlite3.Connection) -> list[bytes]:
        query = "SELECT pack FROM packs WHERE repo=? AND job=? ORDER BY pack"
        return [row[0] for row in connection.execute(query, (repo, job))]

    return await ledger.read(act)


def _settled(repo: str) -> str:
    return f"settled epoch {repo}"


async def chunks_known(ledger: Ledger, repo: str, pack: bytes) -> dict[int, tuple[bytes, int]]:
    """Return what is known of a pack's frames, by number: (hash, length in bytes). It need not be all of them."""

    def act(connection: sqlite3.Connection) -> dict[int, tuple[bytes, int]]:
        query = "SELECT frame, hash, length FROM known_chunks WHERE repo=? AND pack=?"
        return {row[0]: (row[1], row[2]) for row in connection.execute(query, (repo, pack))}

    return await ledger.read(act)


async def packs_known(ledger: Ledger, repo: str, packs: Sequence[bytes]) -> set[bytes]:
    """Return those of `packs` whose chunks are known already."""

    def act(connection: sqlite3.Connection) -> set[bytes]:
        return {
            pack
            for pack in packs
            if connection.execute("SELECT 1 FROM known_packs WHERE repo=? AND pack=?", (repo, pack)).fetchone()
        }

    return await ledger.read(act)


async def pack_sizes(ledger: Ledger, repo: str, packs: Sequence[bytes]) -> dict[bytes, int]:
    """Return the sizes in bytes that those of `packs` which are known had when they were learned."""

    def act(connection: sqlite3.Connection) -> dict[bytes, int]:
        query = "SELECT size FROM known_packs WHERE repo=? AND pack=?"
        found = {pack: connection.execute(query, (repo, pack)).fetchone() for pack in packs}
        return {pack: int(row[0]) for pack, row in found.items() if row}

    return await ledger.read(act)


async def stored_bytes(ledger: Ledger, job: str) -> int:
    """Return how many bytes of packs a job has stored so far, over all its lives."""

    def act(connection: sqlite3.Connection) -> int:
        total: int = connection.execute("SELECT coalesce(sum(size), 0) FROM packs WHERE job=?", (job,)).fetchone()[0]
        return total

    return await ledger.read(act)


async def sent_bytes(ledger: Ledger, job: str) -> int:
    """Return how many bytes, before compression, a job has sent itself: chunks of files and manifest pages."""

    def act(connection: sqlite3.Connection) -> int:
        own = "SELECT repo, pack FROM packs WHERE job=?"
        query = f"SELECT coalesce(sum(length), 0) FROM known_chunks WHERE (repo, pack) IN ({own})"
        total: int = connection.execute(query, (job,)).fetchone()[0]
        return total

    return await ledger.read(act)


async def progress(ledger: Ledger, repo: str, draft: str, name: bytes) -> list[ChunkRow]:
    """Return the chunks at the start of one file that are noted and whose places are known, in order, without a gap."""

    def act(connection: sqlite3.Connection) -> list[ChunkRow]:
        rows = connection.execute(
            "SELECT c.name, c.offset, c.length, c.hash FROM chunks c JOIN known_chunks k ON k.repo=? AND k.hash=c.hash"
            " WHERE c.draft=? AND c.name=? ORDER BY c.offset",
            (repo, draft, name),
        )
        prefix: list[ChunkRow] = []
        end = 0
        for row in rows:
            if row[1] != end:
                break
            prefix.append(ChunkRow(*row))
            end += row[2]
        return prefix

    return await ledger.read(act)


async def has_progress(ledger: Ledger, draft: str) -> bool:
    """Return whether an earlier life of the job has noted anything."""

    def act(connection: sqlite3.Connection) -> bool:
        return connection.execute("SELECT 1 FROM chunks WHERE draft=? LIMIT 1", (draft,)).fetchone() is not None

    return await ledger.read(act)


async def forget_progress(ledger: Ledger, draft: str, job: str) -> None:
    """Drop what was noted for a job that has ended."""

    def act(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM chunks WHERE draft=?", (draft,))
        connection.execute("DELETE FROM prepared WHERE job=?", (job,))

    await ledger.write(act)


def _learn(connection: sqlite3.Connection, repo: str, pack: StoredPack) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO known_packs (repo, pack, size) VALUES (?,?,?)", (repo, pack.pack, pack.size)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO known_chunks (repo, hash, pack, frame, length) VALUES (?,?,?,?,?)",
        [(repo, digest, pack.pack, frame, length) for frame, (digest, length) in enumerate(pack.chunks)],
    )


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """The manifest of a job whose bytes are all stored, waiting for its log entry. Sizes in bytes.

    `gc_seen` is the newest collection epoch that was read before anything it refers to was chosen.
    """

    manifest: str
    manifest_hash: bytes
    manifest_size: int
    digest: bytes
    entries: int
    files: int
    size: int
    gc_seen: int = 0


_PREPARED = "manifest, manifest_hash, manifest_size, digest, entries, files, size, gc_seen"


async def record_prepared(ledger: Ledger, job: str, row: PreparedRow) -> None:
    """Note that everything a job's commit entry refers to is durable in the remote (law L1)."""

    def act(connection: sqlite3.Connection) -> None:
        connection.execute(
            f"INSERT OR REPLACE INTO prepared (job, {_PREPARED}) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                job,
                row.manifest,
                row.manifest_hash,
                row.manifest_size,
                row.digest,
                row.entries,
                row.files,
                row.size,
                row.gc_seen,
            ),
        )

    await ledger.write(act, durable=True)


async def prepared(ledger: Ledger, job: str) -> PreparedRow | None:
    """Return what `record_prepared` noted, None when it did not."""

    def act(connection: sqlite3.Connection) -> PreparedRow | None:
        row = connection.execute(f"SELECT {_PREPARED} FROM prepared WHERE job=?", (job,)).fetchone()
        return PreparedRow(*row) if row else None

    return await ledger.read(act)


async def forget_prepared(ledger: Ledger, job: str) -> None:
    """Drop what `record_prepared` noted: a collection has begun since, the manifest must be written again."""

    def act(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM prepared WHERE job=?", (job,))

    await ledger.write(act)
