"""Log entries: for ever, so nothing unreadable may be written."""

import pytest

from syncd.errors import Corrupt, InvalidInput
from syncd.format import log

PREV = log.genesis("repo-1234", "a/p/n/log")
CONTENT = {
    "manifest": "manifests/" + "00" * 32 + ".t",
    "manifest_hash": bytes(32),
    "manifest_size": 10,
    "digest": bytes(32),
    "entries": 2,
    "files": 1,
    "size": 7,
}


def test_an_entry_comes_back_as_it_was():
    entry = log.Commit(txn="t", prev=PREV, **CONTENT, metadata={"b": [1, {"x": None}], "a": 0.5}, aliases=("best",))
    assert log.decode_entry(log.encode_entry(entry)) == entry


def test_equal_entries_are_equal_bytes():
    one = log.Rule(txn="t", prev=PREV, name="r", spec={"a": 1, "b": {"c": 2, "d": 3}})
    other = log.Rule(txn="t", prev=PREV, name="r", spec={"b": {"d": 3, "c": 2}, "a": 1})
    assert log.encode_entry(one) == log.encode_entry(other)


def test_every_kind_has_its_own_word_and_belongs_to_a_log():
    kinds = set(log.ARTIFACT_KINDS + log.RUN_KINDS + log.REGISTRY_KINDS)
    assert len(kinds) == len({kind.__struct_config__.tag for kind in kinds}) == 19
    assert kinds == set(log.LogEntry.__args__)


@pytest.mark.parametrize(
    "entry",
    [
        log.Delete(txn="a/b", prev=PREV, version=0),
        log.Delete(txn="t", prev=b"short", version=0),
        log.Delete(txn="t", prev=PREV, version=-1),
        log.Delete(txn="t", prev=PREV, version=0, at=float("nan")),
        log.Create(txn="t", prev=PREV, type="a/b"),
        log.Create(txn="t", prev=PREV, type="job"),
        log.Create(txn="t", prev=PREV, type="m", metadata={"x": float("inf")}),
        log.Create(txn="t", prev=PREV, type="m", metadata={"x": b"bytes"}),
        log.Create(txn="t", prev=PREV, type="m", metadata={"x": 2**64}),
        log.Create(txn="t", prev=PREV, type="m", metadata={"x": "\udc80"}),
        log.Create(txn="t", prev=PREV, type="m", description="x" * (64 << 10) + "x"),
        log.Commit(txn="t", prev=PREV, **CONTENT | {"manifest": "../x"}),
        log.Commit(txn="t", prev=PREV, **CONTENT | {"files": 3}),
        log.Commit(txn="t", prev=PREV, **CONTENT | {"digest": b""}),
        log.Commit(txn="t", prev=PREV, **CONTENT, aliases=("v3",)),
        log.Commit(txn="t", prev=PREV, **CONTENT, tags=("-/-",)),
        log.Commit(txn="t", prev=PREV, **CONTENT, metadata={str(n): n for n in range(101)}),
        log.Commit(txn="t", prev=PREV, **CONTENT, run="r", run_project=""),
        log.Part(txn="t", prev=PREV, **CONTENT, group="g", index=2, of=2),
        log.Alias(txn="t", prev=PREV, set={"v1": 0}),
        log.Alias(txn="t", prev=PREV, expect={"a:b": None}),
        log.Link(txn="t", prev=PREV, **CONTENT, source_project="p/q", source_name="n", source_version=0),
        log.Register(txn="t", prev=PREV, project="p", name="no way", type="m"),
        log.Register(txn="t", prev=PREV, project="é" * 100, name="n", type="m"),
        log.Start(txn="t", prev=PREV, project="p", run=""),
        log.Fence(txn="t", prev=PREV, epoch=0),
    ],
)
def test_what_no_reader_would_take_is_not_written(entry):
    with pytest.raises(InvalidInput):
        log.encode_entry(entry)


def test_metadata_too_large_for_an_entry_is_refused_with_advice():
    with pytest.raises(InvalidInput) as caught:
        log.encode_entry(log.Commit(txn="t", prev=PREV, **CONTENT, metadata={"x": "y" * (1 << 20)}))
    assert "file" in caught.value.hint


def test_an_entry_vouches_for_the_one_before_and_for_its_log():
    first = log.encode_entry(log.Create(txn="t", prev=PREV, type="m"))
    other = log.encode_entry(log.Create(txn="t", prev=PREV, type="n"))
    assert log.entry_hash(first) != log.entry_hash(other)
    assert len({log.genesis(r, name) for r in ("repo-1", "repo-2") for name in ("a/p/n/log", "a/p/m/log")}) == 4


def test_another_object_is_no_entry():
    with pytest.raises(Corrupt, match="log entry"):
        log.decode_entry(b"SYNCDMF\x01" + bytes(100))
