"""Looking before pinning: which entries a path has, on which mounts, and what cannot be kept.

Inside an added directory a symlink that stays inside is kept as a link, an absolute one as the relative one that means
the same. One that leads out to a file is replaced by that file's bytes, and told; one that leads out to a directory is
refused, for what is behind it (a home, a whole disk) was hardly meant. What has no bytes is skipped and told. Spools
are skipped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from syncd.errors import Conflict, InvalidInput
from syncd.model.names import check_absolute, check_entry_path, printable
from syncd.pin import filesystems
from syncd.pin.sources import require_regular, require_same, source_error
from syncd.pin.spool import PREFIX


@dataclass(frozen=True, slots=True)
class Found:
    """One entry seen: where it is, what it will be called. `mount` is meant for files; `link`: what led there."""

    path: bytes
    name: bytes
    type: str
    mode: int
    size: int = 0
    target: bytes = b""
    mount: int = -1
    follow: bool = False
    link: bytes = b""


@dataclass(slots=True)
class Survey:
    """What a look found: entries, a directory of each mount, sentences about what is not as it seems."""

    found: list[Found] = field(default_factory=list)
    mounts: dict[int, bytes] = field(default_factory=dict)
    gaps: dict[str, list[bytes]] = field(default_factory=dict)

    def note(self, what: str, path: bytes) -> None:
        """Remember that `what` is true of a path."""
        self.gaps.setdefault(what, []).append(path)

    def mount_of(self, directory: bytes) -> int:
        """Return the mount a directory is on and remember it."""
        mount = filesystems.mount_id(directory)
        self.mounts.setdefault(mount, directory)
        return mount


def look_at_file(path: bytes, name: bytes, dev: int, ino: int, size: int) -> Survey:
    """Look at one file; a symlink the caller gave is followed.

    Raises:
        NotFound, InvalidInput, LocalDisk, Conflict: as `sources` says.
    """
    check_absolute(path)
    check_entry_path(name)
    survey = Survey()
    try:
        facts = os.stat(path)
        require_regular(facts, path)
        require_same(facts, path, dev, ino, size)
        mount = survey.mount_of(os.path.dirname(os.path.realpath(path)))
    except OSError as error:
        raise source_error(error, path) from error
    mode = stat.S_IMODE(facts.st_mode)
    survey.found.append(Found(path, name, "file", mode, facts.st_size, mount=mount, follow=True))
    return survey


def look_at_directory(
    path: bytes, prefix: bytes, dev: int, ino: int, skip: Callable[[bytes], bool] = lambda name: False
) -> Survey:
    """Walk a directory. `skip` is asked with each name relative to it; dev and ino of 0 are not checked.

    Raises:
        NotFound, InvalidInput, LocalDisk, Conflict: as `sources` says, naming the entry.
        InvalidInput: a symlink leads to a directory outside.
    """
    check_absolute(path)
    if prefix:
        check_entry_path(prefix)
    try:
        facts = os.stat(path)
        if not stat.S_ISDIR(facts.st_mode):
            raise InvalidInput(f"{printable(path)} is not a directory", "a directory is meant here", "use add_file")
        if dev or ino:
            require_same(facts, path, dev, ino, -1)
        root = os.path.realpath(path)
    except OSError as error:
        raise source_error(error, path) from error
    walker = _Walker(root, prefix, skip)
    walker.walk()
    walker.survey.found.sort(key=lambda found: found.name)
    return walker.survey


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory to read: `name` below the root."""

    path: bytes
    name: bytes


class _Walker:
    def __init__(self, root: bytes, prefix: bytes, skip: Callable[[bytes], bool]) -> None:
        self.survey = Survey()
        self._root = root
        self._prefix = prefix + b"/" if prefix else b""
        self._skip = skip
        self._todo: list[_Folder] = []

    def walk(self) -> None:
        self._todo.append(_Folder(self._root, b""))
        while self._todo:
            folder = self._todo.pop()
            try:
                self._read(folder)
            except OSError as error:
                raise source_error(error, folder.path) from error

    def _read(self, folder: _Folder) -> None:
        mount = self.survey.mount_of(folder.path)
        empty = True
        with os.scandir(folder.path) as listing:
            for item in listing:
                name = folder.name + b"/" + item.name if folder.name else item.name
                if self._skip(name):
                    continue
                if _is_spool(item):
                    self.survey.note("skipped: a spool of syncd", item.path)
                    continue
                empty = False
                self._meet(item, name, mount)
        if empty and folder.name:
            mode = stat.S_IMODE(os.stat(folder.path).st_mode)
            self._add(Found(folder.path, folder.name, "dir", mode))

    def _meet(self, item: os.DirEntry[bytes], name: bytes, mount: int) -> None:
        try:
            facts = item.stat(follow_symlinks=False)
        except FileNotFoundError as error:
            raise vanished(item.path) from error
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFREG:
            self._add(Found(item.path, name, "file", stat.S_IMODE(facts.st_mode), facts.st_size, mount=mount))
        elif kind == stat.S_IFDIR:
            self._todo.append(_Folder(item.path, name))
        elif kind == stat.S_IFLNK:
            self._meet_link(item.path, name, facts)
        else:
            self.survey.note("skipped: neither file, directory nor link", item.path)

    def _meet_link(self, path: bytes, name: bytes, facts: os.stat_result) -> None:
        target = os.readlink(path)
        if _stays_inside(name, target):
            self._keep_link(path, name, facts, target)
            return
        try:
            real = os.path.realpath(path, strict=True)
            there = os.stat(real)
        except OSError:
            self.survey.note("skipped: a symlink out of the directory that leads nowhere", path)
            return
        if real == self._root or real.startswith(self._root.rstrip(b"/") + b"/"):
            self.survey.note("a symlink within the directory: stored as the relative one that means the same", path)
            self._keep_link(path, name, facts, os.path.relpath(real, os.path.dirname(path)))
        elif stat.S_ISDIR(there.st_mode):
            raise _leads_out(path, real)
        elif stat.S_ISREG(there.st_mode):
            self.survey.note("a symlink out of the directory was followed: what it leads to is stored", path)
            mount = self.survey.mount_of(os.path.dirname(real))
            mode = stat.S_IMODE(there.st_mode)
            self._add(Found(real, name, "file", mode, there.st_size, mount=mount, link=path))
        else:
            self.survey.note("skipped: neither file, directory nor link", path)

    def _keep_link(self, path: bytes, name: bytes, facts: os.stat_result, target: bytes) -> None:
        self._add(Found(path, name, "symlink", stat.S_IMODE(facts.st_mode), len(target), target))

    def _add(self, found: Found) -> None:
        self.survey.found.append(replace(found, name=check_entry_path(self._prefix + found.name)))


def _is_spool(item: os.DirEntry[bytes]) -> bool:
    """Whether this is a daemon's own directory, of whatever user; what is merely named alike is data."""
    return item.name.startswith(PREFIX) and item.name[len(PREFIX) :].isdigit() and item.is_dir(follow_symlinks=False)


def _stays_inside(name: bytes, target: bytes) -> bool:
    """Whether a link named `name` (below the root) with this target never leaves the root, by its letters."""
    if target.startswith(b"/"):
        return False
    depth = name.count(b"/")
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            return False
    return True


def _leads_out(link: bytes, real: bytes) -> InvalidInput:
    return InvalidInput(
        f"the symlink {printable(link)} leads to a directory outside of what is added: {printable(real)}",
        "only links within the directory are kept as links, and links to files outside replaced by their bytes",
        "add that directory itself, by name, or leave the link out",
    )


def vanished(path: bytes) -> Conflict:
    """Return the error for a file that went away while its directory was being added."""
    return Conflict(
        f"{printable(path)} went away while its directory was being added",
        "somebody deleted or renamed it",
        "add the directory again when nobody changes it",
    )
