"""Where pinned bytes live: one directory a mount, `.syncd-spool-<uid>/<id>`, and one in the state directory.

A spool is made in the highest directory on the source's mount that we own or may write, because a hard link cannot
leave its mount; the state directory's own spool takes the rest. `<id>` is this journal's: two daemons of one user share
the outer directory and never each other's files, so a sweep removes only what is ours. Beside it the symlink
`<id>.owner` leads to the empty directory `spool-<id>` in the state directory, which goes when that goes: where the link
leads nowhere, nobody will ever empty the spool, and `syncd doctor` says so. No daemon removes another's spool.
While in use a spool is locked (claims.py), and what another daemon has locked is never taken up. A spool that somebody
removed is made again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from syncd.disk import Disk, disk_error
from syncd.journal.pins import SpoolRow
from syncd.pin import filesystems
from syncd.pin.claims import Claims

PREFIX = b".syncd-spool-"
_OWNER = b".owner"


@dataclass(frozen=True, slots=True)
class Spool:
    """A directory that holds pins. `local_disk`: bytes copied here do not live in memory."""

    path: bytes
    dev: int
    ino: int
    local_disk: bool

    def row(self) -> SpoolRow:
        """Return the journal row for it."""
        return SpoolRow(self.path, self.dev, self.ino)

    def free(self) -> int:
        """Return the bytes an ordinary user may still write there. Raises OSError."""
        facts = os.statvfs(self.path)
        return facts.f_bavail * facts.f_frsize


class Yard:
    """All spools of one daemon. Verbs that touch the disk run in a lane; the tables are changed by the loop only."""

    def __init__(
        self, disk: Disk, state_dir: bytes, tops: tuple[bytes, ...], spool_id: bytes, nonce: bytes, claims: Claims
    ) -> None:  # fmt: skip
        self._disk = disk
        self._tops = tuple(os.path.realpath(top) for top in tops)
        self._id = spool_id
        self._nonce = nonce
        self._claims = claims
        self.state_path = os.path.join(state_dir, b"spool", spool_id)
        self._mark = os.path.join(state_dir, b"spool-" + spool_id)
        self.by_path: dict[bytes, Spool] = {}
        self.by_mount: dict[int, bytes] = {}  # mount id -> path of its spool (the state spool when it has none)

    @property
    def state(self) -> Spool:
        """The state directory's spool; it must be known (prepare makes it)."""
        return self.by_path[self.state_path]

    def prepare(self, mounts: dict[int, bytes]) -> dict[int, Spool]:
        """Find or make the spool of each mount (id -> a directory on it), and the state spool under id -1.

        Changes no table: the caller journals what is new, then calls `adopt`.

        Raises:
            LocalDisk: the state directory cannot be written.
        """
        found = {}
        try:
            found[-1] = self._standing(self.state_path) or self._make(self.state_path)
        except OSError as error:
            raise disk_error(error, "cannot make a spool in the state directory", self.state_path) from error
        for mount, directory in mounts.items():
            known = self.by_mount.get(mount)
            spool = self._standing(known) if known is not None else None
            found[mount] = spool or self._find(mount, directory) or found[-1]
        return found

    def adopt(self, found: dict[int, Spool]) -> None:
        """Take prepared spools into use."""
        for mount, spool in found.items():
            self.by_path[spool.path] = spool
            if mount >= 0:
                self.by_mount[mount] = spool.path

    def refuge(self, spool: Spool) -> Spool:
        """Return where copies for a spool's files go: into itself, unless that is memory."""
        return spool if spool.local_disk else self.by_path.get(self.state_path, spool)

    def spool_of(self, place: bytes) -> Spool | None:
        """Return the spool a place lies in."""
        return self.by_path.get(os.path.dirname(place))

    def forget(self, path: bytes) -> None:
        """Take a removed spool out of use."""
        self.by_path.pop(path, None)
        self.by_mount = {mount: known for mount, known in self.by_mount.items() if known != path}

    def remove(self, path: bytes) -> bool:
        """Remove a spool's directory if it is empty, and the outer one if that is; return whether it is gone."""
        with suppress(OSError):
            gone = self._disk.remove_directory(path) or not os.path.lexists(path)
            if gone:
                self._disk.remove(path + _OWNER)
                self._claims.let_go(path)
                self._disk.remove_directory(os.path.dirname(path))
            return gone
        return False

    def open_known(self, row: SpoolRow, same_boot: bool) -> Spool | None:
        """Return a journalled spool if it is still that directory. Device numbers may change with a boot."""
        try:
            facts = os.lstat(row.path)
            self._claims.claim(row.path)
        except OSError:
            return None
        if not stat.S_ISDIR(facts.st_mode) or facts.st_ino != row.ino or (same_boot and facts.st_dev != row.dev):
            return None
        self._say_whose(row.path)
        return self._spool(row.path, facts)

    def close(self) -> None:
        """Let other daemons use the spools."""
        self._claims.close()

    def _standing(self, path: bytes) -> Spool | None:
        """Return a spool in use if its directory is still the one it was."""
        spool = self.by_path.get(path)
        try:
            facts = os.lstat(path)
        except OSError:
            return None
        return spool if spool is not None and (facts.st_dev, facts.st_ino) == (spool.dev, spool.ino) else None

    def _find(self, mount: int, directory: bytes) -> Spool | None:
        for top in self._candidates(mount, directory):
            with suppress(OSError):  # not ours to write, read-only, or somebody else's: the next lower one
                path = os.path.join(top, PREFIX + b"%d" % os.geteuid(), self._id)
                # One taken up at the start holds what an earlier life promised: it must not be made anew, and swept.
                return self._standing(path) or self._make(path)
        return None

    def _candidates(self, mount: int, directory: bytes) -> Iterator[bytes]:
        """Yield directories of the mount from its root down to `directory` that we own or may write."""
        root = filesystems.mount_point(mount)
        if root is None or not _below(directory, root):
            return
        rest = [part for part in directory[len(root) :].split(b"/") if part]
        for depth in range(len(rest) + 1):
            top = os.path.join(root, *rest[:depth])
            allowed = not self._tops or any(_below(top, limit) for limit in self._tops)
            if allowed and os.access(top, os.W_OK | os.X_OK):
                yield top

    def _make(self, path: bytes) -> Spool:
        """Make a spool's two directories, or accept them when they are ours alone.

        The journal knows no pin in it, so what is there from an earlier life is garbage (a power cut took the rows).
        What bears this life's nonce was put there by another lane just now. Where one of ours is to be made a second
        time, what lies there was put there by somebody else: it stays until the next start.
        """
        for directory in (os.path.dirname(path), path):
            self._disk.add_directory(directory)  # made durable with the first pin in it (syncing.py): nobody waits
            facts = os.lstat(directory)
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
                raise PermissionError(errno.EPERM, "not a private directory of ours", directory)
        self._claims.claim(path)
        for name in os.listdir(path):  # one look: what appears after it is of this life
            if path not in self.by_path and not name.startswith(self._nonce):
                self._disk.remove(os.path.join(path, name))
        self._say_whose(path)
        return self._spool(path, facts)

    def _say_whose(self, path: bytes) -> None:
        """Leave the name of our state directory beside a spool; where links cannot be made it goes without."""
        if path == self.state_path:
            return
        link = path + _OWNER
        with suppress(OSError):
            self._disk.make_directory(self._mark)  # before the link: that must not lead nowhere while we live
            if os.path.lexists(link):
                if os.readlink(link) == self._mark:
                    return
                self._disk.remove(link)
            self._disk.symlink(self._mark, link)

    def sweep(self, path: bytes, keep: frozenset[bytes]) -> int:
        """Remove every file of a spool that is not in `keep` (whole paths); return how many."""
        swept = 0
        for name in os.listdir(path):
            place = os.path.join(path, name)
            if place not in keep:
                self._disk.remove(place)
                swept += 1
        return swept

    def _spool(self, path: bytes, facts: os.stat_result) -> Spool:
        return Spool(path, facts.st_dev, facts.st_ino, filesystems.of_directory(path).local_disk)


def orphans(directories: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield this user's spools in the directories whose owner is gone, and where it was. Changes nothing."""
    for directory in directories:
        outer = os.path.join(directory, PREFIX + b"%d" % os.geteuid())
        with suppress(OSError):
            for name in sorted(os.listdir(outer)):
                spool, owner = os.path.join(outer, name.removesuffix(_OWNER)), b""
                if name.endswith(_OWNER) and os.path.isdir(spool):
                    owner = os.readlink(os.path.join(outer, name))
                if owner and not os.path.lexists(owner):
                    yield spool, os.path.dirname(owner)


def _below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")
