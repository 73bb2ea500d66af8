"""Members that W&B has and this library has not yet, and what to use until then.

Asking for one is an AttributeError, as for any other name (so `hasattr` is false), but one that helps; setting one is
refused too, because a value that nobody reads would be lost silently. Whoever offers a member deletes its line here: a
test refuses a name that stands here and is offered.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

C = TypeVar("C", bound=type)

_LIST_FILES = "`syncctl files NAME:vN` lists a version's files"
_RELOG = "log the same content again with other aliases: they move"
_REFERENCES = "add the files themselves, or put the address into `metadata`"
_READ_SYNCCTL = "`syncctl show NAME:vN` shows it"
_VERBS = "`syncctl ls`, `show`, `files` and `rm` do this from a shell"
_LINEAGE = "the run and what it used are recorded in the log; `syncctl show NAME:vN` names the run"
_LINKS = "give the version an alias when it is logged"
_MODELS = "use log_artifact and use_artifact with type='model'"
_TRACKER = "syncd carries artifacts only: keep your tracker for the rest"

ARTIFACT = {
    "add": "write the object to a file: new_file() or add_file()",
    "add_reference": _REFERENCES,
    "checkout": "use download() into an empty directory",
    "collection": "`name` without its version is the collection",
    "commit_hash": "`digest` names the content",
    "created_at": _READ_SYNCCTL,
    "delete": "`syncctl rm NAME:vN`",
    "entity": "there are no entities here, only `project`",
    "file": "use download(), then open the file in that directory",
    "files": _LIST_FILES,
    "get": "use download(), then open the file in that directory",
    "get_added_local_path_name": "add_file() returns the entry, whose `path` is its name",
    "get_entry": _LIST_FILES,
    "get_path": _LIST_FILES,
    "history_step": _TRACKER,
    "is_link": _LINKS,
    "link": _LINKS,
    "linked_artifacts": _LINKS,
    "linked_at": _LINKS,
    "logged_by": _LINEAGE,
    "manifest": _LIST_FILES,
    "new_draft": "build the artifact from the whole content: what is stored already is not sent again",
    "remove": "begin a new Artifact without that file",
    "save": f"use log_artifact; for aliases of a version, {_RELOG}",
    "source_artifact": _LINKS,
    "source_collection": _LINKS,
    "source_entity": _LINKS,
    "source_name": "use `name`",
    "source_project": "use `project`",
    "source_qualified_name": "use `qualified_name`",
    "source_version": "use `version`",
    "ttl": "`syncctl rm NAME:vN` when it is not wanted any more",
    "unlink": _LINKS,
    "updated_at": _READ_SYNCCTL,
    "url": "`qualified_name` names the version",
    "used_by": _LINEAGE,
}
RUN = {
    "entity": "there are no entities here, only `project`",
    "link_artifact": _LINKS,
    "link_model": _LINKS,
    "log": _TRACKER,
    "log_model": _MODELS,
    "logged_artifacts": _LINEAGE,
    "save": "use log_artifact, or `syncctl watch add DIR` for what is written as time goes on",
    "summary": _TRACKER,
    "url": _TRACKER,
    "use_model": _MODELS,
    "used_artifacts": _LINEAGE,
}
MODULE = {
    "Api": _VERBS,
    "ArtifactTTL": ARTIFACT["ttl"],
    "Image": ARTIFACT["add"],
    "Table": ARTIFACT["add"],
    "config": "use the run's: init(config=...).config",
    "link_model": _LINKS,
    "log": _TRACKER,
    "log_model": _MODELS,
    "login": "no login is needed: leave the call out",
    "save": RUN["save"],
    "summary": _TRACKER,
    "use_model": _MODELS,
}


class NotOffered:
    """Stands in a class for a member that is not there."""

    def __init__(self, owner: str, name: str, instead: str) -> None:
        self._text = told(f"{owner}.{name}", instead)
        self._name = name

    def __get__(self, found: Any, kind: type | None = None) -> NoReturn:
        raise AttributeError(self._text, name=self._name, obj=found)

    def __set__(self, found: Any, value: Any) -> NoReturn:
        raise AttributeError(self._text, name=self._name, obj=found)


def without(owner: str, table: dict[str, str]) -> Any:
    """Return a class decorator that puts a NotOffered in the place of each member of the table."""

    def mark(kind: C) -> C:
        for name, instead in table.items():
            setattr(kind, name, NotOffered(owner, name, instead))
        return kind

    return mark


def told(name: str, instead: str) -> str:
    """Return the words for a member that is not there; "yet" where it is meant to come."""
    return f"{name} is not offered{'' if instead == _TRACKER else ' yet'}; {instead}"
