"""Addresses of buckets are read strictly, have one spelling, and never carry or repeat a secret."""

from __future__ import annotations

import pytest

from syncd.errors import InvalidInput
from syncd.settings.secrets import mask_url
from syncd.store.address import parse_remote


@pytest.mark.parametrize(
    ("url", "kind", "bucket", "prefix", "spelt"),
    [
        ("s3://models", "s3", "models", "", "s3://models"),
        ("s3://models/", "s3", "models", "", "s3://models"),
        ("s3://models/a/b/", "s3", "models", "a/b", "s3://models/a/b"),
        (
            "s3://m.x/p?region=eu-west-1&endpoint=http://h:1/",
            "s3", "m.x", "p", "s3://m.x/p?endpoint=http://h:1&region=eu-west-1",
        ),
        ("s3://m?endpoint=https%3A%2F%2Fh", "s3", "m", "", "s3://m?endpoint=https://h"),
        ("s3://m?anonymous=true&style=virtual", "s3", "m", "", "s3://m?anonymous=true&style=virtual"),
        ("s3://m?anonymous=false&profile=dev", "s3", "m", "", "s3://m?profile=dev"),
        ("gs://m/x", "gs", "m", "x", "gs://m/x"),
        ("az://m/x?account=acc", "az", "m", "x", "az://m/x?account=acc"),
    ],
)  # fmt: skip
def test_an_address_has_one_spelling(url: str, kind: str, bucket: str, prefix: str, spelt: str):
    address = parse_remote(url)
    assert (address.kind, address.bucket, address.prefix, address.url) == (kind, bucket, prefix, spelt)
    assert parse_remote(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:SECRET@bucket/x",
        "s3://SECRET@bucket",
        "az://c/x?sig=SECRET",
        "az://c/x?SECRET",
        "s3://b/x?access_key_id=a&secret_access_key=SECRET",
        "s3://b?X-Amz-Signature=SECRET",
        "s3://b?endpoint=http://u:SECRET@h:1",
        "s3://b?endpoint=http://h:1/?SECRET",
        "s3://b?region=a b SECRET",
        "s3://b/x#SECRET",
        "gs://b?profile=SECRET",
        "s3://b?profile=SECRET&profile=x",
        "s3:///SECRET",
        "s3://b/a//SECRET",
        "s3://b/../SECRET",
        "s3://b/SECRET%2F..",
        "s3:b/SECRET",
        "s3://[SECRET",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str):
    with pytest.raises(InvalidInput) as caught:
        parse_remote(url)
    assert "SECRET" not in str(caught.value) + repr(caught.value.__cause__)


def test_what_is_printed_of_an_address_shows_its_place_and_nothing_that_could_be_a_secret():
    plain = "s3://b/x?endpoint=http://127.0.0.1:9000&region=eu-west-1"
    assert mask_url(plain) == plain
    assert mask_url("s3://u:p@b/x?endpoint=http://u:p@h&region=wJalrXUtn&sig=x&abc") == (
        "s3://***@b/x?endpoint=***&region=***&sig=***&***"
    )
