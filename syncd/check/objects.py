"""Judging the small objects: the record, collection epochs, manifests."""

from __future__ import annotations

from syncd.check.findings import AGAIN, RESTORE, Finding, Kind
from syncd.collect.survey import Root
from syncd.errors import Corrupt, NotFound, RemoteRefused, SyncdError
from syncd.format.epoch import MAX_EPOCH, decode_done, decode_epoch
from syncd.format.keys import EPOCHS, REPO, gc_key
from syncd.format.manifest import MAX_MANIFEST, Manifest, decode_manifest, manifest_hash
from syncd.format.repo import MAX_RECORD, decode_repo
from syncd.lanes import Lane
from syncd.repo.repository import Repository
from syncd.store.base import Store


async def check_record(repository: Repository) -> list[Finding]:
    """Return what is wrong with repo.json."""
    try:
        record = decode_repo(await repository.store.get(REPO, 0, MAX_RECORD + 1))
    except NotFound:
        return [Finding(Kind.MISSING, REPO, f"{REPO} is missing: nobody who has not opened the repository can")]
    except (Corrupt, RemoteRefused) as error:
        return [Finding(Kind.FLIPPED, REPO, f"{REPO}: {error.what}: {error.why}")]
    if record.repo_id != repository.id:
        return [Finding(Kind.SWAPPED, REPO, f"{REPO} is that of another repository: {record.repo_id[:8]}")]
    return []


async def check_epochs(store: Store) -> list[Finding]:
    """Return which epochs, and ends of epochs, cannot be read; a hole in their numbers is seen by the listing."""
    last = 0
    async for info in store.list(EPOCHS):
        name = info.key.removeprefix(EPOCHS).removesuffix(".done")
        if name.isdecimal():
            last = max(last, int(name))
    found = []
    for number in range(1, last + 1):
        for done in (False, True):
            key = gc_key(number, done)
            try:
                data = await store.get(key, 0, MAX_EPOCH + 1)
            except NotFound:
                if not done:
                    found.append(Finding(Kind.MISSING, key, f"{key} is missing, later epochs are there", todo=RESTORE))
                continue
            try:
                (decode_done if done else decode_epoch)(data, number)
            except Corrupt as error:
                kind = Kind.TRUNCATED if not data else Kind.FLIPPED
                found.append(Finding(kind, key, f"{key}: {error.what}: {error.why}"))
    return found


async def judge_manifest(store: Store, lane: Lane, root: Root, size: int) -> Manifest | Finding:
    """Return the manifest of `size` bytes that a log entry names, or what is wrong with it."""
    key = root.manifest
    try:
        data = await store.get(key, 0, MAX_MANIFEST + 1)
    except NotFound:
        return Finding(Kind.MISSING, key, f"{key} is missing")
    except SyncdError as error:
        if error.retry:
            raise
        return Finding(Kind.UNREADABLE, key, f"{key}: {error.what}", todo=AGAIN)
    try:
        manifest = await lane.run(decode_manifest, data, root.manifest_hash)
    except Corrupt as error:
        return Finding(await lane.run(_kind, data, size), key, f"{key}: {error.what}: {error.why}")
    if manifest.digest != root.digest:
        return Finding(Kind.SWAPPED, key, f"{key} is another version's")
    return manifest


def _kind(data: bytes, size: int) -> Kind:
    """Say what became of a manifest: bytes that are whole in themselves are another one's."""
    try:
        decode_manifest(data, manifest_hash(data))
    except Corrupt:
        return Kind.TRUNCATED if len(data) < size else Kind.FLIPPED
    return Kind.SWAPPED
