"""Looking before pinning: which entries a path has, on which mounts, and what cannot be kept.

Inside an added directory a relative symlink that stays inside is kept as a link; every other is followed: its file's
bytes are taken, its directory is walked (never into one we are in already). What has no bytes is skipped and told.
Spools are skipped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from syncd.errors import Conflict, InvalidInput
from syncd.model.names import check_absolute, check_entry_path, printable
from syncd.pin import filesystems
from syncd.pin.sources import require_regular, require_same, source_error
from syncd.pin.spool import PREFIX


@dataclass(frozen=True, slots=True)
class Found:
    """One entry seen: where it is, what it will be called. `mount` is meant for files."""

    path: bytes
    name: bytes
    type: str
    mode: int
    size: int = 0
    target: bytes = b""
    mount: int = -1
    follow: bool = False


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
    walker = _Walker(prefix, skip)
    walker.walk(root, facts)
    walker.survey.found.sort(key=lambda found: found.name)
    return walker.survey


@dataclass(frozen=True, slots=True)
class _Folder:
    """A directory to read: `name` below the root, `top` the name of the followed directory it is within."""

    path: bytes
    name: bytes
    top: bytes
    above: tuple[tuple[int, int], ...]


class _Walker:
    def __init__(self, prefix: bytes, skip: Callable[[bytes], bool]) -> None:
        self.survey = Survey()
        self._prefix = prefix + b"/" if prefix else b""
        self._skip = skip
        self._todo: list[_Folder] = []

    def walk(self, root: bytes, facts: os.stat_result) -> None:
        self._todo.append(_Folder(root, b"", b"", ((facts.st_dev, facts.st_ino),)))
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
                self._meet(folder, item, name, mount)
        if empty and folder.name:
            mode = stat.S_IMODE(os.stat(folder.path).st_mode)
            self._add(Found(folder.path, folder.name, "dir", mode))

    def _meet(self, folder: _Folder, item: os.DirEntry[bytes], name: bytes, mount: int) -> None:
        try:
            facts = item.stat(follow_symlinks=False)
        except FileNotFoundError as error:
            raise vanished(item.path) from error
        kind = stat.S_IFMT(facts.st_mode)
        if kind == stat.S_IFREG:
            self._add(Found(item.path, name, "file", stat.S_IMODE(facts.st_mode), facts.st_size, mount=mount))
        elif kind == stat.S_IFDIR:
            self._descend(folder, item.path, name, folder.top, facts)
        elif kind == stat.S_IFLNK:
            self._meet_link(folder, item.path, name, facts)
        else:
            self.survey.note("skipped: neither file, directory nor link", item.path)

    def _meet_link(self, folder: _Folder, path: bytes, name: bytes, facts: os.stat_result) -> None:
        target = os.readlink(path)
        if _stays_inside(name, target, folder.top):
            self._add(Found(path, name, "symlink", stat.S_IMODE(facts.st_mode), len(target), target))
            return
        try:
            real = os.path.realpath(path, strict=True)
            there = os.stat(real)
        except OSError:
            self.survey.note("skipped: a symlink out of the directory that leads nowhere", path)
            return
        if stat.S_ISDIR(there.st_mode):
            self.survey.note("a symlink out of the directory was followed: what it leads to is stored", path)
            self._descend(folder, real, name, name, there)
        elif stat.S_ISREG(there.st_mode):
            self.survey.note("a symlink out of the directory was followed: what it leads to is stored", path)
            mount = self.survey.mount_of(os.path.dirname(real))
            self._add(Found(real, name, "file", stat.S_IMODE(there.st_mode), there.st_size, mount=mount))
        else:
            self.survey.note("skipped: neither file, directory nor link", path)

    def _descend(self, folder: _Folder, path: bytes, name: bytes, top: bytes, facts: os.stat_result) -> None:
        identity = (facts.st_dev, facts.st_ino)
        if identity in folder.above:
            self.survey.note("skipped: a symlink that leads back to a directory it is in", path)
            return
        self._todo.append(_Folder(path, name, top, (*folder.above, identity)))

    def _add(self, found: Found) -> None:
        name = check_entry_path(self._prefix + found.name)
        self.survey.found.append(Found(found.path, name, found.type, found.mode, found.size, found.target, found.mount))


def _is_spool(item: os.DirEntry[bytes]) -> bool:
    """Whether this is a daemon's own directory, of whatever user; what is merely named alike is data."""
    return item.name.startswith(PREFIX) and item.name[len(PREFIX) :].isdigit() and item.is_dir(follow_symlinks=False)


def _stays_inside(name: bytes, target: bytes, top: bytes) -> bool:
    """Whether a link named `name` with this target never leaves `top` (both names below the root), by its letters."""
    if target.startswith(b"/"):
        return False
    depth = name.count(b"/") - (top.count(b"/") + 1 if top else 0)
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
        elif part not in (b"", b"."):
            depth += 1
        if depth < 0:
            return False
    return True


def vanished(path: bytes) -> Conflict:
    """Return the error for a file that went away while its directory was being added."""
    return Conflict(
        f"{printable(path)} went away while its directory was being added",
        "somebody deleted or renamed it",
        "add the directory again when nobody changes it",
    )
