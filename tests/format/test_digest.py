"""One hash, one way to say what a file holds."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from syncd.format.digest import HASH_BYTES, file_digest, hash_bytes


def test_the_hash_is_blake3_256() -> None:
    # the empty input's hash, from the BLAKE3 paper's test vectors
    assert hash_bytes().hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert len(hash_bytes(b"abc")) == HASH_BYTES


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_parts_hash_as_if_joined(parts: list[bytes]) -> None:
    assert hash_bytes(*parts) == hash_bytes(b"".join(parts)) == hash_bytes(*map(memoryview, parts))


def test_a_files_digest_is_as_documented() -> None:
    chunks = [(3, hash_bytes(b"abc")), (2, hash_bytes(b"de"))]
    told = b"syncd file 1\0" + b"".join(n.to_bytes(8, "little") + h for n, h in chunks)
    assert file_digest(chunks) == blake3(told).digest()
    assert file_digest([]).hex() == "d365831b9577bd2343a91cd3f012cad56027a64859efa54d31c773057e840889"


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)), min_size=2, max_size=5))
def test_order_length_and_hash_all_count(chunks: list[tuple[int, bytes]]) -> None:
    digest = file_digest(chunks)
    (length, content), *rest = chunks
    assert file_digest([(length ^ 1, content), *rest]) != digest
    assert file_digest([(length, content[::-1]), *rest]) != digest or content == content[::-1]
    assert file_digest(rest) != digest
    assert file_digest(chunks[::-1]) != digest or chunks == chunks[::-1]


@pytest.mark.parametrize("chunk", [(1, b"short"), (-1, bytes(32)), (1 << 64, bytes(32)), (1, bytes(33))])
def test_what_is_no_chunk_is_refused(chunk: tuple[int, bytes]) -> None:
    with pytest.raises(ValueError, match="not a chunk"):
        file_digest([chunk])
