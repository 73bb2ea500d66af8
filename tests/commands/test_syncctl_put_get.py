"""What `syncctl put`, `get` and `wait` print, send and end with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd_client.cli.main import main
from syncd_client.wire.messages import (
    AddDir,
    AddFile,
    Cancel,
    Done,
    DropDraft,
    ErrorInfo,
    Get,
    JobInfo,
    Log,
    Receipt,
    Use,
    VersionInfo,
    Wait,
    Waited,
)
from tests.kit.answering_socket import AnsweringSocket

ACCEPTED = JobInfo("j1", "upload", "accepted", "p", "data", "dataset", bytes_total=100)
DONE = replace(ACCEPTED, state="done", version=3, bytes_done=100)
FAILED = replace(ACCEPTED, state="failed", error=ErrorInfo("source_lost", "a.bin changed", "why it did", "log again"))
VERSION = VersionInfo("p", "data", "dataset", 3, "ab" * 32, size=100, files=2)

Run = Callable[..., int]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[AnsweringSocket]:
    with AnsweringSocket(tmp_path) as daemon:
        daemon.on(AddFile, Receipt(1, 10, 1, {"lease": 1}))
        daemon.on(AddDir, Receipt(2, 90, 3, {"lease": 1, "copy": 1}, ["power loss before sync"]))
        daemon.on(Log, ACCEPTED)
        daemon.on(Wait, Waited([DONE]))
        daemon.on(DropDraft, Done())
        yield daemon


@pytest.fixture
def run(daemon: AnsweringSocket, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("SYNCD_PROJECT", raising=False)
    return lambda *argv: main(["--socket", daemon.path, *argv])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x").write_bytes(b"x" * 90)
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    return tmp_path


def test_put_sends_what_was_typed_and_prints_receipt_job_and_version(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(
        "put", f"{tree}/a.bin", f"{tree}/tree", "--name", "data", "--type", "model", "--project", "q", "--alias",
        "best", "--alias", "b2", "--metadata", "loss=0.5", "--metadata", "note=as it is", "--metadata", "l=[1,null]",
        "--metadata", "bad=NaN", "--description", "D", "--tag", "t1", "--tag", "t2",
    )  # fmt: skip
    assert code == 0
    (added,), (walked,), (logged,) = daemon.of(AddFile), daemon.of(AddDir), daemon.of(Log)
    seen = os.stat(tree / "a.bin")
    path = os.fsencode(tree / "a.bin")
    assert added == AddFile(logged.draft, path, b"a.bin", seen.st_dev, seen.st_ino, 10)  # type: ignore[attr-defined]
    assert (walked.path, walked.name) == (os.fsencode(tree / "tree"), b"")  # type: ignore[attr-defined]
    metadata = {"loss": 0.5, "note": "as it is", "l": [1, None], "bad": "NaN"}
    draft = logged.draft  # type: ignore[attr-defined]
    assert logged == Log(draft, "data", "model", "q", "D", metadata, ["best", "b2"], ["t1", "t2"])
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "pinned 3 files, 100 B: 1 copied, 2 linked under a read lease",
        "job j1",
        "data:v3",
    ]
    assert err == "", "who waits until it is durable need not be told what holds until then"


def test_put_tells_gaps_calmly(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gaps = ["/t/a: was open for writing", "guarded by leases", "power loss before sync"]
    daemon.on(AddFile, Receipt(1, 10, 1, {"lease": 1}, gaps))
    assert run("put", f"{tree}/a.bin", "--name", "data") == 0
    assert capsys.readouterr().err == "note: /t/a: was open for writing\n"
    assert run("put", f"{tree}/a.bin", "--name", "data", "--no-wait") == 0
    assert capsys.readouterr().err == (
        "note: /t/a: was open for writing\nnote: until it is durable: guarded by leases; power loss before sync\n"
    )


def test_put_takes_the_project_from_the_environment(
    daemon: AnsweringSocket, run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_PROJECT", "envp")
    assert run("put", f"{tree}/a.bin", "--name", "data") == 0
    assert daemon.of(Log)[0].project == "envp"  # type: ignore[attr-defined]


def test_put_without_waiting_ends_with_the_job(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("put", f"{tree}/a.bin", "--name", "data", "--no-wait", "-q") == 0
    assert capsys.readouterr().out == "j1\n"
    assert daemon.of(Wait) == []


def test_put_quietly_prints_the_version_alone(run: Run, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("put", "-q", f"{tree}/tree", "--name", "data") == 0
    assert capsys.readouterr() == ("data:v3\n", "")


def test_put_in_json_is_one_object(run: Run, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("put", f"{tree}/tree", "--name", "data", "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["receipt"]["ways"] == {"lease": 1, "copy": 1}
    assert (told["job"]["job"], told["job"]["version"], err) == ("j1", 3, "")


def test_put_says_that_identical_content_made_no_version(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on(Wait, Waited([replace(DONE, new_version=False)]))
    assert run("put", f"{tree}/a.bin", "--name", "data") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "identical content is there already: no new version",
        "data:v3",
    ]


def test_put_fails_in_the_words_of_the_job(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on(Wait, Waited([FAILED]))
    assert run("put", f"{tree}/a.bin", "--name", "data") == 1
    assert capsys.readouterr().err == (
        "note: its files stay pinned until `syncctl cancel j1`\nsyncctl: a.bin changed\nwhy it did\nlog again\n"
    )


def test_put_says_once_why_it_tries_again(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(request: Any, say: Any) -> Waited:
        for attempt in (1, 2, 3):
            why = ErrorInfo("remote_unavailable", "no answer from the remote", retry=True)
            say(replace(ACCEPTED, state="waiting", attempt=attempt, error=why))
        return Waited([DONE])

    daemon.on(Wait, slow)
    assert run("put", f"{tree}/a.bin", "--name", "data") == 0
    assert capsys.readouterr().err == "note: no answer from the remote; the job goes on trying\n"


def test_put_refused_while_pinning_drops_the_draft(
    daemon: AnsweringSocket, run: Run, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on(AddDir, ErrorInfo("conflict", "a.bin is added twice"))
    assert run("put", f"{tree}/a.bin", f"{tree}/tree", "--name", "data") == 6
    assert [type(request) for request in daemon.heard[1:]] == [AddFile, AddDir, DropDraft]
    assert capsys.readouterr().err == "syncctl: a.bin is added twice\n"


@pytest.mark.parametrize(
    ("paths", "code", "word"),
    [
        (["missing"], 4, "no such file or directory: missing"),
        (["a.bin", "sub/../a.bin"], 6, "two files would be stored as a.bin"),
        (["sub", "sub/../sub"], 6, "sub and sub/../sub"),
        (["pipe"], 2, "neither a file nor a directory: pipe"),
        (["bad\udcffname"], 4, r"no such file or directory: bad\xffname"),
    ],
)
def test_put_refuses_bad_paths_before_anything_is_sent(
    daemon: AnsweringSocket,
    run: Run,
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    paths: list[str],
    code: int,
    word: str,
) -> None:
    monkeypatch.chdir(tree)
    os.mkfifo("pipe")
    (tree / "sub").mkdir()
    assert run("put", *paths, "--name", "data") == code
    assert daemon.heard == []
    err = capsys.readouterr().err
    assert word in err
    assert len(err.splitlines()) <= 3


def test_put_stores_a_name_that_is_no_text(daemon: AnsweringSocket, run: Run, tree: Path) -> None:
    odd = os.fsencode(tree) + b"/odd\xff\n"
    with open(odd, "wb"):
        pass
    assert run("put", os.fsdecode(odd), "--name", "data") == 0
    added = daemon.of(AddFile)[0]
    assert (added.name, added.path) == (b"odd\xff\n", odd)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "flags",
    [
        ["--name", "no/slash"],
        ["--name", "data", "--type", "a:b"],
        ["--name", "data", "--project", "a/b"],
        ["--name", "data", "--alias", "v3"],
        ["--name", "data", "--metadata", "x=1e999"],
    ],
    ids=lambda flags: flags[-1],
)
def test_put_refuses_bad_words_before_anything_is_pinned(
    daemon: AnsweringSocket, run: Run, tree: Path, flags: list[str]
) -> None:
    assert run("put", f"{tree}/a.bin", *flags) == 2
    assert daemon.heard == []


@pytest.mark.parametrize("given", ["no-equals", "=v"])
def test_put_refuses_metadata_that_is_no_pair(run: Run, tree: Path, given: str) -> None:
    assert run("put", f"{tree}/a.bin", "--name", "data", "--metadata", given) == 2


@pytest.mark.parametrize("typed", ["p/data:best", "entity/p/data:best"])
def test_get_resolves_first_and_prints_the_directory(
    typed: str,
    daemon: AnsweringSocket,
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCD_ARTIFACT_DIR", raising=False)
    daemon.on(Use, VERSION)
    daemon.on(Get, lambda request, say: replace(DONE, kind="download", root=request.root))  # type: ignore[attr-defined]
    daemon.on(Wait, lambda request, say: Waited([replace(DONE, kind="download", root=daemon.of(Get)[0].root)]))  # type: ignore[attr-defined]
    assert run("get", typed) == 0
    assert capsys.readouterr() == (f"{tmp_path}/artifacts/data:v3\n", "p/data:v3: 2 files, 100 B, verified\n")
    assert daemon.of(Use) == [Use("data", "best", "p")]
    assert daemon.of(Get) == [Get("data", os.fsencode(tmp_path) + b"/artifacts/data:v3", "v3", "p")]


@pytest.mark.parametrize(("flag", "variable"), [(["--root", "out"], ""), ([], "elsewhere")])
def test_get_goes_where_it_is_told(
    daemon: AnsweringSocket,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flag: list[str],
    variable: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCD_ARTIFACT_DIR", variable)
    daemon.on(Use, VERSION)
    daemon.on(Get, DONE)
    assert run("get", "data", *flag) == 0
    root = daemon.of(Get)[0].root  # type: ignore[attr-defined]
    assert root == os.fsencode(tmp_path / ("out" if flag else "elsewhere/data:v3"))


def test_get_of_something_unknown_is_not_found(
    daemon: AnsweringSocket, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on(Use, ErrorInfo("not_found", "there is no artifact p/data", "", "see `syncctl ls`"))
    assert run("get", "data", "--json") == 4
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "not_found"
    assert err == "syncctl: there is no artifact p/data\nsee `syncctl ls`\n"


@pytest.mark.parametrize("given", ["", "/data", "data:", ":v1", "data:v1:v2", "a/b/c/d", "/b/c", "data:a/b", "da ta"])
def test_a_reference_that_is_none_is_refused(daemon: AnsweringSocket, run: Run, given: str) -> None:
    assert run("get", given) == 2
    assert daemon.heard == []


def test_wait_names_jobs_and_patience(daemon: AnsweringSocket, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wait", "j1", "j2", "--timeout", "2.5") == 0
    (asked,) = daemon.of(Wait)
    assert isinstance(asked, Wait)
    assert asked.jobs == ["j1", "j2"]
    assert asked.timeout == pytest.approx(2.5, abs=0.5)  # less what connecting took
    assert "j1   upload  done   data:v3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ended", "code"), [([DONE, FAILED], 3), ([FAILED], 1), ([FAILED, FAILED], 1), ([DONE], 0), ([], 0)]
)
def test_wait_ends_with_what_became_of_the_jobs(
    daemon: AnsweringSocket, run: Run, ended: list[JobInfo], code: int
) -> None:
    daemon.on(Wait, Waited(ended))
    assert run("wait") == code


def test_wait_out_of_patience_is_a_timeout(daemon: AnsweringSocket, run: Run) -> None:
    daemon.on(Wait, ErrorInfo("timeout", "job j1 has not ended", "", "it goes on"))
    assert run("wait", "--timeout", "0") == 7


def test_cancel_tells_the_daemon(daemon: AnsweringSocket, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.on(Cancel, replace(ACCEPTED, state="cancelled"))
    assert run("cancel", "j1") == 0
    assert (daemon.of(Cancel), capsys.readouterr().out) == ([Cancel("j1")], "cancelled job j1\n")
