"""Names, references and paths: what may be called what, checked once.

The rules are those people know from W&B (docs/PROTOCOL.md repeats them); the client checks the same ones early.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from syncd.errors import InvalidInput

NAME_LIMIT = 128
METADATA_KEYS = 100
PATH_COMPONENT_LIMIT = 255
PATH_DEPTH_LIMIT = 128
LATEST = "latest"

EntryType = Literal["file", "symlink", "dir", "reference"]

_NAME = re.compile(r"[a-zA-Z0-9_\-.]+\Z")
_PROJECT_REFUSED = re.compile(r"[/\\#?%:\r\n\x00]")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})\Z")
_TAG = re.compile(r"[-\w]+( +[-\w]+)*\Z")


@dataclass(frozen=True, slots=True, order=True)
class ArtifactKey:
    """Which artifact: its project and its name."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"


def check_name(name: str) -> str:
    """Return an artifact name that may be used, else raise InvalidInput."""
    if len(name) > NAME_LIMIT or not _NAME.match(name):
        raise InvalidInput(
            f"invalid artifact name: {name!r}",
            "names may hold letters, digits, dashes, underscores and dots, at most 128 of them",
        )
    return name


def check_type(kind: str) -> str:
    """Return an artifact type that may be used, else raise InvalidInput."""
    if not kind or len(kind) > NAME_LIMIT or "/" in kind or ":" in kind:
        raise InvalidInput(f"invalid artifact type: {kind!r}", "types are 1 to 128 characters without '/' and ':'")
    if kind == "job" or kind.startswith("wandb-"):
        raise InvalidInput(f"reserved artifact type: {kind!r}", "'job' and 'wandb-...' are taken", "use another type")
    return kind


def check_project(project: str) -> str:
    """Return a project name that may be used, else raise InvalidInput."""
    if not project or len(project) > NAME_LIMIT or _PROJECT_REFUSED.search(project):
        raise InvalidInput(
            f"invalid project name: {project!r}",
            "projects are 1 to 128 characters without / \\ # ? % : or line breaks",
        )
    return project


def check_alias(alias: str) -> str:
    """Return an alias that may be given, else raise InvalidInput. Version numbers are not aliases."""
    if not alias or len(alias) > NAME_LIMIT or "/" in alias or ":" in alias:
        raise InvalidInput(f"invalid alias: {alias!r}", "aliases are 1 to 128 characters without '/' and ':'")
    if _VERSION.match(alias):
        raise InvalidInput(f"invalid alias: {alias!r}", "v0, v1, ... are given by the log", "choose another word")
    return alias


def check_tag(tag: str) -> str:
    """Return a tag that may be given, else raise InvalidInput."""
    if len(tag) > NAME_LIMIT or not _TAG.match(tag):
        raise InvalidInput(f"invalid tag: {tag!r}", "tags hold letters, digits, dashes, underscores, inner spaces")
    return tag


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata that may be stored: at most 100 keys, JSON values, no infinities; else raise InvalidInput."""
    if len(metadata) > METADATA_KEYS:
        raise InvalidInput(f"metadata has {len(metadata)} keys", f"at most {METADATA_KEYS} are kept")
    _check_json(metadata, "metadata", 0)
    return metadata


def _check_json(value: Any, where: str, depth: int) -> None:
    if depth > 32:
        raise InvalidInput(f"{where} is nested too deeply", "at most 32 levels are kept")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidInput(f"{where} has the key {key!r}", "keys are text")
            _check_json(inner, f"{where}.{key}", depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_json(inner, where, depth + 1)
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise InvalidInput(f"{where} is {value}", "Out of range float values are not JSON compliant")
    elif value is not None and not isinstance(value, str | int | float | bool):
        raise InvalidInput(f"{where} is of type {type(value).__name__}", "metadata holds JSON values only")


def check_absolute(path: bytes) -> bytes:
    """Return a path of this node unchanged, or raise InvalidInput: relative, or one that no file can have."""
    if not path.startswith(b"/") or b"\x00" in path:
        raise InvalidInput(
            f"not an absolute path: {printable(path)!r}", "the daemon has a directory of its own", "give the whole path"
        )
    return path


def check_entry_path(path: bytes) -> bytes:
    """Return a path an artifact may hold (relative, canonical, POSIX), else raise InvalidInput."""
    parts = path.split(b"/")
    if not path or b"\x00" in path or any(part in (b"", b".", b"..") for part in parts):
        raise InvalidInput(
            f"Invalid artifact path: {printable(path)!r}",
            "paths are relative, without '.', '..' and empty parts",
        )
    if len(parts) > PATH_DEPTH_LIMIT or any(len(part) > PATH_COMPONENT_LIMIT for part in parts):
        raise InvalidInput(
            f"Invalid artifact path: {printable(path)!r}",
            "at most 128 parts of at most 255 bytes each are kept",
        )
    return path


def version_number(ref: str) -> int | None:
    """Return 3 for "v3", None for anything that is not a version number."""
    match = _VERSION.match(ref)
    return int(match.group(1)) if match else None


def printable(path: bytes) -> str:
    """Return a path for people to read; bytes that are not UTF-8 show as escapes."""
    return path.decode("utf-8", "backslashreplace")
