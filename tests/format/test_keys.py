"""Keys: reversible, ASCII, safe as paths of a directory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import Corrupt, InvalidInput
from syncd.format import keys
from syncd.model.names import ArtifactKey


@given(st.text(min_size=1, max_size=60))
def test_every_text_that_fits_comes_back_from_its_segment(text):
    try:
        segment = keys.encode_segment(text)
    except InvalidInput:
        assert len(text.encode("utf-8", "surrogatepass")) * 3 > keys.SEGMENT_LIMIT or "\\ud" in ascii(text)
        return
    assert keys.decode_segment(segment) == text
    assert segment.isascii() and "/" not in segment and "#" not in segment
    assert segment not in (".", "..") and len(segment) <= keys.SEGMENT_LIMIT


@pytest.mark.parametrize("text", ["", "x" * 201, "é" * 34, "\udc80"])
def test_text_that_makes_no_segment_is_refused(text):
    with pytest.raises(InvalidInput):
        keys.encode_segment(text)


@given(st.text(max_size=30) | st.text("%0123456789ABCDEFabcdef./", max_size=12))
def test_a_segment_is_decoded_only_in_its_one_form(segment):
    try:
        text = keys.decode_segment(segment)
    except Corrupt:
        return
    assert keys.encode_segment(text) == segment


@pytest.mark.parametrize("segment", ["", ".", "..", "%2e", "%41", "a/b", "%", "%C3", "a b", "é", "%2E%2E"])
def test_other_spellings_of_a_segment_are_corrupt(segment):
    with pytest.raises(Corrupt):
        keys.decode_segment(segment)


def test_dots_alone_are_no_path_tricks():
    assert keys.artifact_log(ArtifactKey("..", ".")) == "a/%2E./%2E/log"


def test_keys_are_where_the_format_says():
    key = ArtifactKey("my project", "resnet")
    assert keys.pack_key(b"\xab" * 32) == "packs/ab/" + "ab" * 32
    assert keys.manifest_key(b"\x01" * 32, "tx-1") == "manifests/" + "01" * 32 + ".tx-1"
    named = keys.manifest_key(b"\x01" * 32, "tx-1", 3, b"\xab" * 32)
    assert named == "manifests/" + "01" * 32 + ".tx-1-e3-" + "ab" * 6
    assert keys.slot_key(keys.artifact_log(key), 7) == "a/my%20project/resnet/log/00000000000000000007"
    assert keys.slot_key(keys.REGISTRY_LOG, 0) == "reg/log/00000000000000000000"
    assert keys.run_log("p", "r/1") == "r/p/r%2F1/log"
    assert keys.use_key(key, 3, "r1") == "a/my%20project/resnet/uses/3/r1"
    assert keys.use_key(key, 3, "r1").startswith(keys.uses_prefix(key, 3))


def test_keys_can_be_read_back():
    key = ArtifactKey("p q", "n")
    assert keys.parse_artifact_log(keys.artifact_log(key)) == key
    assert keys.parse_slot(keys.slot_key("reg/log", 12)) == ("reg/log", 12)
    assert keys.parse_pack(keys.pack_key(b"\x05" * 32)) == b"\x05" * 32
    assert keys.parse_manifest(keys.manifest_key(b"\x06" * 32, "t")) == (b"\x06" * 32, "t")


@pytest.mark.parametrize(
    "key", ["packs/00/" + "ab" * 32, "packs/ab/" + "AB" * 32, "packs/ab/ab", "../" + "ab" * 32, ""]
)
def test_a_strange_key_is_no_pack(key):
    with pytest.raises(Corrupt):
        keys.parse_pack(key)


@pytest.mark.parametrize("log", ["a/p/n", "r/p/n/log", "a/p/n/log/x", "a/p/ö/log", "a/p/n%20m/log", "a/%23/n/log"])
def test_a_strange_log_is_no_artifact(log):
    with pytest.raises(Corrupt):
        keys.parse_artifact_log(log)


@pytest.mark.parametrize("txn", ["", "a/b", "a.b", "..", "x" * 65, "é", "a\n"])
def test_a_transaction_id_cannot_leave_its_segment(txn):
    with pytest.raises(InvalidInput):
        keys.manifest_key(bytes(32), txn)


def test_a_slot_beyond_the_last_is_refused():
    with pytest.raises(InvalidInput):
        keys.slot_key("reg/log", -1)
    with pytest.raises(InvalidInput):
        keys.slot_key("reg/log", keys.SLOT_LIMIT)
    with pytest.raises(Corrupt):
        keys.parse_slot("reg/log/" + "9" * 20)


def test_a_hash_of_another_length_makes_no_key():
    with pytest.raises(InvalidInput):
        keys.pack_key(b"short")
