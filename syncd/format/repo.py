"""repo.json: what kind of repository this is. Written once, by `syncd init`, and never changed.

JSON that a person can read, whose last line is a BLAKE3 of everything before it. The two feature lists say what a
program must understand to read, and to write: one that does not refuses by name, instead of misreading.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from syncd.errors import Corrupt, InvalidInput, RemoteRefused
from syncd.format import seal
from syncd.format.chunker import DEFAULT, Params
from syncd.format.digest import HASH_BYTES, hash_bytes
from syncd.format.manifest import check_chunker
from syncd.format.paging import PageParams, check_pages

ROLE = "repository record"
HASH_NAME = "blake3"
PACK_TARGET = 16 << 20
MAX_RECORD = 64 << 10
READ_FEATURES: frozenset[str] = frozenset()
WRITE_FEATURES: frozenset[str] = frozenset()

_BEFORE_CHECK = b',\n  "check": "'
_AFTER_CHECK = b'"\n}\n'
_SUFFIX = len(_BEFORE_CHECK) + 2 * HASH_BYTES + len(_AFTER_CHECK)

Feature = Annotated[str, Meta(min_length=1, max_length=100)]


class RepoRecord(Struct, frozen=True, kw_only=True):
    """The record.

    Attributes:
        format: number of the bucket format.
        repo_id: random, for ever: a local directory and a bucket with one repo_id are one repository.
        hash: name of the hash function of all content.
        chunker: how files are cut; each manifest repeats it.
        pages: how manifests are cut.
        pack_target: bytes at which a pack is sealed.
        read_features, write_features: what a reader, and a writer, must know.
        created_by: program and version, for people.
    """

    repo_id: Annotated[str, Meta(pattern=r"^[0-9a-zA-Z_\-]{8,64}\Z")]
    format: Annotated[int, Meta(ge=1, le=2**31)] = seal.FORMAT
    hash: Feature = HASH_NAME
    chunker: Params = DEFAULT
    pages: PageParams = field(default_factory=PageParams)
    pack_target: Annotated[int, Meta(ge=1, le=1 << 30)] = PACK_TARGET
    read_features: tuple[Feature, ...] = ()
    write_features: tuple[Feature, ...] = ()
    created_by: Annotated[str, Meta(max_length=200)] = ""


class _Format(Struct, frozen=True):
    format: int


def encode_repo(record: RepoRecord) -> bytes:
    """Return the bytes of repo.json; InvalidInput for parameters that cannot be."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2)
    body = text.removesuffix(b"\n}")
    data = body + _BEFORE_CHECK + hash_bytes(body).hex().encode() + _AFTER_CHECK
    try:
        decode_repo(data)
    except Corrupt as error:
        raise InvalidInput(f"the {ROLE} cannot be written", f"{error.what}: {error.why}") from error
    return data


def decode_repo(data: bytes) -> RepoRecord:
    """Return the record.

    Raises:
        Corrupt: damaged or malformed.
        RemoteRefused: whole, but of another format or hash: named.
    """
    if not _SUFFIX < len(data) <= MAX_RECORD:
        raise Corrupt(f"the {ROLE} is damaged", f"it has {len(data)} bytes")
    body, suffix = data[:-_SUFFIX], data[-_SUFFIX:]
    if suffix != _BEFORE_CHECK + hash_bytes(body).hex().encode() + _AFTER_CHECK:
        raise Corrupt(f"the {ROLE} is damaged", "its bytes do not match the check at its end")
    with seal.reading(ROLE):
        number = msgspec.json.decode(data, type=_Format).format
        if number != seal.FORMAT:
            raise _refused(f"format {number}")
        record = msgspec.json.decode(data, type=RepoRecord)
        check_chunker(record.chunker)
        check_pages(record.pages)
    if record.hash != HASH_NAME:
        raise _refused(f"the hash function {record.hash!r}")
    return record


def require(record: RepoRecord, write: bool) -> None:
    """Raise RemoteRefused naming the features without which this program must not read (or write) the repository."""
    unknown = set(record.read_features) - READ_FEATURES
    if write:
        unknown |= set(record.write_features) - WRITE_FEATURES
    if unknown:
        verb = "written to" if write else "read"
        raise _refused("features " + ", ".join(sorted(unknown)), f"without them it must not be {verb}")


def _refused(what: str, why: str = "this syncd does not know it") -> RemoteRefused:
    return RemoteRefused(f"the repository uses {what}", why, "update syncd on this node")
