"""From an entry to its bytes: which frames of which packs, in order, proved to be the file before one is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncd.errors import Corrupt
from syncd.format.digest import file_digest
from syncd.format.entries import FILE, Entry
from syncd.format.manifest import Page
from syncd.format.pack import Frame
from syncd.model.names import printable

Tables = Mapping[bytes, Sequence[Frame]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: bytes `offset` to `offset + frame.raw_length` are frame `number` of pack `pack`."""

    offset: int
    pack: bytes
    number: int
    frame: Frame


def packs_of(entry: Entry, page: Page) -> tuple[bytes, ...]:
    """Return the packs that a file's chunks lie in, each once, in order of first use."""
    return tuple(dict.fromkeys(page.packs[run.pack] for run in entry.runs))


def chunks(entry: Entry, page: Page, tables: Tables) -> Iterator[Chunk]:
    """Yield a file's chunks in order, without proof that they are the file: `check_file` first.

    Lazy, and stops at the entry's size: a hostile page cannot make it yield more chunks than the file has bytes.

    Raises:
        Corrupt: a frame that its pack does not have, or lengths that do not sum up to the size.
        KeyError: the frames of a pack of `packs_of` are not in `tables`.
    """
    offset = 0
    for run in entry.runs:
        pack = page.packs[run.pack]
        frames = tables[pack]
        if run.first + run.count > len(frames):
            raise _corrupt(entry, f"pack {pack.hex()} has {len(frames)} chunks, not {run.first + run.count}")
        for number in range(run.first, run.first + run.count):
            frame = frames[number]
            if offset + frame.raw_length > entry.size:
                raise _corrupt(entry, f"its chunks are longer than its {entry.size} bytes")
            yield Chunk(offset, pack, number, frame)
            offset += frame.raw_length
    if offset != entry.size:
        raise _corrupt(entry, f"its chunks have {offset} bytes, it has {entry.size}")


def check_file(entry: Entry, page: Page, tables: Tables) -> None:
    """Raise Corrupt unless the chunks that the packs' indexes name make a file of this size and digest.

    After it the chunks' hashes prove the bytes: a file of chunks that each verify is the file that was logged.
    """
    found = file_digest((chunk.frame.raw_length, chunk.frame.hash) for chunk in chunks(entry, page, tables))
    if entry.type != FILE or found != entry.digest:
        raise _corrupt(entry, "its chunks are not those of its digest")


def _corrupt(entry: Entry, why: str) -> Corrupt:
    return Corrupt(f"the entry {printable(entry.path)!r} cannot be restored", why)
