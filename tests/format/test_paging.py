"""Pages: ends decided by the entries alone, so a small change is a small change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from syncd.errors import InvalidInput
from syncd.format.digest import file_digest
from syncd.format.manifest import FILE, Entry, PageParams, PathOrder, page_tree, split_pages, version_digest

PARAMS = PageParams(average=16, maximum=64)


def files(count, size=5):
    names = sorted(b"dir%d/file%d" % (n % 7, n) for n in range(count))
    return [Entry(name, FILE, 0o644, size, file_digest([])) for name in names]


def pages(entries, params=PARAMS):
    return list(split_pages(entries, params))


def trees(entries):
    return {page_tree(page) for page in pages(entries)}


def test_pages_hold_all_entries_in_order():
    entries = files(1000)
    assert [entry for page in pages(entries) for entry in page] == entries
    assert all(0 < len(page) <= PARAMS.maximum for page in pages(entries))
    assert 1000 / 32 < len(pages(entries)) < 1000 / 8


def test_changing_one_file_of_many_changes_one_page():
    entries = files(5000)
    changed = list(entries)
    changed[2500] = replace(changed[2500], size=6)
    before, after = pages(entries), pages(changed)
    assert len(before) == len(after)
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize("at", [0, 1777, 4999])
def test_removing_or_adding_one_file_of_many_changes_few_pages(at):
    entries = files(5000)
    before, after = trees(entries), trees(entries[:at] + entries[at + 1 :])
    assert len(after - before) <= 2
    assert len(before - after) <= 2


def test_where_chunks_lie_does_not_move_page_ends_nor_the_digest():
    from syncd.format.manifest import Run

    entries = files(500)
    moved = [replace(entry, runs=(Run(0, 1, 1),), attrs={"mtime": 1.5}) for entry in entries]
    digests = [version_digest(page_tree(page) for page in pages(some)) for some in (entries, moved)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "change",
    [{"path": b"dir0/file00"}, {"mode": 0o600}, {"size": 6}, {"digest": bytes(32)}, {"type": 3}, {"target": b"x"}],
)
def test_each_part_of_the_content_is_in_the_digest(change):
    (entry,) = files(1)
    assert page_tree([entry]) != page_tree([replace(entry, **change)])


def test_huge_files_end_pages_early():
    assert len(pages(files(100, size=1 << 40), PageParams(average=1 << 20))) == 100


@given(st.lists(st.text("ab/-.", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=12))
def test_path_order_refuses_exactly_disorder_doubles_and_entries_below_entries(paths):
    for candidate in (paths, sorted(set(paths))):
        wrong = candidate != sorted(set(candidate)) or any(
            one.startswith(other + b"/") for one in candidate for other in candidate
        )
        order = PathOrder()
        try:
            for path in candidate:
                order.check(path)
            assert not wrong
        except InvalidInput:
            assert wrong
