"""Where the bytes of a damaged pack's chunks may still be: in the remote, under other names or elsewhere.

In this order: what is left of the pack itself; another pack that holds the same chunk; the mirror. What a pack held is
told by its own index, by its frames where the index is lost, by the mirror's copy of it, by the journal. Every chunk is
given out only when it has its hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from syncd.budget import Account
from syncd.check.packs import PackJudge, PackState
from syncd.collect.each import each
from syncd.errors import Corrupt, NotFound, RemoteRefused
from syncd.format.digest import hash_bytes
from syncd.format.keys import PACKS, parse_pack
from syncd.format.manifest import Manifest
from syncd.format.pack import Frame
from syncd.journal.core import Ledger
from syncd.journal.packs import chunks_known
from syncd.lanes import Lane
from syncd.repo.packs import Packs
from syncd.repo.repository import Repository
from syncd.store.base import Store

Place = tuple[bytes, int]


class ChunkSources:
    """Finds chunks of damaged packs.

    Args:
        states: the damaged packs.
        mirror: another copy of the repository, if there is one.
        account: what is read counts against it.
    """

    def __init__(
        self, repository: Repository, states: Mapping[bytes, PackState], mirror: Store | None, ledger: Ledger,
        lane: Lane, account: Account,
    ) -> None:  # fmt: skip
        self._repository = repository
        self._states = states
        self._packs = Packs(repository.store, lane)
        self._mirrored = Packs(mirror, lane) if mirror is not None else None
        self._mirror_judge = PackJudge(mirror, lane, account) if mirror is not None else None
        self._ledger = ledger
        self._known: dict[Place, tuple[bytes, int]] = {}
        self._in_mirror: dict[Place, Frame] = {}
        self._elsewhere: dict[bytes, Place] = {}

    async def learn(self, manifests: list[Manifest]) -> None:
        """Find out what the damaged packs held, and in which other packs that lies, too."""
        for pack, state in self._states.items():
            for number, (hashed, length) in (await chunks_known(self._ledger, self._repository.id, pack)).items():
                self._known[pack, number] = (hashed, length)
            if self._mirror_judge is not None:
                there = await self._mirror_judge.judge(pack, read=True)
                for number, frame in there.frames.items():
                    self._known[pack, number] = (frame.hash, frame.raw_length)
                    if number not in there.bad:
                        self._in_mirror[pack, number] = frame
            for number, frame in state.frames.items():
                self._known[pack, number] = (frame.hash, frame.raw_length)
        wanted = {hashed for hashed, _ in self._known.values()}
        wanted |= {ref.hash for manifest in manifests for ref in manifest.pages if ref.pack in self._states}
        others: list[bytes] = []
        async for info in self._repository.store.list(PACKS):
            with suppress(Corrupt):
                pack = parse_pack(info.key)
                if pack not in self._states:
                    others.append(pack)

        async def look(pack: bytes) -> None:
            with suppress(Corrupt, RemoteRefused):
                for number, frame in enumerate(await self._packs.index(pack)):
                    if frame.hash in wanted:
                        self._elsewhere.setdefault(frame.hash, (pack, number))
            self._packs.forget(pack)

        await each(others, look)

    async def what(self, place: Place) -> tuple[bytes, int] | None:
        """Return hash and length of a chunk, None when nobody knows."""
        pack, number = place
        if pack in self._states:
            return self._known.get(place)
        with suppress(Corrupt):
            frames = await self._packs.index(pack)
            if number < len(frames):
                return frames[number].hash, frames[number].raw_length
        return None

    async def chunk(self, place: Place, hashed: bytes) -> bytes | None:
        """Return the bytes of a chunk that lay at a place, None when none of the sources has them."""
        pack, number = place
        state = self._states.get(pack)
        if state is None:  # nothing is wrong with it, but nothing new may refer to it
            with suppress(Corrupt, NotFound, RemoteRefused):
                data = await self._packs.chunk(pack, number)
                return data if hash_bytes(data) == hashed else None
        if state is not None and number in state.frames and number not in state.bad:
            with suppress(Corrupt, NotFound, RemoteRefused):
                (found,) = await self._packs.chunks(pack, [state.frames[number]])
                if state.frames[number].hash == hashed:
                    return bytes(found)
        elsewhere = self._elsewhere.get(hashed)
        if elsewhere is not None:
            with suppress(Corrupt, NotFound, RemoteRefused):
                return await self._packs.chunk(*elsewhere)
        frame = self._in_mirror.get(place)
        if frame is not None and self._mirrored is not None and frame.hash == hashed:
            with suppress(Corrupt, NotFound, RemoteRefused):
                (found,) = await self._mirrored.chunks(pack, [frame])
                return bytes(found)
        return None
