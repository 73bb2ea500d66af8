"""Making a repository, and finding out first whether a remote can carry one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from syncd.clock import Chance, random_hex
from syncd.errors import Conflict, Corrupt, NotFound, RemoteRefused, SyncdError
from syncd.format.chunker import Params
from syncd.format.keys import REPO, probe_key
from syncd.format.paging import PageParams
from syncd.format.repo import MAX_RECORD, RepoRecord, decode_repo, encode_repo, require
from syncd.store.base import Store

_RACERS = 8
_PROBE_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class NewRepository:
    """What a repository gets that is made where there is none.

    How it cuts files and manifests, its pack size in bytes, and who made it, for people.
    """

    chunker: Params
    pages: PageParams
    pack_target: int
    created_by: str


async def open_record(store: Store) -> RepoRecord | None:
    """Return the repository's record, None when there is no repository yet.

    Raises:
        Corrupt: the record is damaged or of a format or feature this program does not know.
    """
    try:
        record = decode_repo(await store.get(REPO, 0, MAX_RECORD + 1))
    except NotFound:
        return None
    except Corrupt as error:
        raise Corrupt(f"{REPO}: {error.what}", error.why, error.hint) from error
    require(record, write=True)
    return record


async def initialise(store: Store, new: NewRepository, rng: Chance) -> RepoRecord:
    """Return the repository's record, making one where there is none. Two nodes doing this at once agree on one."""
    record = await open_record(store)
    if record is not None:
        return record
    if not store.capabilities.create_is_atomic:
        raise RemoteRefused("this remote lets two writers win", "it has no put-if-absent", "use another store")
    fresh = RepoRecord(
        repo_id=random_hex(rng, 16), chunker=new.chunker, pages=new.pages, pack_target=new.pack_target,
        created_by=new.created_by,
    )  # fmt: skip
    try:
        await store.create(REPO, encode_repo(fresh))
    except SyncdError as error:
        if not (isinstance(error, Conflict) or error.retry):
            raise
    record = await open_record(store)  # the answer to a create says nothing (law L4): what is there counts
    if record is None:
        raise RemoteRefused("the repository could not be created", f"{REPO} is not there after the write", "try again")
    return record


async def probe(store: Store, rng: Chance) -> list[str]:
    """Race conditional creates and read them back; return what is wrong with the remote, in words. Leaves nothing."""
    problems: list[str] = []
    for _ in range(_PROBE_ROUNDS):
        key = probe_key(random_hex(rng, 8))
        bodies = [rng.getrandbits(256).to_bytes(32, "big") for _ in range(_RACERS)]
        try:
            problems += await _race(store, key, bodies)
        except BaseException:
            with suppress(SyncdError):  # the error that ends the probe is the one to be told
                await store.delete(key)
            raise
        await store.delete(key)
    return problems


async def _race(store: Store, key: str, bodies: list[bytes]) -> list[str]:
    """Let every body be written to one key at once; return what is wrong with who won. No write goes on after it."""
    problems: list[str] = []
    answers = await asyncio.gather(*(_wins(store, key, body) for body in bodies), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    stored = await store.get(key)
    winners = [body for body, won in zip(bodies, answers, strict=True) if won]
    if len(winners) > 1 or stored not in bodies:
        problems.append(f"{len(winners)} of {_RACERS} writers that raced for one key were told they won")
    elif winners and winners[0] != stored:
        problems.append("the stored bytes are not the winner's")
    if await store.get(key, 8, 8) != stored[8:16]:
        problems.append("a ranged read returned other bytes than asked for")
    return problems


async def _wins(store: Store, key: str, body: bytes) -> bool:
    try:
        await store.create(key, body)
    except Conflict:
        return False
    return True
