"""The grammars of values: what is read is what a person meant, and what is shown can be read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.settings import kinds
from syncd.settings.secrets import mask_url


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("17", 17), ("17 B", 17), ("1KiB", 1024), ("1kB", 1000), ("256MiB", 256 << 20), ("1.5 GiB", 3 << 29),
     ("2T", 2 * 10**12), ("3g", 3 * 10**9)],
)  # fmt: skip
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert kinds.SIZE.read(text, True) == kinds.SIZE.read(text, False) == size


@given(st.integers(0, 1 << 60))
def test_a_size_that_is_shown_reads_back_the_same(size: int) -> None:
    assert kinds.SIZE.read(kinds.SIZE.show(size), False) == size


@given(st.floats(0, 1e9))
def test_a_duration_that_is_shown_reads_back_the_same(seconds: float) -> None:
    assert kinds.DURATION.read(kinds.DURATION.show(seconds), False) == seconds


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [(kinds.DURATION, 600.0, "10min"), (kinds.DURATION, 0.2, "200ms"), (kinds.DURATION, 90.0, "90s"),
     (kinds.DURATION, 0.0, 0), (kinds.SIZE, 256 << 20, "256MiB"), (kinds.SIZE, 1000, "1000B"), (kinds.SIZE, 0, 0)],
)  # fmt: skip
def test_what_is_shown_has_its_unit(kind: kinds.Kind, value: float, text: object) -> None:
    assert kind.show(value) == text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("250 ms", 0.25), ("10min", 600), ("1h", 3600)]
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert kinds.DURATION.read(text, True) == seconds


@pytest.mark.parametrize(
    ("kind", "value"),
    [(kinds.SIZE, "-1"), (kinds.SIZE, -1), (kinds.SIZE, "1 parsec"), (kinds.SIZE, ""), (kinds.SIZE, True),
     (kinds.DURATION, float("inf")), (kinds.DURATION, float("nan")), (kinds.DURATION, "soon"), (kinds.COUNT, -1),
     (kinds.COUNT, 1.5), (kinds.SHARE, 0), (kinds.SHARE, 1.1), (kinds.PATH, "x"), (kinds.PATH, "/a\0b"),
     (kinds.WEB, "127.0.0.1:99999"), (kinds.WEB, "example.org:80"), (kinds.URL, "x"), (kinds.PATHS, ["/a", 1])],
)  # fmt: skip
def test_nonsense_is_refused(kind: kinds.Kind, value: object) -> None:
    with pytest.raises(ValueError):
        kind.read(value, False)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///mnt/a%20b", "file:///mnt/a%20b"),
        ("s3://key:secret@bucket/p", "s3://***@bucket/p"),
        ("https://token@host:1/p?sig=abc&x=", "https://***@host:1/p?sig=***&x=***"),
        ("https://host/?justasecret", "https://host/?***"),
        ("https://host/p#secret", "https://host/p"),
        ("memory:", "memory:"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown
