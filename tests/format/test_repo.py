"""repo.json: read by people, checked to the last bit, refused by name."""

import json

import pytest

from syncd.errors import Corrupt, InvalidInput, RemoteRefused
from syncd.format import repo
from syncd.format.chunker import Params
from syncd.format.digest import hash_bytes
from syncd.format.paging import PageParams


def resealed(data, **changes):
    """The record with other values under a check that is right."""
    record = json.loads(data) | changes
    record.pop("check")
    body = json.dumps(record, indent=2).encode().removesuffix(b"\n}")
    return body + b',\n  "check": "' + hash_bytes(body).hex().encode() + b'"\n}\n'


GOOD = repo.encode_repo(repo.RepoRecord(repo_id="repository-1", created_by="test"))


def test_the_record_comes_back_as_it_was():
    record = repo.RepoRecord(repo_id="r-234567", chunker=Params("c", 1, 2, 3), pages=PageParams(1, 2, 3), pack_target=9)
    assert repo.decode_repo(repo.encode_repo(record)) == record


def test_it_is_json_for_people():
    assert json.loads(GOOD)["repo_id"] == "repository-1"
    assert GOOD.endswith(b"}\n")


@pytest.mark.parametrize("change", [{"format": 2}, {"hash": "sha256"}])
def test_another_format_or_hash_is_refused_by_name(change):
    with pytest.raises(RemoteRefused, match=str(next(iter(change.values())))):
        repo.decode_repo(resealed(GOOD, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"repo_id": "a/b"},
        {"repo_id": "good-name\n"},
        {"format": "1"},
        {"chunker": {"id": "x", "minimum": 0, "average": 1, "maximum": 1}},
        {"chunker": {"id": "x", "minimum": 2, "average": 1, "maximum": 3}},
        {"chunker": {"id": "x", "minimum": 1, "average": 2, "maximum": 1 << 25}},
        {"chunker": None},
        {"pages": {"average": 0, "maximum": 1, "weight": 1}},
        {"pages": {"average": 1, "maximum": 1 << 17, "weight": 1}},
        {"pack_target": 0},
        {"read_features": [""]},
    ],
)
def test_values_that_cannot_be_are_corrupt(change):
    with pytest.raises(Corrupt):
        repo.decode_repo(resealed(GOOD, **change))


def test_unknown_features_are_refused_by_name_for_what_they_forbid():
    writes = repo.decode_repo(resealed(GOOD, write_features=["rewrites"]))
    repo.require(writes, write=False)
    with pytest.raises(RemoteRefused, match="rewrites"):
        repo.require(writes, write=True)
    reads = repo.decode_repo(resealed(GOOD, read_features=["planes"]))
    with pytest.raises(RemoteRefused, match="planes"):
        repo.require(reads, write=False)


def test_fields_of_a_later_writer_are_ignored():
    assert repo.decode_repo(resealed(GOOD, colour="blue")) == repo.decode_repo(GOOD)


@pytest.mark.parametrize("facts", [{"repo_id": "x"}, {"repo_id": "repository", "chunker": Params("c", 0, 0, 0)}])
def test_what_no_reader_would_take_is_not_written(facts):
    with pytest.raises(InvalidInput):
        repo.encode_repo(repo.RepoRecord(**facts))
