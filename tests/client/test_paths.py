"""Where things lie: the environment first, then XDG."""

from __future__ import annotations

import os
import pwd
import socket
import stat

import pytest

from syncd_client import paths
from syncd_client.errors import InvalidInput


@pytest.fixture
def env(home, monkeypatch, tmp_path):
    for name in ("SYNCD_SOCKET", "SYNCD_STATE_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("TMPDIR", home)
    return monkeypatch


def test_everything_follows_xdg(env):
    assert paths.state_dir() == b"/home/me/.local/state/syncd"
    assert paths.cache_dir() == b"/home/me/.cache/syncd"
    env.setenv("XDG_STATE_HOME", "/s")
    env.setenv("XDG_CACHE_HOME", "/c")
    env.setenv("XDG_RUNTIME_DIR", "/r")
    assert (paths.state_dir(), paths.cache_dir(), paths.default_socket()) == (
        b"/s/syncd",
        b"/c/syncd",
        b"/r/syncd/syncd.sock",
    )


def test_our_own_variables_win_and_are_made_absolute(env, tmp_path):
    env.setenv("XDG_RUNTIME_DIR", "/r")
    for name in ("SYNCD_SOCKET", "SYNCD_STATE_DIR", "SYNCD_CACHE_DIR"):
        env.setenv(name, "x")
    env.chdir("/usr")
    assert {paths.default_socket(), paths.state_dir(), paths.cache_dir()} == {b"/usr/x"}


def test_the_machines_socket_for_this_user_wins_where_it_is_there_and_ours(env, home, monkeypatch):
    env.setenv("XDG_RUNTIME_DIR", "/r")
    monkeypatch.setattr(paths, "MACHINE_SOCKETS", os.fsencode(home))
    place = os.path.join(home, pwd.getpwuid(os.getuid()).pw_name, "syncd.sock")
    os.mkdir(os.path.dirname(place))
    assert paths.default_socket() == b"/r/syncd/syncd.sock"
    with open(place, "w"):
        assert paths.default_socket() == b"/r/syncd/syncd.sock", "no socket"
    os.unlink(place)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        assert paths.default_socket() == os.fsencode(place)
        env.setenv("SYNCD_SOCKET", "/x")
        assert paths.default_socket() == b"/x"
        env.delenv("SYNCD_SOCKET")
        me = pwd.getpwuid(os.getuid())
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: me)
        monkeypatch.setattr(os, "getuid", lambda: 0 if os.geteuid() else 4242)
        assert paths._machines_socket() == b"", "of another user"


def test_without_a_runtime_directory_the_socket_lies_in_a_private_one(env, home):
    place = paths.default_socket()
    folder = os.path.join(os.fsencode(home), b"syncd-%d" % os.getuid())
    assert place == os.path.join(folder, b"syncd.sock")
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert paths.default_socket() == place


@pytest.mark.parametrize("trap", ["open to others", "a link"])
def test_a_directory_that_is_not_private_is_refused(env, home, tmp_path, trap):
    folder = os.path.join(home, f"syncd-{os.getuid()}")
    if trap == "a link":
        os.symlink(tmp_path, folder)
    else:
        os.mkdir(folder)
        os.chmod(folder, 0o755)
    with pytest.raises(InvalidInput, match="not a private directory"):
        paths.default_socket()


def test_names_that_are_not_utf_8_are_kept(env):
    os.environb[b"SYNCD_SOCKET"] = b"/tmp/\xff"
    assert paths.default_socket() == b"/tmp/\xff"
    env.setenv("SYNCD_SOCKET", "")
