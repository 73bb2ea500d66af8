"""The client's rules are W&B's, and the daemon's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import InvalidInput
from syncd.model import names
from syncd_client import errors, rules

EDGES = ["x" * 128, "x" * 129, "v0", "v01", "job", "wandb-x", "latest", "..", "."]
WORDS = st.text(max_size=8) | st.text("ab-_.:/v019 \n\\#?%\0é", max_size=8) | st.sampled_from(EDGES)


def _refused(check, *args) -> bool:
    try:
        check(*args)
    except (InvalidInput, errors.InvalidInput):
        return True
    return False


PAIRS = {
    "name": (rules.check_name, names.check_name),
    "type": (lambda word: rules.check_type(word, "x"), names.check_type),
    "project": (rules.check_project, names.check_project),
    "alias": (lambda word: rules.check_aliases([word]), names.check_alias),
    "tag": (lambda word: rules.check_tags([word]), names.check_tag),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_client_and_daemon_refuse_the_same_words(pair):
    @settings(max_examples=60, deadline=None)
    @given(WORDS)
    def same(word):
        assert _refused(pair[0], word) == _refused(pair[1], word)

    same()


@given(st.text("ab./\0é", max_size=12))
def test_every_path_the_client_sends_is_one_the_daemon_takes(name):
    try:
        path = rules.entry_path(name)
    except errors.InvalidInput:
        return
    assert names.check_entry_path(path) == path


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_metadata_that_passes_here_passes_in_the_daemon(metadata):
    try:
        kept = rules.check_metadata(metadata)
    except errors.InvalidInput:
        return
    assert names.check_metadata(kept) == kept


def test_metadata_as_w_and_b_keeps_it():
    class Scalar:
        def item(self):
            return 3

    class Array:
        def item(self):
            raise ValueError("can only convert an array of size 1 to a Python scalar")

        def tolist(self):
            return [1, math.nan]

    class Words:
        def __str__(self):
            return "words"

    given_ = {"a": math.nan, "b": (1, 2), "c": Scalar(), "d": Array(), "e": {1: True, None: None}, "f": Words()}
    assert rules.check_metadata(given_) == {
        "a": None, "b": [1, 2], "c": 3, "d": [1, None], "e": {"1": True, "null": None}, "f": "words",
    }  # fmt: skip
    assert rules.check_metadata('{"a": 1}') == {"a": 1}
    assert rules.check_metadata(None) == {}


@pytest.mark.parametrize(
    ("metadata", "kind"),
    [
        ({"a": math.inf}, ValueError),
        ({"a": {"b": [-math.inf]}}, ValueError),
        ({str(n): n for n in range(101)}, ValueError),
        ({"a": 1 << 64}, ValueError),
        ({"a": b"bytes"}, TypeError),
        (["a"], TypeError),
        ("{", ValueError),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(metadata, kind):
    with pytest.raises(kind):
        rules.check_metadata(metadata)


def test_latest_is_every_new_versions_and_need_not_be_said():
    assert rules.check_aliases(["latest", "best", "best"]) == ["best"]
    assert rules.check_aliases("best") == ["best"]
    assert rules.check_aliases(None) == []


def test_reserved_types():
    for kind, name in (("job", "x"), ("wandb-history", "x"), ("run_table", "run-1"), ("code", "source-x")):
        with pytest.raises(ValueError, match="reserved"):
            rules.check_type(kind, name)
    assert rules.check_type("code", "x") == "code"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("n", ("", "n", "latest")),
        ("n:v3", ("", "n", "v3")),
        ("p/n:best", ("p", "n", "best")),
        ("e/p/n:a/b", ("p", "n", "a/b")),
        ("n:", ("", "n", "latest")),
    ],
)
def test_references_are_read_as_w_and_b_reads_them(said, meant):
    assert rules.parse_ref(said) == meant


@pytest.mark.parametrize("said", ["", "a/b/c/d", "/n", "p//n", "a b", ":v3"])
def test_references_that_mean_nothing_are_value_errors(said):
    with pytest.raises(ValueError, match="nvalid"):
        rules.parse_ref(said)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("hi", "metadata must be a dict, or the JSON text of one\n'hi' cannot be read as JSON"),
        ([1], "metadata must be a dict, or the JSON text of one, not of type list"),
        ({"a": object()}, "metadata.a is of type object\nmetadata holds JSON values only"),
    ],
)
def test_metadata_is_refused_in_words_that_help(metadata, said):
    with pytest.raises(errors.InvalidInput) as caught:
        rules.check_metadata(metadata)
    assert str(caught.value).startswith(said)
