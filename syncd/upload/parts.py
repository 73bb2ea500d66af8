"""What passes from stage to stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from syncd.budget import Hold
from syncd.format.chunker import Cutter, Params
from syncd.format.pack import Frame
from syncd.journal.packs import ChunkRow
from syncd.journal.pins import FileRow


@dataclass(frozen=True, slots=True)
class UploadParams:
    """How an upload works; sizes in bytes, `sends` packs are put at once.

    `window` is what one call of the reading lane takes; it must hold at least one chunk of the largest size.
    """

    window: int = 8 << 20
    pack_target: int = 16 << 20
    sends: int = 4
    compress: bool = True


@dataclass(frozen=True, slots=True)
class Chunking:
    """How this repository cuts, and with which implementation."""

    cutter: Cutter
    params: Params


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk as it was read: where it starts in its file, its bytes, its hash (32 bytes)."""

    offset: int
    data: memoryview
    hash: bytes


@dataclass(slots=True)
class FileCut:
    """Neighbouring chunks of one file. `last` on the piece that ends it; `known` are stored by an earlier life."""

    file: FileRow
    pieces: list[Piece]
    last: bool
    known: list[ChunkRow] = field(default_factory=list)


@dataclass(slots=True)
class Cut:
    """What one call of the reading lane gave: parts of one large file, or many small ones; `hold` counts its bytes."""

    files: list[FileCut]
    hold: Hold


class PackInFlight:
    """A pack that is filled, then sealed (its id is known), then stored.

    Runs of entries point at it before its id is known. `rows` become progress in the journal when it is stored.
    """

    __slots__ = ("chunks", "frames", "holds", "id", "parts", "rows", "size", "stored")

    def __init__(self) -> None:
        self.id = b""
        self.chunks: list[tuple[bytes, int]] = []
        self.rows: list[tuple[int | None, ChunkRow]] = []
        self.holds: list[Hold] = []
        self.parts: list[bytes | bytearray | memoryview] = []
        self.frames: tuple[Frame, ...] = ()
        self.size = 0
        self.stored = False

    @property
    def held(self) -> int:
        """Bytes of budget that this pack keeps from others."""
        return sum(hold.size for hold in self.holds)

    def dismiss(self) -> None:
        """Drop bytes and holds: the pack is stored, only its id matters now."""
        self.parts = []
        self.frames = ()
        for hold in self.holds:
            hold.release()
        self.holds = []


PackRef = PackInFlight | bytes


@dataclass(slots=True)
class RunInFlight:
    """`count` neighbouring frames from `first` on, in a pack whose id may not be known yet."""

    pack: PackRef
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Done:
    """One entry that is ready for the manifest: its file row, its digest, where its chunks lie."""

    file: FileRow
    digest: bytes
    runs: tuple[RunInFlight, ...]


class Progress(Protocol):
    """Who is told how far an upload is. Plain calls, cheap, from the loop."""

    def read(self, size: int) -> None:
        """So many more bytes of the draft are cut and either stored or on their way."""
        ...

    def stored(self, size: int) -> None:
        """So many more bytes are durable in the remote."""
        ...

    def file_done(self) -> None:
        """One more file is cut to its end."""
        ...


def pack_id(ref: PackRef) -> bytes:
    """Return the id of a pack that is sealed by now."""
    return ref if isinstance(ref, bytes) else ref.id
