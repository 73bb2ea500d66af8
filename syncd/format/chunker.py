"""Where one chunk ends and the next begins: a function of the bytes alone, so equal data is cut equally everywhere.

The rule is called `quad16-1`; docs/decisions/0002-chunker.md says why it is what it is. A cut depends on four groups
of sixteen bytes, 64 bytes apart, that end at the byte before the cut; no cut comes before `minimum` bytes (or before
one whole window of 208 lies in the chunk), one always comes at `maximum`. So an edit moves the cuts near it and no
others, and what follows is recognised again.

It decides what deduplicates, for ever: the constants here, in `_cut.c` and in the goldens of the tests may never
change under this id. A better rule gets another id and becomes the default of new repositories only.

Two forms, equal bit for bit: the C extension, which takes what this CPU can (gigabytes a second), and the Python
below, which keeps a machine without a compiler working (tens of megabytes a second). The Python form lays many
positions side by side in one large integer, because one multiplication of that is one loop in C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from syncd.errors import RemoteRefused
from syncd.format.codec import MAX_FRAME_RAW

try:
    from syncd.format import _cut
except ImportError:  # built without a compiler; `load` says so by the name it gives
    _cut = None  # type: ignore[assignment]

WINDOW = 208
SMALLEST = 64
K = (0x70DEE2CD, 0x5760BB2F, 0xCE3E2E21, 0x8EBE23ED)
M = (1, 0xED2C332B, 0xAEB01C19, 0x9A8B64F1)


@dataclass(frozen=True, slots=True)
class Params:
    """A chunker by id and sizes in bytes, as repo.json and every manifest state it.

    Chunks are `minimum + average` long in the mean: after the minimum, one byte in `average` is a cut.
    """

    id: str
    minimum: int
    average: int
    maximum: int


DEFAULT = Params("quad16-1", 64 << 10, 192 << 10, 2 << 20)


def check(params: Params) -> None:
    """Raise RemoteRefused unless this program can cut by `params` (they may come from a remote)."""
    if params.id != DEFAULT.id:
        raise RemoteRefused(
            f"unknown chunker {params.id!r}", "the repository was made by a newer syncd", "update syncd on this node"
        )
    if not SMALLEST <= params.minimum <= params.average <= params.maximum <= MAX_FRAME_RAW:
        raise RemoteRefused(
            f"chunk sizes {params.minimum}, {params.average}, {params.maximum} (minimum, average, maximum)",
            f"they must rise from {SMALLEST} to at most {MAX_FRAME_RAW} bytes",
            "the repository's record is damaged or foreign: see `syncd doctor`",
        )


@dataclass(frozen=True, slots=True)
class Cutter:
    """One way to compute the rule. Stateless: may be used by any number of threads at once."""

    name: str
    cut: Callable[[memoryview, Params, bool], list[int]]

    def boundaries(self, data: memoryview, params: Params, final: bool) -> list[int]:
        """End offsets of the whole chunks of `data`, which starts at a chunk's start; the last is its end if `final`.

        Without `final` the tail after the last offset is left out: more data may move its end. Call again with the
        data from that offset on; any split of a file gives the same chunks. A call without `final` that is given at
        least `maximum` bytes returns at least one offset. Raises RemoteRefused as `check` does.
        """
        check(params)
        return self.cut(data, params, final)


def variants() -> list[str]:
    """Names that `load` can be asked for on this machine, fastest first; the last is "python"."""
    return [*(f"native-{name}" for name in _cut.variants()), "python"] if _cut else ["python"]


def load(pure: bool = False, variant: str | None = None) -> Cutter:
    """The fastest cutter of this machine, the Python one if `pure`, or the named one (tests compare them all).

    Raises ValueError for a variant that this machine has not.
    """
    name = variant or ("python" if pure else variants()[0])
    if name not in variants():
        raise ValueError(f"no chunker {name!r} here, only {', '.join(variants())}")
    return Cutter(name, python_boundaries if name == "python" else _native(name.removeprefix("native-")))


def _native(variant: str) -> Callable[[memoryview, Params, bool], list[int]]:
    def cut(data: memoryview, params: Params, final: bool) -> list[int]:
        return _cut.boundaries(data, params.minimum, params.maximum, params.average, final, variant)

    return cut


def python_boundaries(data: memoryview, params: Params, final: bool) -> list[int]:
    """The rule in Python alone; same contract as `Cutter.boundaries`, sizes already checked."""
    data = memoryview(data).cast("B")
    ends: list[int] = []
    start = 0
    while start < len(data):
        left = len(data) - start
        limit = min(left, params.maximum)
        length = _first_cut(data[start : start + limit], max(params.minimum, WINDOW) - 1, params.average)
        if not length:
            if left < params.maximum and not final:
                break
            length = limit
        start += length
        ends.append(start)
    return ends


def _first_cut(chunk: memoryview, first: int, average: int) -> int:
    """Bytes up to and with the first cut at offset `first` or later; 0 if there is none."""
    # Room for about one chunk, so that small averages (tests) do not pay for positions behind the cut.
    lanes = max(64, min(1024, average // 8))
    for at in range(first, len(chunk), lanes * 8):
        found = [_first_lane(chunk, at + phase, lanes, average) * 8 + phase for phase in range(8)]
        nearest = min((place for place in found if place >= 0), default=len(chunk))
        if at + nearest < len(chunk):
            return at + nearest + 1
    return 0


@lru_cache(maxsize=64)
def _every_lane(value: int, lanes: int) -> int:
    """`value` in each 64-bit lane of one large integer."""
    return int.from_bytes(value.to_bytes(8, "little") * lanes, "little")


def _first_lane(chunk: memoryview, at: int, lanes: int, average: int) -> int:
    """The first of `lanes` positions at, at + 8, at + 16 ... with a cut after it; -24 or less if there is none.

    Each position has a lane of 64 bits, of which 32 hold the sum, so that neither products nor carries reach the next.
    A group is computed for 24 lanes more in front: shifted by eight lanes it is the group 64 bytes before.
    """
    low = _every_lane(0xFFFFFFFF, lanes + 24)
    begin, size = at - 192 - 3, (lanes + 24) * 8
    group = 0
    for j, k in enumerate(K):
        words = int.from_bytes(chunk[begin - 4 * j : begin - 4 * j + size], "little") & low
        group += words * k & low
    group &= low
    total = group >> (24 * 64)
    for t, m in enumerate(M[1:], 1):
        total += (group >> ((24 - 8 * t) * 64)) * m & low
    total &= _every_lane(0xFFFFFFFF, lanes)
    # bit 31 is clear in h and set in h + T exactly where 2^31 - T <= h < 2^31
    hits = (total + _every_lane((1 << 32) // average, lanes)) & ~total & _every_lane(1 << 31, lanes)
    return ((hits & -hits).bit_length() - 1) // 64 if hits else -24
