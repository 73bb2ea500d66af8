"""`syncd init`: a remote that can carry a repository gets one, one that cannot is refused before anything is made."""

import json
import os
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from syncd.clock import SystemClock
from syncd.commands import remote
from syncd.commands.main import run
from syncd.errors import Conflict
from syncd.model.buffer import Buffer
from syncd.store.base import Store
from syncd.store.memory import MemoryStore


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNCD_SOCKET", str(tmp_path / "sock"))
    return tmp_path


def user_config(home: Path) -> Path:
    return home / ".config/syncd/config.toml"


def test_a_directory_becomes_a_repository_and_the_users_remote(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file://{home}/bucket"
    assert run(["init", url]) == 0
    said = capsys.readouterr().out
    assert "created repository" in said
    assert f"wrote the remote into {user_config(home)}" in said
    assert (home / "bucket/repo.json").is_file()
    assert tomllib.loads(user_config(home).read_text()) == {"remote": [{"url": url}]}
    assert [file.name for file in (home / "bucket").rglob("*") if file.is_file()] == ["repo.json"]


def test_a_second_init_opens_the_same_repository_and_writes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for _ in range(2):
        assert run(["init", f"file://{home}/bucket", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert (found[0]["created"], found[1]["created"]) == (True, False)
    assert found[0]["repo_id"] == found[1]["repo_id"]
    assert user_config(home).read_text().count("[[remote]]") == 1


@pytest.mark.parametrize("word", ["foo", "secret@foo"])
def test_what_is_no_url_is_blamed_on_the_argument_and_not_repeated(
    word: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", word]) == 2
    said = capsys.readouterr().err
    assert said.startswith("syncd: the argument URL: it is not a URL\n")
    assert "--remote" not in said
    assert word not in said


def test_other_settings_in_the_file_stay_and_it_is_still_toml(home: Path) -> None:
    user_config(home).parent.mkdir(parents=True)
    user_config(home).write_text('project = "mine"  # a comment\n[upload]\nconcurrency = 2')
    assert run(["init", f"file://{home}/bucket"]) == 0
    assert "# a comment" in user_config(home).read_text()
    found = tomllib.loads(user_config(home).read_text())
    assert found["project"] == "mine"
    assert found["upload"] == {"concurrency": 2}
    assert found["remote"] == [{"url": f"file://{home}/bucket"}]


def test_a_remote_that_is_set_already_is_not_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["init", f"file://{home}/first"])
    assert run(["init", f"file://{home}/second"]) == 0
    assert "still names" in capsys.readouterr().out
    assert "second" not in user_config(home).read_text()


def test_a_bare_path_is_a_remote_too(home: Path) -> None:
    assert run(["init", f"{home}/with space"]) == 0
    assert (home / "with space/repo.json").is_file()


def test_the_cut_points_of_a_new_repository_can_be_set(home: Path) -> None:
    small = ["--set", "chunker.minimum=256", "--set", "chunker.average=1024", "--set", "chunker.maximum=4096"]
    assert run(["init", f"file://{home}/bucket", *small]) == 0
    assert json.loads((home / "bucket/repo.json").read_text())["chunker"]["average"] == 1024


def test_a_remote_where_two_writers_win_is_refused_and_stays_empty(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EverybodyWins()

    @asynccontextmanager
    async def opened(url: str, rng: object, *, create: bool) -> AsyncIterator[Store]:
        yield store

    monkeypatch.setattr(remote, "opened", opened)
    assert run(["init", f"file://{home}/bucket"]) == 8
    what, why, hint = capsys.readouterr().err.splitlines()
    assert "cannot carry a repository" in what
    assert "8 of 8 writers" in why
    assert hint
    assert not store.keys
    assert not user_config(home).exists()


class EverybodyWins(MemoryStore):
    """A server that ignores If-None-Match."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.keys: set[str] = set()

    async def create(self, key: str, data: Buffer) -> None:
        self.keys.add(key)
        try:
            await super().create(key, data)
        except Conflict:
            return

    async def delete(self, key: str) -> None:
        self.keys.discard(key)
        await super().delete(key)
