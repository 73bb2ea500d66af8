"""Names and shapes of trees: what one node logs, another restores, entry by entry."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.kit.daemon import SMALL, converged, running_daemon

SPARSE = 8 << 20
DEPTH = 100
Seen = dict[bytes, tuple[str, int, bytes]]


def seen(root: Path) -> Seen:
    """Return every entry below a directory: what it is, its mode, its bytes or target."""
    found: Seen = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            facts = os.lstat(path)
            kind, mode = stat.S_IFMT(facts.st_mode), stat.S_IMODE(facts.st_mode)
            if stat.S_ISLNK(facts.st_mode):
                found[os.path.relpath(path, top)] = ("link", 0, os.readlink(path))
            elif stat.S_ISDIR(facts.st_mode):
                found[os.path.relpath(path, top)] = ("dir", 0, b"")
            else:
                assert kind == stat.S_IFREG
                with open(path, "rb") as file:
                    found[os.path.relpath(path, top)] = ("file", mode, file.read())
    return found


def round_trip(tmp_path: Path, data: Path, settings: dict[str, str] | None = None) -> Path:
    """Log on one node through syncctl, restore on another; return where. `syncctl files` must say what is there."""
    settings = SMALL if settings is None else settings
    remote = tmp_path / "remote"
    with running_daemon(tmp_path / "one", remote=remote, settings=settings) as one:
        done = one.syncctl("put", str(data), "--name", "names")
        assert done.returncode == 0, done.stderr
        assert converged(one) == []
    with running_daemon(tmp_path / "two", remote=remote, settings=settings) as two:
        done = two.syncctl("get", "names", "--root", str(tmp_path / "out"))
        assert done.returncode == 0, done.stderr
        listed = [json.loads(line) for line in two.syncctl("--json", "files", "names").stdout.splitlines()]
        verified = two.syncctl("verify", "names", "--root", str(tmp_path / "out"))
        assert verified.returncode == 0, verified.stdout + verified.stderr
    expected = seen(data)
    holders = {os.path.dirname(path) for path in expected}
    entries = {path for path, (kind, _, _) in expected.items() if kind != "dir" or path not in holders}
    assert {os.fsencode(entry["path"]) for entry in listed} == entries
    assert len(listed) == len(entries)
    return tmp_path / "out"


def test_odd_names_modes_links_and_empty_things(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    names = [
        b"with space", b" leading and trailing ", "ünïcødé-文件-🙂".encode(),
        b"new\nline", b"\xff\xfe not utf-8", b"tab\t",
        b"-rf", b"*?[x]", b"back\\slash", b"\"quotes'",
        b"#hash%20", b".hidden", b"..dots", b"x" * 255, b"\x01\x7f\x1b[31m",
    ]  # fmt: skip
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(data), name), "wb") as file:
            file.write(name * number)
    for mode in (0o644, 0o600, 0o755, 0o444, 0o777, 0o640):
        (data / f"mode {mode:o}").write_bytes(b"m")
        (data / f"mode {mode:o}").chmod(mode)
    (data / "empty file").touch()
    (data / "empty directory").mkdir()
    (data / "new\nline directory" / "empty inside").mkdir(parents=True)
    (data / "new\nline directory" / "with a file").write_bytes(b"1")
    os.symlink(b"with space", os.fsencode(data) + b"/link to \xff")
    os.symlink("../empty file", data / "empty directory" / "up")
    (data / "deep").mkdir()
    os.symlink("../with space", data / "deep" / "up")
    out = round_trip(tmp_path, data)
    assert seen(out) == seen(data)


def test_a_hundred_directories_deep(tmp_path: Path) -> None:
    data = tmp_path / "data"
    bottom = data / "/".join(f"d{level}" for level in range(DEPTH))
    bottom.mkdir(parents=True)
    (bottom / "file").write_bytes(b"bottom")
    out = round_trip(tmp_path, data)
    assert seen(out) == seen(data)


def test_sparse_files_come_back_sparse(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with (data / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(SPARSE)
        file.write(b"end")
    with (data / "nothing but a hole").open("wb") as file:
        file.truncate(SPARSE)
    out = round_trip(tmp_path, data, {})
    assert seen(out) == seen(data)
    for name in ("holes", "nothing but a hole"):
        assert (out / name).stat().st_blocks * 512 < SPARSE // 2, name


def many_files(tmp_path: Path, count: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(count):
        (data / f"{number:05}").write_bytes(b"%d" % number)
    out = round_trip(tmp_path, data, {})
    assert seen(out) == seen(data)


def test_two_thousand_files_in_one_directory(tmp_path: Path) -> None:
    many_files(tmp_path, 2_000)


@pytest.mark.crash
def test_ten_thousand_files_in_one_directory(tmp_path: Path) -> None:
    many_files(tmp_path, 10_000)
