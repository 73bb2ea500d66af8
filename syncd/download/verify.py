"""Verification without a download: a directory against a version, or every byte the remote holds of it."""

from __future__ import annotations

import asyncio
import os
import stat

from syncd.budget import Account, Budget
from syncd.download.fetch import Goal, coalesce
from syncd.download.plan import Wanted, chunks_of, groups
from syncd.errors import Corrupt, root_cause
from syncd.format.digest import hash_bytes
from syncd.format.manifest import DIRECTORY, FILE, SYMLINK, Entry
from syncd.format.restore import Chunk
from syncd.lanes import Lane
from syncd.model.names import printable
from syncd.repo.history import Version
from syncd.repo.repository import Repository

_PROBLEMS_TOLD = 100
_FILES_AT_ONCE = 8


async def verify_directory(repository: Repository, lane: Lane, version: Version, root: bytes) -> list[str]:
    """Return how a directory differs from a version: missing, changed and extra entries, in words, at most 100."""
    problems: list[str] = []
    named: set[bytes] = set()
    manifest = await repository.manifests.read(version)
    async for group in groups(repository, manifest):
        for wanted in group:
            named.add(wanted.entry.path)
            chunks = await chunks_of(repository, wanted)
            problem = await lane.run(_compare, root, wanted.entry, chunks)
            if problem:
                problems.append(f"{printable(wanted.entry.path)}: {problem}")
    extra = await lane.run(_extra, root, named)
    problems += [f"{printable(path)}: not in the version" for path in extra]
    return problems[:_PROBLEMS_TOLD]


async def verify_remote(repository: Repository, budget: Budget, version: Version) -> list[str]:
    """Read and hash every chunk of a version; return what is damaged, by file, at most 100.

    What is read and unpacked counts against the budget, as in a download.
    """
    problems: list[str] = []
    room = asyncio.Semaphore(_FILES_AT_ONCE)

    async def look(wanted: Wanted) -> None:
        async with room:
            problem = await _damage(repository, account, wanted)
        if problem:
            problems.append(f"{printable(wanted.entry.path)}: {problem}")

    manifest = await repository.manifests.read(version)
    try:
        with budget.account() as account:
            async for group in groups(repository, manifest):
                async with asyncio.TaskGroup() as tasks:
                    for wanted in group:
                        tasks.create_task(look(wanted))
    except BaseExceptionGroup as error:
        raise root_cause(error) from error
    return sorted(problems)[:_PROBLEMS_TOLD]


async def _damage(repository: Repository, account: Account, wanted: Wanted) -> str:
    try:
        for read in coalesce([Goal(b"", chunk) for chunk in await chunks_of(repository, wanted)]):
            frames = [goal.chunk.frame for goal in read]
            hold = await account.take(repository.packs.holds(frames))
            try:
                await repository.packs.chunks(read[0].chunk.pack, frames)
            finally:
                hold.release()
    except Corrupt as error:
        return error.what
    return ""


def _compare(root: bytes, entry: Entry, chunks: list[Chunk]) -> str:
    path = os.path.join(root, entry.path)
    try:
        state = os.lstat(path)
    except OSError:
        return "missing"
    if entry.type == SYMLINK:
        return "" if stat.S_ISLNK(state.st_mode) and os.readlink(path) == entry.target else "not the link it was"
    if entry.type == DIRECTORY:
        return "" if stat.S_ISDIR(state.st_mode) else "not a directory"
    if entry.type != FILE:
        return ""
    if not stat.S_ISREG(state.st_mode):
        return "not a regular file"
    if stat.S_IMODE(state.st_mode) & 0o777 != entry.mode:
        return f"mode {stat.S_IMODE(state.st_mode) & 0o777:03o} instead of {entry.mode:03o}"
    if state.st_size != entry.size:
        return f"{state.st_size:,} bytes instead of {entry.size:,}"
    return _compare_bytes(path, chunks)


def _compare_bytes(path: bytes, chunks: list[Chunk]) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            for chunk in chunks:
                if hash_bytes(os.pread(file.fileno(), chunk.frame.raw_length, chunk.offset)) != chunk.frame.hash:
                    return f"differs somewhere in the {chunk.frame.raw_length:,} bytes from {chunk.offset:,} on"
    except OSError as error:
        return error.strerror or "cannot be read"
    return ""


def _extra(root: bytes, named: set[bytes]) -> list[bytes]:
    found = []
    for directory, folders, files in os.walk(root):
        below = os.path.relpath(directory, root)
        prefix = b"" if below == b"." else below + b"/"
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        found += [prefix + name for name in [*files, *links] if prefix + name not in named]
        if len(found) > _PROBLEMS_TOLD:
            break
    return sorted(found)
