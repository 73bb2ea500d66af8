"""Step 2 of a repair: objects get back their very bytes, where somebody has them.

What proves bytes to be the right ones is not who gave them: the chain of a log, the hash in the entry that names a
manifest, the name of a pack and the hashes in its index. Nothing that is condemned comes back under its name.
"""

from __future__ import annotations

from contextlib import suppress

from syncd.budget import Account
from syncd.check.findings import Finding, Kind
from syncd.check.packs import PackState
from syncd.check.walk import Seen
from syncd.errors import Conflict, Corrupt, NotFound, SyncdError
from syncd.format.epoch import MAX_EPOCH, decode_done, decode_epoch
from syncd.format.keys import EPOCHS, REPO, pack_key, slot_key
from syncd.format.manifest import MAX_MANIFEST, decode_manifest
from syncd.format.pack import (
    FRAME,
    FRAME_MAGIC,
    HEADER,
    PACK_MAGIC,
    PACK_VERSION,
    TRAILER,
    Frame,
    parse_tail,
    view_frame,
)
from syncd.format.repo import MAX_RECORD, decode_repo, encode_repo
from syncd.lanes import Lane
from syncd.repo.repository import Repository
from syncd.store.base import Store


class Restoring:
    """Puts objects back.

    Args:
        mirror: another copy of the repository, None: there is none.
        account: what is read counts against it.

    Attributes:
        done: by key, what was restored from where.
    """

    def __init__(self, repository: Repository, mirror: Store | None, lane: Lane, account: Account) -> None:
        self._repository = repository
        self._store = repository.store
        self._mirror = mirror
        self._lane = lane
        self._account = account
        self.done: dict[str, str] = {}

    async def run(self, seen: Seen) -> bool:
        """Restore what a walk found damaged and what can be; what cannot be is left as it is.

        Returns:
            Whether anything was restored that was not before.
        """
        before = len(self.done)
        for finding in seen.at_head:
            if finding.key == REPO:
                await self._record()
            elif finding.key.startswith(EPOCHS):
                await self._epoch(finding)
        for log in seen.logs:
            for number, data in sorted(log.mend.items()):
                key = slot_key(log.name, number)
                absent = any(one.key == key and one.kind in (Kind.MISSING, Kind.SHORTENED) for one in log.findings)
                await self._put(key, data, absent, "the journal or the mirror")
        for root in seen.roots:
            if root.manifest in seen.bad_manifests and root.manifest not in self.done:
                await self._manifest(root.manifest, root.manifest_hash, root.digest)
        for pack, state in sorted(seen.packs.items()):
            await self._pack(pack, state)
        return len(self.done) > before

    async def _record(self) -> None:
        data = await self._mirrored(REPO, MAX_RECORD)
        with suppress(SyncdError):
            if data is not None and decode_repo(data).repo_id == self._repository.id:
                await self._put(REPO, data, False, "the mirror")
                return
        await self._put(REPO, encode_repo(self._repository.record), False, "what this daemon has read of it")

    async def _epoch(self, finding: Finding) -> None:
        data = await self._mirrored(finding.key, MAX_EPOCH)
        if data is None:
            return
        name = finding.key.removeprefix(EPOCHS)
        with suppress(Corrupt):
            number = int(name.removesuffix(".done"))
            (decode_done if name.endswith(".done") else decode_epoch)(data, number)
            await self._put(finding.key, data, finding.kind is Kind.MISSING, "the mirror")

    async def _manifest(self, key: str, expected: bytes, digest: bytes) -> None:
        data = await self._mirrored(key, MAX_MANIFEST)
        if data is None:
            return
        with suppress(Corrupt):
            if (await self._lane.run(decode_manifest, data, expected)).digest != digest:
                return
            if not await self._repository.epochs.dead([], [key]):
                await self._put(key, data, False, "the mirror")

    async def _pack(self, pack: bytes, state: PackState) -> None:
        if self._mirror is None or (state.finding is not None and state.finding.kind is Kind.UNREADABLE):
            return
        key = pack_key(pack)
        with suppress(NotFound, Corrupt):
            size = (await self._mirror.stat(key)).size
            hold = await self._account.take(size)
            try:
                data = await self._mirror.get(key)
                await self._lane.run(prove_pack, pack, data)
                if not await self._repository.epochs.dead([pack], []):
                    await self._put(key, data, False, "the mirror")
                    self._repository.packs.forget(pack)
            finally:
                hold.release()

    async def _mirrored(self, key: str, limit: int) -> bytes | None:
        if self._mirror is None:
            return None
        try:
            return await self._mirror.get(key, 0, limit + 1)
        except SyncdError:
            return None

    async def _put(self, key: str, data: bytes, absent: bool, source: str) -> None:
        """Write an object's own bytes; where nothing was, only if there is still nothing."""
        if absent:
            with suppress(Conflict):
                await self._store.create(key, data)
        else:
            await self._store.put(key, [data])
        self.done[key] = f"restored from {source}"


def prove_pack(pack: bytes, data: bytes) -> tuple[Frame, ...]:
    """Return the frames of a whole pack; Corrupt unless it is that pack, every chunk in it right and every head."""
    frames = parse_tail(data, pack, len(data))
    whole = memoryview(data)
    nonce = TRAILER.unpack_from(data, len(data) - TRAILER.size)[0]
    heads = [HEADER.pack(PACK_MAGIC, PACK_VERSION, 0, nonce)]
    for frame in frames:
        view_frame(frame, whole[frame.offset : frame.offset + frame.stored_length])
        heads.append(
            FRAME.pack(FRAME_MAGIC, frame.raw_length, frame.stored_length, frame.codec, frame.encryption, 0, frame.hash)
        )
    ends = [HEADER.size, *(frame.offset for frame in frames)]
    if any(whole[end - len(head) : end] != head for head, end in zip(heads, ends, strict=True)):
        raise Corrupt("the heads of its frames are damaged", "its index says otherwise")
    return frames
