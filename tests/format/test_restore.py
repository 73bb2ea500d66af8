"""Restoring: the chunks of a file are known to be the file before one is fetched."""

import pytest
from msgspec.structs import replace

from syncd.errors import Corrupt
from syncd.format import codec
from syncd.format.digest import file_digest, hash_bytes
from syncd.format.manifest import FILE, SYMLINK, Entry, Page, Run
from syncd.format.pack import Frame
from syncd.format.restore import check_file, chunks, packs_of

ONE, TWO = b"1" * 32, b"2" * 32


def frame(text):
    return Frame(hash_bytes(text), len(text), len(text), codec.RAW, 0, 80)


TABLES = {ONE: [frame(b"aa"), frame(b"bbb"), frame(b"c")], TWO: [frame(b"dddd")]}
RUNS = (Run(0, 1, 2), Run(1, 0, 1), Run(0, 1, 1))
ENTRY = Entry(
    b"f", FILE, 0o644, 11, file_digest((len(t), hash_bytes(t)) for t in (b"bbb", b"c", b"dddd", b"bbb")), RUNS
)
PAGE = Page((ONE, TWO), (ENTRY,))


def test_chunks_come_in_file_order_with_their_offsets():
    found = [(chunk.offset, chunk.pack, chunk.number) for chunk in chunks(ENTRY, PAGE, TABLES)]
    assert found == [(0, ONE, 1), (3, ONE, 2), (4, TWO, 0), (8, ONE, 1)]
    assert packs_of(ENTRY, PAGE) == (ONE, TWO)
    check_file(ENTRY, PAGE, TABLES)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 10},
        {"size": 12},
        {"digest": bytes(32)},
        {"runs": RUNS[::-1]},
        {"runs": (Run(0, 1, 3),)},
        {"runs": ()},
        {"type": SYMLINK},
    ],
)
def test_chunks_that_are_not_the_file_are_corrupt(change):
    with pytest.raises(Corrupt, match="'f'"):
        check_file(replace(ENTRY, **change), PAGE, TABLES)


def test_a_hostile_entry_yields_no_more_than_its_size():
    entry = replace(ENTRY, runs=(Run(1, 0, 1),) * 100_000)
    taken = []
    with pytest.raises(Corrupt, match="cannot be restored"):
        taken.extend(chunks(entry, PAGE, TABLES))
    assert len(taken) == 2


def test_an_empty_file_has_no_chunks():
    entry = Entry(b"e", FILE, 0o644, 0, file_digest([]))
    check_file(entry, Page((), (entry,)), {})
