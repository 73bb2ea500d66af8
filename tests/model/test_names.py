"""Words from outside: what may be a name, a type, an alias, a path; everything else is refused with a typed error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncd.errors import InvalidInput
from syncd.format import keys
from syncd.model import names
from syncd.model.names import ArtifactKey

NUL, LONG = "a\0b", "a" * (names.NAME_LIMIT + 1)

HOSTILE: list[tuple[Callable[[Any], object], list[Any]]] = [
    (names.check_name, ["", NUL, LONG, "a/b", "../a", "a b", "a:v1", "a\n", "ä", "a%2e", "a\\b"]),
    (names.check_type, ["", LONG, "a/b", "a:b", "job", "wandb-", "wandb-history"]),
    (names.check_project, ["", NUL, LONG, "a/b", "a\\b", "a#b", "a?b", "a%2fb", "a:b", "a\nb", "a\rb"]),
    (names.check_alias, ["", LONG, "a/b", "a:b", "v0", "v17"]),
    (names.check_tag, ["", NUL, LONG, " a", "a ", "a/b", "a:b", "a\tb", "a\n", "a,b"]),
    (names.check_absolute, [b"", b"a", b"./a", b"/a\0b"]),
    (
        names.check_entry_path,
        [
            b"", b"/a", b"a/", b"a//b", b".", b"..", b"a/..", b"../a", b"a/./b", b"a\0b",
            b"a" * (names.PATH_COMPONENT_LIMIT + 1), b"/".join([b"a"] * (names.PATH_DEPTH_LIMIT + 1)),
        ],
    ),
]  # fmt: skip

GOOD: list[tuple[Callable[[Any], object], list[Any]]] = [
    (names.check_name, ["a", LONG[1:], "resnet-50_v1.2", "v1", "latest"]),
    (names.check_type, ["model", LONG[1:], "jobs", "my wandb-run"]),
    (names.check_project, ["p", LONG[1:], "my project", "größe"]),
    (names.check_alias, ["best", LONG[1:], "v01", "v", "version-1", "grün"]),
    (names.check_tag, ["a", LONG[1:], "two words", "größe"]),
    (names.check_absolute, [b"/", b"/a/../b", b"/\xff"]),
    (
        names.check_entry_path,
        [
            b"a", b"...", b"a/..b", b"\xff\n", b"a" * names.PATH_COMPONENT_LIMIT,
            b"/".join([b"a"] * names.PATH_DEPTH_LIMIT),
        ],
    ),
]  # fmt: skip


def cases(table: list[tuple[Callable[[Any], object], list[Any]]]) -> list[Any]:
    return [
        pytest.param(check, word, id=f"{check.__name__}-{str(word)[:20]!a}") for check, words in table for word in words
    ]


@pytest.mark.parametrize(("check", "word"), cases(HOSTILE))
def test_a_hostile_word_is_refused(check: Callable[[Any], object], word: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        check(word)
    assert caught.value.why, "who asked is told what may be used instead"
    assert "\n" not in caught.value.what.replace("\\n", ""), "the word is shown escaped: it cannot add a line to a log"


@pytest.mark.parametrize(("check", "word"), cases(GOOD))
def test_a_good_word_comes_back_as_it_was(check: Callable[[Any], object], word: Any) -> None:
    assert check(word) == word


@pytest.mark.parametrize("word", [".", "..", "...", ".tmp", "-", "--", "v1", "latest", "ckpt", "log", "CON"])
def test_a_name_that_only_looks_harmless_stays_one_part_of_a_key(word: str) -> None:
    """Dots are letters of a name; no name leads out of the artifact's own folder in the remote."""
    project, name = names.check_project("p"), names.check_name(word)
    parts = keys.slot_key(keys.artifact_log(ArtifactKey(project, name)), 0).split("/")
    assert len(parts) == 5
    assert not {"", ".", ".."} & set(parts)


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": float("nan")}, {"x": float("inf")}, {"x": [{"y": -float("inf")}]}, {"x": b"bytes"}, {"x": {1: 2}},
        {"x": (1, 2)}, {str(n): n for n in range(names.METADATA_KEYS + 1)},
    ],
    ids=["nan", "inf", "deep inf", "bytes", "number as key", "tuple", "too many"],
)  # fmt: skip
def test_metadata_that_is_not_json_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="metadata"):
        names.check_metadata(metadata)


def test_metadata_nested_without_end_is_refused_and_not_followed() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = [loop]
    with pytest.raises(InvalidInput, match="nested too deeply"):
        names.check_metadata(loop)
    fine: dict[str, Any] = {"a": [1, 2.5, None, True, "x", {"b": {}}]}
    assert names.check_metadata(fine) is fine


@pytest.mark.parametrize("word", ["v", "v01", "v-1", "v1 ", "v1\n", "V1", "1", "v" + "9" * 19, "v\N{SUPERSCRIPT TWO}"])
def test_what_is_not_a_version_number_is_none(word: str) -> None:
    assert names.version_number(word) is None
    assert names.version_number("v0") == 0
    assert names.version_number("v" + "9" * 18) == 10**18 - 1
