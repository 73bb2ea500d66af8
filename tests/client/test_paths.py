"""Where things lie: the environment first, then XDG."""

from __future__ import annotations

import os
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
    assert paths.config_files() == [b"/home/me/.config/syncd/config.toml", b"/etc/syncd/config.toml"]
    env.setenv("XDG_STATE_HOME", "/s")
    env.setenv("XDG_CACHE_HOME", "/c")
    env.setenv("XDG_CONFIG_HOME", "/k")
    env.setenv("XDG_RUNTIME_DIR", "/r")
    assert (paths.state_dir(), paths.cache_dir(), paths.default_socket()) == (
        b"/s/syncd",
        b"/c/syncd",
        b"/r/syncd/syncd.sock",
    )
    assert paths.config_files()[0] == b"/k/syncd/config.toml"


def test_our_own_variables_win_and_are_made_absolute(env, tmp_path):
    env.setenv("XDG_RUNTIME_DIR", "/r")
    for name in ("SYNCD_SOCKET", "SYNCD_STATE_DIR", "SYNCD_CACHE_DIR", "SYNCD_CONFIG"):
        env.setenv(name, "x")
    env.chdir("/usr")
    assert {paths.default_socket(), paths.state_dir(), paths.cache_dir(), *paths.config_files()} == {b"/usr/x"}


def test_without_a_runtime_directory_the_socket_lies_in_a_private_one(env, home):
    socket = paths.default_socket()
    folder = os.path.join(os.fsencode(home), b"syncd-%d" % os.getuid())
    assert socket == os.path.join(folder, b"syncd.sock")
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert paths.default_socket() == socket


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
