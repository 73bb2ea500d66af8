"""Whatever the bytes: a decoder gives a value whose promises hold, or Corrupt; nothing else, and within its memory."""

import tracemalloc

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from syncd.errors import Corrupt, RemoteRefused
from syncd.format import codec, log, manifest, pack, repo, seal
from syncd.format.digest import hash_bytes
from tests.kit import format_examples
from tests.kit.golden_repository import build

OBJECTS = build()
ENTRIES = sorted(data for key, data in OBJECTS.items() if "/log/" in key)
MANIFESTS = sorted(data for key, data in OBJECTS.items() if key.startswith("manifests/"))
PACKS = sorted(data for key, data in OBJECTS.items() if key.startswith("packs/"))
REPO = OBJECTS["repo.json"]


def all_pages():
    found = []
    for data in PACKS:
        for frame in pack.resync(data):
            chunk = pack.open_frame(frame, data[frame.offset : frame.offset + frame.stored_length])
            if chunk.startswith(manifest.PAGE_MAGIC):
                found.append(chunk)
    return sorted(found)


PAGES = all_pages()
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def entry(data):
    value = log.decode_entry(data)
    assert log.decode_entry(log.encode_entry(value)) == value


def page(data):
    value = manifest.decode_page(data, hash_bytes(data))
    assert manifest.encode_page(value) and manifest.page_tree(value.entries)
    assert [e.path for e in value.entries] == sorted({e.path for e in value.entries})


def whole_manifest(data):
    value = manifest.decode_manifest(data, manifest.manifest_hash(data))
    again = manifest.encode_manifest(value)
    assert manifest.decode_manifest(again, manifest.manifest_hash(again)) == value


def any_pack(data):
    needed = pack.tail_needed(data)
    tail = data[-needed:] if needed <= len(data) else data
    for frame in pack.parse_tail(tail, pack_id(data), len(data)):
        chunk = pack.open_frame(frame, data[frame.offset : frame.offset + frame.stored_length])
        assert len(chunk) == frame.raw_length


def pack_id(data):
    length = int.from_bytes(data[-44:-40], "little")
    return pack.pack_id(data[-64:-48], data[-64 - length : -64])


def repository(data):
    value = repo.decode_repo(data)
    assert repo.decode_repo(repo.encode_repo(value)) == value


def reseal_entry(data):
    return seal.seal(log.ENTRY_MAGIC, data[8:-32])


def reseal_manifest(data):
    return seal.seal(manifest.MANIFEST_MAGIC, data[8:-32])


def reseal_pack(data):
    length = int.from_bytes(data[-44:-40], "little")
    index = data[-64 - length : -64]
    return data[:-40] + hash_bytes(index) + data[-8:]


def reseal_repo(data):
    body = data[: -repo._SUFFIX]
    return body + repo._BEFORE_CHECK + hash_bytes(body).hex().encode() + repo._AFTER_CHECK


def accepts(check, data):
    """Whether the decoder took it; any exception but its own is the failure this file looks for."""
    try:
        check(data)
    except (Corrupt, RemoteRefused) as error:
        assert error.what
        assert check is repository or isinstance(error, Corrupt)
        return False
    return True


KINDS = {
    "entry": (entry, ENTRIES, reseal_entry),
    "page": (page, PAGES, bytes),
    "manifest": (whole_manifest, MANIFESTS, reseal_manifest),
    "pack": (any_pack, PACKS, reseal_pack),
    "repo": (repository, [REPO], reseal_repo),
}


@pytest.mark.parametrize("kind", KINDS)
def test_true_objects_are_taken(kind):
    check, samples, reseal = KINDS[kind]
    assert samples
    for data in samples:
        assert accepts(check, data)
        assert reseal(data) == data


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.binary(max_size=300))
@example(data=b"")
def test_random_bytes_are_corrupt(kind, data):
    assert not accepts(KINDS[kind][0], data)


@pytest.mark.parametrize("kind", ["entry", "manifest", "repo"])
def test_every_flipped_bit_of_a_sealed_object_is_corrupt(kind):
    check, samples, _ = KINDS[kind]
    data = min(samples, key=len)
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        with pytest.raises(Corrupt):
            check(bytes(flipped))


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_cut_objects_are_corrupt(kind, data):
    check, samples, _ = KINDS[kind]
    sample = data.draw(st.sampled_from(samples))
    assert not accepts(check, sample[: data.draw(st.integers(0, len(sample) - 1))])


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(data=st.data())
def test_changed_objects_whose_hashes_were_made_right_keep_every_promise_or_are_corrupt(kind, data):
    check, samples, reseal = KINDS[kind]
    changed = bytearray(data.draw(st.sampled_from(samples)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    accepts(check, reseal(bytes(changed)))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@QUICK
@given(data=st.data())
def test_entries_with_any_values_in_their_fields_keep_every_promise_or_are_corrupt(data):
    fields = msgpack.unpackb(data.draw(st.sampled_from(ENTRIES))[8:-32])
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=2)):
        fields[name] = data.draw(VALUES)
    accepts(entry, seal.seal(log.ENTRY_MAGIC, msgpack.packb(fields)))


@QUICK
@given(data=st.data())
def test_pages_with_any_values_in_their_entries_keep_every_promise_or_are_corrupt(data):
    packs, entries = msgpack.unpackb(data.draw(st.sampled_from(PAGES))[8:])
    row = data.draw(st.sampled_from(entries))
    row[data.draw(st.integers(0, len(row) - 1))] = data.draw(VALUES)
    accepts(page, manifest.PAGE_MAGIC + msgpack.packb([packs, entries]))


@QUICK
@given(data=st.data())
def test_manifests_with_any_values_in_their_fields_keep_every_promise_or_are_corrupt(data):
    fields = msgpack.unpackb(seal.expand(memoryview(data.draw(st.sampled_from(MANIFESTS)))[8:-32], "manifest"))
    if fields["pages"] and data.draw(st.booleans()):
        ref = data.draw(st.sampled_from(fields["pages"]))
        ref[data.draw(st.integers(0, len(ref) - 1))] = data.draw(VALUES)
    else:
        fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(VALUES)
    accepts(whole_manifest, seal.seal(manifest.MANIFEST_MAGIC, seal.squeeze(msgpack.packb(fields))))


def sealed_manifest(raw, claimed=None):
    """A manifest object around these bytes, compressed as codec.py would, claiming a length of its own."""
    number, stored = codec.encode(memoryview(raw), True)
    head = bytes([number]) + (len(raw) if claimed is None else claimed).to_bytes(4, "little")
    return seal.seal(manifest.MANIFEST_MAGIC, head + bytes(stored))


BOMBS = {
    "array of four thousand million": (entry, seal.seal(log.ENTRY_MAGIC, b"\xdd\xff\xff\xff\xff")),
    "deep arrays": (entry, seal.seal(log.ENTRY_MAGIC, b"\x91" * 500_000)),
    "deep maps in a field nobody knows": (
        entry,
        seal.seal(log.ENTRY_MAGIC, b"\x82\xa4kind\xa6create\xa1x" + b"\x81\xa1a" * 100_000 + b"\xc0"),
    ),
    "metadata of a million empty maps": (
        entry,
        seal.seal(
            log.ENTRY_MAGIC, b"\x82\xa4kind\xa6create\xa8metadata\x81\xa1a\xdd\x00\x0e\x00\x00" + b"\x80" * 0xE0000
        ),
    ),
    "page of millions of nils": (page, manifest.PAGE_MAGIC + b"\x92\x90\xdd\x00\x80\x00\x00" + b"\xc0" * (8 << 20)),
    "page of one entry with runs without end": (
        page,
        manifest.PAGE_MAGIC + msgpack.packb([[bytes(32)], [[b"a", 0, 0, 1, bytes(32), bytes(12 << 18)]]]),
    ),
    "manifest that unpacks to more than it says": (
        whole_manifest,
        sealed_manifest(b"\x00" * 8 + b"x" * (15 << 20), 100),
    ),
    "manifest that says more than is allowed": (whole_manifest, sealed_manifest(b"x" * 1000, 2**32 - 1)),
    "manifest of zeros": (whole_manifest, sealed_manifest(bytes(16 << 20))),
    "manifest of features": (
        whole_manifest,
        sealed_manifest(b"\x81\xa8features\xdd\x00\xc0\x00\x00" + b"\xa1f" * (6 << 20)),
    ),
    "object longer than its cap": (entry, seal.seal(log.ENTRY_MAGIC, bytes(2 << 20))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_corrupt_and_cost_little_memory(bomb):
    check, data = BOMBS[bomb]
    tracemalloc.start()
    try:
        assert not accepts(check, data)
        assert tracemalloc.get_traced_memory()[1] < 130 << 20
    finally:
        tracemalloc.stop()


def newer(data):
    return data[:7] + b"\x02" + data[8:]


@pytest.mark.parametrize(
    ("check", "data", "word"),
    [
        (entry, newer(ENTRIES[0]), "format 2"),
        (whole_manifest, newer(MANIFESTS[0]), "format 2"),
        (page, newer(PAGES[0]), "format 2"),
        (entry, seal.seal(log.ENTRY_MAGIC, msgpack.packb({"kind": "merge", "txn": "t"})), "merge"),
    ],
)
def test_what_is_newer_is_named(check, data, word):
    with pytest.raises(Corrupt, match=word) as caught:
        check(data)
    assert "newer syncd" in caught.value.why


def test_features_of_a_manifest_are_refused_by_name():
    fields = msgpack.unpackb(seal.expand(memoryview(MANIFESTS[0])[8:-32], "manifest"))
    for change in ({"features": ["tensors"]}, {"format": 2}):
        with pytest.raises(Corrupt, match=r"tensors|format 2"):
            whole_manifest(sealed_manifest(msgpack.packb(fields | change)))


def test_fields_that_a_later_writer_adds_are_ignored():
    fields = msgpack.unpackb(format_examples.example_entry()[8:-32])
    later = seal.seal(log.ENTRY_MAGIC, msgpack.packb(fields | {"shiny": {"a": [1, b"x"]}}))
    assert log.decode_entry(later) == log.decode_entry(format_examples.example_entry())
    packs, entries = msgpack.unpackb(format_examples.example_page()[8:])
    data = manifest.PAGE_MAGIC + msgpack.packb([packs, [[*row, "more"] for row in entries], "more"])
    first = format_examples.example_page()
    assert manifest.decode_page(data, hash_bytes(data)) == manifest.decode_page(first, hash_bytes(first))


def test_what_is_too_long_is_refused_for_that_before_it_is_read():
    with pytest.raises(Corrupt, match="too long"):
        log.decode_entry(seal.seal(log.ENTRY_MAGIC, bytes(log.MAX_ENTRY)))
    with pytest.raises(Corrupt, match="too long"):
        whole_manifest(sealed_manifest(b"x" * 1000, codec.MAX_FRAME_RAW + 1))
