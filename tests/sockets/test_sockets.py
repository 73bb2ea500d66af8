"""A socket is the owner's alone, and nobody's file or living socket is ever mistaken for a stale one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from syncd.sockets import Occupant, bind_private, identity, occupant, remove


def test_a_bound_socket_is_closed_to_others_whatever_the_umask_was(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "s")
    before = os.umask(0)
    try:
        bind_private(path).close()
        assert os.umask(0) == 0, "the process's umask is as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_an_occupant_is_told_for_what_it_is(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "s")
    assert occupant(path) is Occupant.NOBODY
    with bind_private(path) as bound:
        assert occupant(path) is Occupant.STALE
        bound.listen(1)
        assert occupant(path) is Occupant.LISTENER
    assert occupant(path) is Occupant.STALE
    (tmp_path / "file").write_text("")
    assert occupant(os.fsencode(tmp_path / "file")) is Occupant.FILE


def test_only_our_own_name_is_removed(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "s")
    bind_private(path).close()
    ours = identity(path)
    remove(path, None)
    assert os.path.exists(path)
    os.rename(path, path + b".old")  # kept, so that its inode is not given to the next one
    bind_private(path).close()
    remove(path, ours)
    assert os.path.exists(path)
    remove(path, identity(path))
    assert not os.path.exists(path)
    remove(path, ours)
