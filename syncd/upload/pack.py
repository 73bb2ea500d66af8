"""Third stage: leave out what is stored already, frame the rest, seal packs.

Known means: in this node's journal, or in a pack of this very job that is still on its way. What the journal knows is
only believed: each pack is looked for in the remote when it is first used, and a chunk of one that is gone is stored
again. Entries remember where their chunks lie as runs of neighbouring frames; a pack's id is known once it is sealed,
so until then runs point at the pack object.

Looking up and encoding (`prepare`) goes on for several cuts at once, ahead of the framing (`add`), which is in order.
A cut that was looked up before a pack was noted does not find that pack's chunks in the journal, so they stay pending
until the last such cut is added.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncd.budget import Account
from syncd.errors import RemoteUnavailable
from syncd.format.codec import RAW, encode
from syncd.format.digest import FileDigest
from syncd.format.pack import PackBuilder
from syncd.journal.core import Ledger
from syncd.journal.packs import ChunkRow, known_chunks
from syncd.journal.pins import FileRow
from syncd.lanes import Lane
from syncd.model.names import printable
from syncd.upload.parts import Cut, Done, FileCut, PackInFlight, PackRef, Piece, Progress, RunInFlight, UploadParams

Payload = tuple[int, bytes | bytearray | memoryview]
Places = dict[bytes, tuple[PackRef, int]]
Seal = Callable[[PackInFlight], Awaitable[None]]
Missing = Callable[[set[bytes]], Awaitable[set[bytes]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A cut, where its known chunks lie, the others encoded; `seen` packs had been noted when it was looked up."""

    cut: Cut
    known: Places
    payloads: dict[bytes, Payload]
    seen: int


_ROWS_A_PACK = 1 << 16


class _OpenFile:
    """The file that is being cut: its runs and digest so far."""

    def __init__(self, file: FileRow) -> None:
        self.file = file
        self.digest = FileDigest()
        self.runs: list[RunInFlight] = []

    def add(self, length: int, digest: bytes, pack: PackRef, frame: int) -> None:
        self.digest.add(length, digest)
        last = self.runs[-1] if self.runs else None
        if last is not None and last.pack == pack and last.first + last.count == frame:
            last.count += 1
        else:
            self.runs.append(RunInFlight(pack, frame, 1))

    def done(self) -> Done:
        digest = self.digest.finish() if self.file.type == "file" else b""
        return Done(self.file, digest, tuple(self.runs))


class PackStage:
    """Turns cuts into packs and finished entries.

    Args:
        ledger, repo_id: where known chunks are looked up.
        lane: threads for compressing.
        params: sizes.
        nonce: 16 bytes for the packs of this job; the same for the same transaction, so that a repeated pack has the
            same name and bytes.
        account: what the cuts' holds are of; told what the open pack keeps of it.
        missing: tells which of some packs are not in the remote (and forgets them).
        seal: takes a full pack; returns when it may be forgotten (there is room to send it).
        progress: is told what was read.
    """

    def __init__(
        self,
        ledger: Ledger,
        repo_id: str,
        lane: Lane,
        params: UploadParams,
        nonce: bytes,
        account: Account,
        missing: Missing,
        seal: Seal,
        progress: Progress,
    ) -> None:
        self._ledger = ledger
        self._repo_id = repo_id
        self._lane = lane
        self._params = params
        self._nonce = nonce
        self._account = account
        self._missing = missing
        self._seal = seal
        self._progress = progress
        self._pending: dict[bytes, tuple[PackInFlight, int]] = {}
        self._noted: deque[tuple[PackInFlight, list[tuple[bytes, int]]]] = deque()
        self._packs_noted = 0
        self._pack = PackInFlight()
        self._builder = PackBuilder(nonce)
        self._open: _OpenFile | None = None
        self.reused: set[bytes] = set()

    async def prepare(self, coming: Awaitable[Cut]) -> Prepared:
        """Look up and encode the chunks of a cut. Start these in the order of the cuts, and add all of them."""
        seen = self._packs_noted
        cut = await coming
        known = await self._known(
            [p.hash for f in cut.files for p in f.pieces] + [r.hash for f in cut.files for r in f.known]
        )
        return Prepared(cut, known, await self._encode_new(cut, known), seen)

    async def add(self, prepared: Prepared) -> list[Done]:
        """Take the next cut; return the entries that are complete with it.

        Raises:
            RemoteUnavailable: what an earlier life had stored of a file is gone; it must be read again.
        """
        cut = prepared.cut
        while self._noted and self._packs_noted - len(self._noted) < prepared.seen:
            self._drop(*self._noted.popleft())
        done = []
        for file in cut.files:
            finished = await self._add_file(file, prepared.known, prepared.payloads, cut)
            if finished is not None:
                done.append(finished)
        cut.hold.release()
        return done

    async def add_bytes(self, data: bytes, digest: bytes) -> tuple[PackRef, int]:
        """Store one piece that is not of a file (a manifest page); return where it lies."""
        known = await self._known([digest])
        place = known.get(digest)
        if place is None:
            codec, payload = await self._lane.run(encode, memoryview(data), self._params.compress)
            place = self._frame(digest, len(data), codec, payload)
            await self._seal_when_full()
        return place

    async def flush(self) -> None:
        """Seal what is open, so that every pack has its id."""
        if self._builder.count:
            pack, self._pack = self._pack, PackInFlight()
            builder, self._builder = self._builder, PackBuilder(self._nonce)
            sealed = builder.seal()  # hashes the index alone: less than a turn of the lane would take
            pack.id, pack.parts, pack.size = sealed.pack, list(sealed.parts), sealed.size
            pack.frames = sealed.frames
            self._account.rest(0)
            await self._seal(pack)
        elif self._pack.rows:
            pack, self._pack = self._pack, PackInFlight()
            pack.stored = True  # nothing but rows about chunks that were stored before
            await self._seal(pack)

    def forget(self, pack: PackInFlight) -> None:
        """A pack is stored and in the journal: its chunks are found there by whoever looks from now on."""
        self._packs_noted += 1
        self._noted.append((pack, pack.chunks))

    def _drop(self, pack: PackInFlight, chunks: list[tuple[bytes, int]]) -> None:
        for digest, _ in chunks:
            if self._pending.get(digest, (None, 0))[0] is pack:
                del self._pending[digest]

    async def _known(self, hashes: list[bytes]) -> Places:
        """Return where chunks lie: on their way (those stay good once they arrive), or in packs seen in the remote."""
        places: Places = {digest: self._pending[digest] for digest in hashes if digest in self._pending}
        others = [digest for digest in hashes if digest not in places]
        known = await known_chunks(self._ledger, self._repo_id, others) if others else {}
        unseen = {place.pack for place in known.values()} - self.reused
        gone = await self._missing(unseen) if unseen else set()
        self.reused |= unseen - gone
        places.update((digest, (at.pack, at.frame)) for digest, at in known.items() if at.pack not in gone)
        return places

    async def _encode_new(self, cut: Cut, known: Places) -> dict[bytes, Payload]:
        fresh: dict[bytes, memoryview] = {}
        for file in cut.files:
            for piece in file.pieces:
                if piece.hash not in known:
                    fresh[piece.hash] = piece.data
        payloads = await self._lane.run(_encode_all, fresh, self._params.compress) if fresh else {}
        kept = sum(len(payload) for codec, payload in payloads.values() if codec == RAW)
        if kept * 2 < cut.hold.size:  # the window is mostly known or compressed: do not keep it for a few pieces
            payloads = {d: (c, bytes(p) if c == RAW else p) for d, (c, p) in payloads.items()}
            cut.hold.shrink(sum(len(payload) for _, payload in payloads.values()))
        return payloads

    async def _add_file(self, cut: FileCut, known: Places, payloads: dict[bytes, Payload], whole: Cut) -> Done | None:
        if self._open is None:
            self._open = _OpenFile(cut.file)
        file = self._open
        for row in cut.known:
            place = known.get(row.hash)
            if place is None:
                raise RemoteUnavailable(
                    f"a stored chunk of {printable(row.name)} is gone", "its pack is missing", "it is stored again"
                )
            file.add(row.length, row.hash, *place)
            self._progress.read(row.length)
        for piece in cut.pieces:
            place = known.get(piece.hash) or self._pending.get(piece.hash)
            if place is None:
                place = self._place(piece, payloads[piece.hash], whole)
            known[piece.hash] = place
            file.add(len(piece.data), piece.hash, *place)
            row = ChunkRow(cut.file.name, piece.offset, len(piece.data), piece.hash)
            self._pack.rows.append((cut.file.pin, row))
            self._progress.read(len(piece.data))
            await self._seal_when_full()
        if not cut.last:
            return None
        self._open = None
        if cut.file.type == "file":
            self._progress.file_done()
        return file.done()

    def _place(self, piece: Piece, payload: Payload, whole: Cut) -> tuple[PackRef, int]:
        if not self._pack.holds or self._pack.holds[-1] is not whole.hold:
            self._pack.holds.append(whole.hold.keep())
            self._account.rest(self._pack.held)
        return self._frame(piece.hash, len(piece.data), *payload)

    def _frame(
        self, digest: bytes, length: int, codec: int, payload: bytes | bytearray | memoryview
    ) -> tuple[PackRef, int]:
        frame = self._builder.add(digest, length, codec, payload)
        self._pack.chunks.append((digest, length))
        self._pending[digest] = (self._pack, frame)
        return self._pack, frame

    async def _seal_when_full(self) -> None:
        if self._builder.is_full(self._params.pack_target) or len(self._pack.rows) >= _ROWS_A_PACK:
            await self.flush()


def _encode_all(pieces: dict[bytes, memoryview], compress: bool) -> dict[bytes, Payload]:
    return {digest: encode(data, compress) for digest, data in pieces.items()}
