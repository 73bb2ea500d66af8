"""Making a repository where there is none, and reading the record of one that is there."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.clock import Chance, random_hex
from syncd.errors import Conflict, Corrupt, NotFound, RemoteRefused, SyncdError
from syncd.format.chunker import Params
from syncd.format.keys import REPO
from syncd.format.paging import PageParams
from syncd.format.repo import MAX_RECORD, RepoRecord, decode_repo, encode_repo, require
from syncd.store.base import Store

_TRIES = 5  # of a create that is answered by a fault that may pass, and has stored nothing


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
    for _ in range(_TRIES):
        try:
            await store.create(REPO, encode_repo(fresh))
            fault: SyncdError | None = None
        except SyncdError as error:
            if not (isinstance(error, Conflict) or error.retry):
                raise
            fault = error
        record = await open_record(store)  # the answer to a create says nothing (law L4): what is there counts
        if record is not None:
            return record
    raise fault or RemoteRefused(
        "the repository could not be created", f"{REPO} is not there after the write", "try again"
    )
