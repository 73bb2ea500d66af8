"""Packs of which little is needed: which they are, and what is needed of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncd.collect.each import each
from syncd.collect.look import Listing, expired
from syncd.collect.marks import Marks
from syncd.collect.params import CollectParams
from syncd.format.pack import FRAME, ROW, Frame
from syncd.repo.repository import Repository

_SUSPECT = 2.0


@dataclass(frozen=True, slots=True)
class Sparse:
    """One such pack: its frames, and by number those that are needed; `size` in stored bytes."""

    pack: bytes
    frames: tuple[Frame, ...]
    needed: frozenset[int]
    size: int


async def find_sparse(
    repository: Repository, listing: Listing, marks: Marks, spared: Iterable[bytes], params: CollectParams
) -> dict[bytes, Sparse]:
    """Return the packs that are worth rewriting.

    Only of packs that look empty by the sizes of files does this read the index; data that compresses to less than a
    half can hide one.

    Args:
        spared: packs to be left as they are.
    """
    found: dict[bytes, Sparse] = {}
    spared = set(spared)

    async def judge(pack: bytes) -> None:
        frames = await repository.packs.index(pack)
        bits = marks.packs[pack]
        needed = frozenset(number for number in range(len(frames)) if bits >> number & 1)
        live = sum(_taken(frames[number]) for number in needed)
        if live < params.sparse * sum(map(_taken, frames)):
            found[pack] = Sparse(pack, frames, needed, listing.packs[pack].size)

    suspects = [
        pack
        for pack, info in listing.packs.items()
        if pack in marks.packs
        and pack not in spared
        and marks.weights[pack] < info.size * params.sparse * _SUSPECT
        and expired(listing, info, params.min_age)
    ]
    await each(sorted(suspects), judge)
    return found


def _taken(frame: Frame) -> int:
    """Return what a frame takes of its pack, head and index row too: else a pack of small chunks were always sparse."""
    return frame.stored_length + FRAME.size + ROW.size
