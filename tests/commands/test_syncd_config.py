"""`syncd config show`, and how every verb of syncd ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncd import __version__
from syncd.commands.main import run
from syncd.settings.shape import KEYS

PASSWORD = "hunter2"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNCD_SOCKET", str(tmp_path / "sock"))
    return tmp_path


def test_every_setting_is_shown_with_its_origin(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--origin", "--set", "upload.concurrency=2"]) == 0
    shown = capsys.readouterr().out
    for key in KEYS:
        assert f"{key} = " in shown
    assert "upload.concurrency = 2" in shown
    assert "# flag --upload.concurrency" in shown
    assert "# SYNCD_SOCKET" in shown


def test_what_is_shown_can_be_read_again_as_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["config", "show", "--set", "memory_budget=100MB", "--set", 'project=a"b\\c', "--set", "pin.spool_dirs=/a:/b"])
    first = capsys.readouterr().out
    (home / "again.toml").write_text(first)
    assert run(["config", "show", "--config", str(home / "again.toml")]) == 0
    assert capsys.readouterr().out == first


def test_sizes_and_times_are_shown_with_their_units(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["config", "show", "--set", "retry.first=0.25", "--set", "bandwidth=1000"])
    shown = capsys.readouterr().out.splitlines()
    for line in ('memory_budget = "256MiB"', 'idle_exit = "10min"', 'retry.first = "250ms"', 'bandwidth = "1000B"'):
        assert line in shown


@pytest.mark.parametrize("arguments", [["--json", "config", "show"], ["config", "show", "--json"]])
def test_json_is_one_object_wherever_the_flag_stands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--origin"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings"]["memory_budget"] == {"value": "256MiB", "origin": "default"}
    assert told["files"] == []


@pytest.mark.parametrize("manner", [[], ["--json"], ["--origin"]])
def test_no_credential_is_ever_shown(
    manner: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNCD_REMOTE", f"s3://key:{PASSWORD}@bucket/path?signature={PASSWORD}")
    assert run(["config", "show", *manner]) == 0
    shown = capsys.readouterr().out
    assert "s3://***@bucket/path?signature=***" in shown
    assert PASSWORD not in shown


def test_an_error_is_three_lines_on_stderr_and_its_exit_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bad.toml").write_text("memory_buget = 1")
    assert run(["config", "show", "--config", str(home / "bad.toml")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    what, why, hint = said.err.splitlines()
    assert what.startswith("syncd: unknown setting memory_buget in ")
    assert why
    assert hint == "did you mean memory_budget?"


def test_an_error_for_a_program_is_one_object(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show", "--json", "--config", str(home / "none.toml")]) == 4
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["config", "show", "--set", "x"], ["config", "show", "--set", "x=1"], ["init", "a", "b"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err


def test_help_and_version_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--version"], ["serve", "--help"], ["init", "-h"]):
        assert run(arguments) == 0
    assert __version__ in capsys.readouterr().out


def test_python_m_syncd_is_the_same_program() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(os.path.isdir, sys.path))}
    ended = subprocess.run([sys.executable, "-m", "syncd", "config", "nope"], env=environ, capture_output=True)
    assert ended.returncode == 2
    assert b"No such command" in ended.stderr
