"""Files that an earlier life has stored come out of the cut stage where they belong, not before their neighbours."""

from __future__ import annotations

import asyncio

from syncd.budget import Budget
from syncd.format.chunker import DEFAULT, Params, load
from syncd.format.digest import hash_bytes
from syncd.journal.packs import ChunkRow
from syncd.journal.pins import FileRow
from syncd.lanes import Lane
from syncd.upload.cut import CutStage
from syncd.upload.parts import Chunking

CONTENT = {b"a": b"first", b"b": b"", b"c": b"third", b"d": b"last"}


class Pinned:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_at(self, offset: int, view: memoryview) -> int:
        view[:] = self.data[offset : offset + len(view)]
        return len(view)

    def close(self) -> None:
        pass


async def test_small_files_keep_their_order_when_only_some_are_stored() -> None:
    names = sorted(CONTENT)
    rows = [FileRow("d", name, "file", 0o644, len(CONTENT[name]), b"", at) for at, name in enumerate(names)]
    stored = {b"c", b"d"}

    async def prefix(name: bytes) -> list[ChunkRow]:
        return [ChunkRow(name, 0, len(CONTENT[name]), hash_bytes(CONTENT[name]))] if name in stored else []

    lane = Lane("cut")
    chunking = Chunking(load(pure=True), Params(DEFAULT.id, 256, 1024, 4096))
    try:
        with Budget(1 << 20).account() as account:
            cutter = CutStage(lambda pin: Pinned(CONTENT[names[pin]]), prefix, chunking, lane, account, 1 << 20)
            async with asyncio.TaskGroup() as tasks:
                cuts = [await cut async for cut in cutter.cuts(rows, tasks)]
    finally:
        lane.close()
    files = [file for cut in cuts for file in cut.files]
    assert [file.file.name for file in files] == names
    assert {file.file.name for file in files if file.known} == stored
    assert [piece.data for file in files for piece in file.pieces] == [b"first"]
