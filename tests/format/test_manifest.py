"""Manifests: hostile until every statement in them agrees with every other."""

import pytest
from msgspec.structs import replace

from syncd.errors import Corrupt, InvalidInput
from syncd.format import manifest as m
from syncd.format import seal
from syncd.format.builder import Located, ManifestBuilder, locate
from syncd.format.chunker import Params
from syncd.format.digest import file_digest, hash_bytes

CHUNKER = Params("quad16-1", 64, 128, 1024)
PACK = b"P" * 32
EMPTY = file_digest([])


def a_file(path, size=5, **changes):
    runs = (m.Run(0, 0, 1),) if size else ()
    return replace(m.Entry(path, m.FILE, 0o644, size, EMPTY, runs), **changes)


def raw_page(entries, packs=(PACK,)):
    """The bytes of a page, unchecked."""
    rows = tuple(
        m._EntryRow(e.path, e.type, e.mode, e.size, e.digest, m.encode_runs(e.runs), e.target, e.attrs) for e in entries
    )
    return m.PAGE_MAGIC + seal.pack_value(m._PageRow(packs, rows))


def decode(data):
    return m.decode_page(data, hash_bytes(data))


def built(paths=(b"a", b"b/c", b"d")):
    builder = ManifestBuilder(m.PageParams(2, 2))
    pages = [builder.add(a_file(path, runs=()), [Located(PACK, 0, 1)]) for path in paths] + [builder.finish()]
    pages = [page for page in pages if page]
    for number, page in enumerate(pages):
        builder.placed(page.hash, b"Q" * 32, number)
    return builder.manifest("project", "name", "model", "txn", CHUNKER), pages


def test_a_version_comes_back_page_by_page():
    made, pages = built()
    data = m.encode_manifest(made)
    read = m.decode_manifest(data, m.manifest_hash(data))
    assert read == made and len(pages) >= 2
    order = m.PathOrder()
    entries = [
        e for ref, page in zip(read.pages, pages, strict=True) for e in m.open_page(ref, page.data, order).entries
    ]
    assert entries == [a_file(b"a"), a_file(b"b/c"), a_file(b"d")]
    assert [(ref.pack, ref.frame) for ref in read.pages] == [(b"Q" * 32, n) for n in range(len(pages))]


def test_an_empty_version_has_no_page():
    made, pages = built(paths=())
    data = m.encode_manifest(made)
    assert m.decode_manifest(data, m.manifest_hash(data)).pages == () and not pages


def test_every_type_of_entry_comes_back():
    entries = (
        m.Entry(b"\xff\n", m.FILE, 0o777, 0, EMPTY),
        m.Entry(b"d", m.DIRECTORY, 0o700, 0, b""),
        m.Entry(b"l", m.SYMLINK, 0o777, 0, b"", target=b"../\xfe"),
        m.Entry(b"r", m.REFERENCE, 0, 99, b"", target=b"s3://b/k", attrs={"etag": "x", "n": 1, "f": 0.5, "no": None}),
    )
    page = m.Page((), tuple(sorted(entries, key=lambda e: e.path)))
    assert decode(m.encode_page(page)) == page


WRONG = {
    "path": [b"", b"/a", b"a/", b"../x", b"a/../b", b"a//b", b".", b"a\x00b", b"x" * 256, b"/".join([b"a"] * 129)],
    "type": [-1, 4],
    "mode": [-1, 0o1000, 0o4755],
    "size": [-1, 2**63, 0, (16 << 20) + 1],
    "digest": [b"", b"short", bytes(33)],
    "runs": [(), (m.Run(1, 0, 1),), (m.Run(0, 0, 0),), (m.Run(0, 2**18, 1),), (m.Run(0, 1, 2**18),), (m.Run(0, 0, 6),)],
    "target": [b"x"],
    "attrs": [{"k": "v" * 2000}, {"x": float("nan")}, {str(n): n for n in range(65)}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in WRONG for value in WRONG[field]])
def test_an_impossible_entry_is_corrupt_and_cannot_be_written(field, value):
    entry = replace(a_file(b"a"), **{field: value})
    with pytest.raises(Corrupt):
        decode(raw_page([entry]))
    with pytest.raises(InvalidInput):
        m.encode_page(m.Page((PACK,), (entry,)))


@pytest.mark.parametrize("target", [b"", b"a\x00b", b"x" * 4096])
@pytest.mark.parametrize("kind", [m.SYMLINK, m.REFERENCE])
def test_links_without_a_possible_target_are_corrupt(kind, target):
    with pytest.raises(Corrupt, match="cannot be"):
        decode(raw_page([m.Entry(b"l", kind, 0o777, 0, b"", target=target)], ()))


@pytest.mark.parametrize("kind", [m.SYMLINK, m.DIRECTORY])
def test_links_and_directories_have_no_content(kind):
    target = b"t" if kind == m.SYMLINK else b""
    for change in ({"size": 1}, {"digest": EMPTY}, {"runs": (m.Run(0, 0, 1),)}):
        with pytest.raises(Corrupt):
            decode(raw_page([replace(m.Entry(b"l", kind, 0o777, 0, b"", target=target), **change)]))


@pytest.mark.parametrize(
    "paths", [(b"b", b"a"), (b"a", b"a"), (b"a", b"a/b"), (b"a", b"a-b", b"a/b"), (b"a/b", b"a/b/c/d")]
)
def test_disorder_doubles_and_files_that_are_directories_are_corrupt(paths):
    with pytest.raises(Corrupt):
        decode(raw_page([a_file(path) for path in paths]))


def test_a_file_that_is_a_directory_of_a_later_page_is_corrupt():
    one, other = (m.Page((PACK,), (a_file(path),)) for path in (b"a", b"a/b"))
    order = m.PathOrder()
    m.open_page(ref_of(one), m.encode_page(one), order)
    with pytest.raises(Corrupt, match="cannot be"):
        m.open_page(ref_of(other), m.encode_page(other), order)


def ref_of(page, **changes):
    data = m.encode_page(page)
    entries = page.entries
    ref = m.PageRef(
        entries[0].path,
        entries[-1].path,
        *m.totals(entries),
        m.page_tree(entries),
        PACK,
        0,
        len(data),
        hash_bytes(data),
    )
    return replace(ref, **changes)


@pytest.mark.parametrize(
    "lie",
    [{"first": b"0"}, {"last": b"z"}, {"entries": 2}, {"files": 0}, {"size": 6}, {"tree": bytes(32)}, {"length": 9}],
)
def test_a_page_that_is_not_what_its_manifest_says_is_corrupt(lie):
    page = m.Page((PACK,), (a_file(b"a"),))
    m.open_page(ref_of(page), m.encode_page(page))
    with pytest.raises(Corrupt, match="not what"):
        m.open_page(ref_of(page, **lie), m.encode_page(page))


def test_another_page_than_the_one_named_is_corrupt():
    with pytest.raises(Corrupt, match="damaged"):
        m.decode_page(m.encode_page(m.Page((PACK,), (a_file(b"a"),))), bytes(32))


def test_another_manifest_than_the_one_named_is_corrupt():
    with pytest.raises(Corrupt, match="another"):
        m.decode_manifest(m.encode_manifest(built()[0]), bytes(32))


@pytest.mark.parametrize("packs", [(PACK, PACK), (b"short",)])
def test_a_pack_table_with_doubles_or_no_ids_is_corrupt(packs):
    with pytest.raises(Corrupt):
        decode(raw_page([a_file(b"a")], packs))


def lies():
    made = built()[0]
    one, two = made.pages[0], made.pages[1]
    yield {"entries": made.entries + 1}
    yield {"files": made.files - 1}
    yield {"size": made.size + 1}
    yield {"digest": bytes(32)}
    yield {"pages": made.pages[::-1]}
    yield {"pages": (one, one)}
    yield {"pages": (replace(one, last=two.first), two)}
    yield {"pages": (replace(one, files=99), two)}
    yield {"pages": (replace(one, first=b"../x"), two)}
    yield {"project": "a/b"}
    yield {"name": "../x"}
    yield {"type": ""}
    yield {"txn": "a/b"}
    yield {"chunker": Params("", 1, 1, 1)}
    yield {"chunker": Params("x", 1, 1, 0)}


@pytest.mark.parametrize("lie", list(lies()), ids=lambda lie: next(iter(lie)))
def test_a_manifest_that_contradicts_itself_is_corrupt_and_cannot_be_written(lie):
    false = replace(built()[0], **lie)
    with pytest.raises(InvalidInput):
        m.encode_manifest(false)
    data = seal.seal(m.MANIFEST_MAGIC, seal.squeeze(seal.pack_value(false)))
    with pytest.raises(Corrupt):
        m.decode_manifest(data, m.manifest_hash(data))


def test_the_builder_refuses_disorder_at_once_and_unplaced_pages_at_the_end():
    builder = ManifestBuilder()
    builder.add(a_file(b"b", size=0))
    with pytest.raises(InvalidInput):
        builder.add(a_file(b"a", size=0))
    builder.finish()
    with pytest.raises(InvalidInput, match="not stored"):
        builder.manifest("p", "n", "t", "x", CHUNKER)


def test_neighbouring_chunks_are_one_run():
    other = b"O" * 32
    places = [(PACK, 3), (PACK, 4), (PACK, 6), (other, 7), (other, 8), (PACK, 7)]
    assert locate(places) == (Located(PACK, 3, 2), Located(PACK, 6, 1), Located(other, 7, 2), Located(PACK, 7, 1))
