"""What may be called what, checked before the daemon is asked: W&B's rules, in W&B's words where it has words.

The daemon checks the same ones again (syncd/model/names.py); a test holds the two together.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from syncd_client.errors import InvalidInput, InvalidType

NAME_LIMIT = 128
METADATA_KEYS = 100
METADATA_DEPTH = 32
LATEST = "latest"

_NAME = re.compile(r"[a-zA-Z0-9_\-.]+\Z")
_PROJECT_REFUSED = re.compile(r"[/\\#?%:\r\n\x00]")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})\Z")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*\Z")
_RESERVED = {"run_table": "run-", "code": "source-"}


def check_name(name: str) -> str:
    """Return an artifact name that may be used, else raise InvalidInput."""
    if not _NAME.match(name):
        raise InvalidInput(
            "Artifact name may only contain alphanumeric characters, dashes, underscores, and dots. "
            f"Invalid name: {name!r}"
        )
    if len(name) > NAME_LIMIT:
        raise InvalidInput(f"Artifact name is longer than {NAME_LIMIT} characters: {name[:NAME_LIMIT]!r} ...")
    return name


def check_type(kind: str, name: str) -> str:
    """Return an artifact type that may be used for `name`, else raise InvalidInput."""
    if not kind or len(kind) > NAME_LIMIT or "/" in kind or ":" in kind:
        raise InvalidInput(f"invalid artifact type: {kind!r}", "types are 1 to 128 characters without '/' and ':'")
    reserved = _RESERVED.get(kind)
    if kind == "job" or kind.startswith("wandb-") or (reserved and name.startswith(reserved)):
        raise InvalidInput(f"Artifact type {kind!r} is reserved for internal use. Please use a different type.")
    return kind


def check_project(project: str) -> str:
    """Return a project name that may be used, else raise InvalidInput."""
    if not project or len(project) > NAME_LIMIT or _PROJECT_REFUSED.search(project):
        raise InvalidInput(
            f"invalid project name: {project!r}", "projects are 1 to 128 characters without / \\ # ? % : or line breaks"
        )
    return project


def check_run_id(run_id: str) -> str:
    """Return a run's id that may be used, else raise InvalidInput."""
    if not run_id or len(run_id) > NAME_LIMIT or _PROJECT_REFUSED.search(run_id):
        raise InvalidInput(
            f"invalid run id: {run_id!r}", "run ids are 1 to 128 characters without / \\ # ? % : or line breaks"
        )
    return run_id


def check_aliases(aliases: Iterable[str] | str | None) -> list[str]:
    """Return the aliases to set, in order, once each; "latest" is left out, for the newest version always has it."""
    checked = []
    for alias in _listed(aliases):
        if not alias or len(alias) > NAME_LIMIT or "/" in alias or ":" in alias:
            raise InvalidInput(f"invalid alias: {alias!r}", "Aliases must not contain any of the characters: '/', ':'")
        if _VERSION.match(alias):
            raise InvalidInput(f"invalid alias: {alias!r}", "v0, v1, ... are given by the log", "choose another word")
        if alias != LATEST:
            checked.append(alias)
    return checked


def check_tags(tags: Iterable[str] | str | None) -> list[str]:
    """Return the tags to set, in order, once each; else raise InvalidInput."""
    checked = _listed(tags)
    for tag in checked:
        if len(tag) > NAME_LIMIT or not _TAG.match(tag):
            raise InvalidInput(
                f"Invalid tag: {tag!r}",
                "tags hold alphanumeric characters separated by hyphens, underscores, and/or spaces",
            )
    return checked


def check_metadata(metadata: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Return a copy of the metadata made of JSON values only: NaN becomes None, tuples lists, array scalars numbers.

    Text is read as JSON; objects of foreign classes become their text.

    Raises InvalidInput (a ValueError) for infinities and too many keys, InvalidType (a TypeError) for other values.
    """
    if isinstance(metadata, str):
        metadata = _parsed(metadata)
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidType(f"metadata must be a dict, or the JSON text of one, not of type {type(metadata).__name__}")
    if len(metadata) > METADATA_KEYS:
        raise InvalidInput(f"Artifact must not have more than {METADATA_KEYS} metadata keys; it has {len(metadata)}")
    return {_key(key, "metadata"): _json(value, f"metadata.{key}", 1) for key, value in metadata.items()}


def check_policy(policy: str | None) -> str:
    """Return the pin policy, else raise InvalidInput."""
    if policy not in (None, "mutable", "immutable"):
        raise InvalidInput(f"Invalid policy {policy!r}. Policy may only be `mutable` or `immutable`.")
    return policy or "mutable"


def entry_path(name: str | bytes | os.PathLike[str]) -> bytes:
    """Return the canonical path of an entry, as bytes; else raise InvalidInput."""
    raw = os.fsencode(name)
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if raw.startswith(b"/") or not parts or b".." in parts or b"\x00" in raw:
        raise InvalidInput(f"Invalid artifact path: {os.fsdecode(name)!r}", "paths are relative, without '..'")
    return b"/".join(parts)


def parse_ref(name: str) -> tuple[str, str, str]:
    """Return (project, name, ref) of `[[entity/]project/]name[:alias]`; absent parts are "", "latest".

    There are no entities here: one that is named is not looked at.
    """
    path, _, ref = name.partition(":")
    parts = path.split("/")
    if len(parts) > 3 or not all(parts):
        raise InvalidInput(f"Invalid artifact path: {name!r}", "say [project/]name[:alias]")
    project = check_project(parts[-2]) if len(parts) > 1 else ""
    return project, check_name(parts[-1]), ref or LATEST


def _listed(words: Iterable[str] | str | None) -> list[str]:
    if words is None:
        return []
    return list(dict.fromkeys([words] if isinstance(words, str) else words))


def _parsed(text: str) -> Any:
    import json

    try:
        return json.loads(text) if text else None
    except ValueError as error:
        why = f"{text[:40]!r} cannot be read as JSON: {error}"
        raise InvalidInput("metadata must be a dict, or the JSON text of one", why) from None


def _json(value: Any, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return _whole(int(value), where)
    if isinstance(value, float):
        if math.isinf(value):
            raise InvalidInput(f"{where} is {value}", "Out of range float values are not JSON compliant")
        return None if math.isnan(value) else float(value)
    if depth > METADATA_DEPTH:
        raise InvalidInput(f"{where} is nested too deeply", f"at most {METADATA_DEPTH} levels are kept")
    if isinstance(value, Mapping):
        return {_key(key, where): _json(inner, f"{where}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(inner, where, depth + 1) for inner in value]
    return _foreign(value, where, depth)


def _foreign(value: Any, where: str, depth: int) -> Any:
    for way in ("item", "tolist", "isoformat"):  # numbers and arrays of numpy, torch, jax; dates
        if callable(getattr(value, way, None)):
            try:
                return _json(getattr(value, way)(), where, depth + 1)
            except (ValueError, RuntimeError) as error:
                if way != "item" or isinstance(error, InvalidInput):
                    raise
    if type(value).__module__ != "builtins":  # a path, an enum, a config class: its words, as W&B keeps them
        return str(value)
    raise InvalidType(
        f"{where} is of type {type(value).__name__}",
        "metadata holds JSON values only",
        "give text, numbers, true or false, None, lists and dicts",
    )


def _whole(value: int, where: str) -> int:
    if not -(1 << 63) <= value < 1 << 64:
        raise InvalidInput(f"{where} is {value}", "whole numbers have at most 64 bits")
    return value


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool):  # as json.dumps writes them
        return "null" if key is None else str(key).lower()
    if isinstance(key, int | float):
        return str(key)
    raise InvalidType(f"{where} has the key {key!r}", "keys are text")


def check_group(group: str) -> str:
    """Return the name of a group of ranks, else raise InvalidInput."""
    if not isinstance(group, str) or not 0 < len(group) <= 128 or not group.isprintable():
        raise InvalidInput(f"Invalid group: {group!r}", "it is 1 to 128 printable characters")
    return group
