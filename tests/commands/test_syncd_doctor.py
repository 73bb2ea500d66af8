"""`syncd doctor`: one line a check, each trouble with its next step."""

import json
import os
import socket
from pathlib import Path

import pytest

from syncd.commands.main import run
from syncd.format import chunker

CHECKS = {
    "python", "chunker", "loop", "open-files", "lease-break-time", "inotify", "inotify-instances", "hardlinks", "clock",
    "settings", "state", "pin", "spool", "daemon", "remote",
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNCD_SOCKET", str(tmp_path / "sock"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    code = run(["doctor", "--json", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] == (code == 0)
    return code, {check["check"]: check for check in told["checks"]}


def test_a_fresh_machine_is_fit_and_nothing_is_left_behind(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = doctor(capsys)
    assert code == 0, found
    assert set(found) == CHECKS
    assert found["daemon"]["verdict"] == "warn"
    assert "created when first used" in found["remote"]["text"]
    assert os.listdir(home) == [".local"]
    assert os.listdir(home / ".local/state/syncd") == []


def test_every_trouble_comes_with_a_next_step(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = doctor(capsys, "--set", "pure=true", "--set", f"remote=file://{home}/none")
    for check in found.values():
        assert check["verdict"] == "ok" or check["hint"], check


def test_a_remote_with_a_repository_is_raced_and_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["init", f"file://{home}/bucket", "-q"])
    code, found = doctor(capsys)
    assert code == 0
    assert "one won each time" in found["remote"]["text"]
    assert [file.name for file in (home / "bucket").rglob("*") if file.is_file()] == ["repo.json"]


def test_a_remote_that_is_missing_fails_with_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = doctor(capsys, "--set", f"remote=file://{home}/none")
    assert code == 1
    assert found["remote"]["verdict"] == "fail"


def test_a_state_directory_that_cannot_be_written_fails(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "file").write_text("")
    code, found = doctor(capsys, "--set", f"state_dir={home}/file/state")
    assert code == 1
    assert found["state"]["verdict"] == "fail"
    assert "SYNCD_STATE_DIR" in found["state"]["hint"]


def test_the_pure_chunker_is_said_loudly_with_the_apt_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pure = chunker.load(True)
    monkeypatch.setattr(chunker, "load", lambda wanted=False: pure)
    _, found = doctor(capsys)
    assert found["chunker"]["verdict"] == "warn"
    assert "apt-get install gcc python3-dev" in found["chunker"]["hint"]


def test_a_misspelt_name_in_the_environment_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SYNCD_PROJET", "x")
    _, found = doctor(capsys)
    assert found["environment"]["hint"] == "did you mean SYNCD_PROJECT?"


def test_a_socket_where_something_else_answers_fails(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(home / "sock"))
        code, found = doctor(capsys)  # bound, but nobody listens
    assert code == 0
    assert found["daemon"]["verdict"] == "warn"


def test_quiet_shows_only_what_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    run(["doctor", "-q"])
    shown = capsys.readouterr().out
    assert "daemon" in shown
    assert "python" not in shown.split("daemon")[0].splitlines()[0]


def test_a_spool_whose_state_directory_was_deleted_is_named_with_what_to_delete(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = home / f".syncd-spool-{os.geteuid()}" / "0123456789abcdef"
    spool.mkdir(parents=True)
    (spool / "pin").write_bytes(b"x" * (2 << 20))
    spool.with_suffix(".owner").symlink_to(home / "state/spool-0123456789abcdef")
    (home / "work").mkdir()
    monkeypatch.chdir(home / "work")

    def told() -> list[dict[str, str]]:  # of ours: others on this machine may have left theirs
        assert run(["doctor", "--json"]) == 0
        checks = json.loads(capsys.readouterr().out)["checks"]
        return [check for check in checks if check["check"] == "spool" and str(spool) in check["text"]]

    (warning,) = told()
    assert warning["verdict"] == "warn"
    assert f"{spool} holds 1 files, 2 MiB, of a state directory that is no more: {home}/state" in warning["text"]
    assert warning["hint"].endswith(f"rm -r {spool} {spool}.owner")
    (home / "state/spool-0123456789abcdef").mkdir(parents=True)
    assert told() == []
    assert (spool / "pin").exists()
