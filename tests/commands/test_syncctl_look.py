"""What the verbs that look and change print, and how names that are no text appear."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd_client.cli.main import main
from syncd_client.wire.messages import (
    AbortGroup,
    AddWatch,
    ArtifactInfo,
    ArtifactPage,
    Done,
    ErrorInfo,
    FileInfo,
    FilePage,
    GroupInfo,
    GroupPage,
    JobInfo,
    JobPage,
    ListArtifacts,
    ListFiles,
    ListJobs,
    ListVersions,
    ListWatches,
    Message,
    Ping,
    Remove,
    RemoveWatch,
    Request,
    Restore,
    Show,
    ShowJob,
    Shutdown,
    Status,
    StatusInfo,
    TakenInfo,
    Verify,
    VerifyReport,
    VersionInfo,
    VersionPage,
    WatchInfo,
    WatchPage,
)
from tests.kit.answering_socket import WELCOME, AnsweringSocket
from tests.kit.fake_daemon import FakeDaemon

STATUS = StatusInfo(
    "9.9", 7, "n", 1.0, "file:///r", "ok", "native-avx2", {"sending": 2}, 0, 0, 1, 2, 0, 0, {"lease": 3}
)

VERSION = VersionInfo(
    "p", "data", "dataset", 3, "ab" * 32, aliases=["latest", "best"], metadata={"loss": 0.5}, description="two\nlines",
    size=1536, files=2, created=1.0,
)  # fmt: skip
WATCH = WatchInfo(b"/w/\xff", "ck", "model", "p", 5.0, "", "leases", 1, [TakenInfo(b"s1", "done", "j1", 0, "leases")])

Run = Callable[..., int]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[AnsweringSocket]:
    with AnsweringSocket(tmp_path) as daemon:
        daemon.on(Show, VERSION)
        yield daemon


@pytest.fixture
def run(daemon: AnsweringSocket, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("SYNCD_PROJECT", raising=False)
    return lambda *argv: main([*argv, "--socket", daemon.path])


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    def lines() -> list[str]:
        return capsys.readouterr().out.splitlines()

    return lines


Printed = Callable[[], list[str]]


def test_ls_lists_artifacts_over_all_pages(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    pages = {
        "": ArtifactPage([ArtifactInfo("p", "data", "dataset", 4, 3, 2048)], next="p/data"),
        "p/data": ArtifactPage([ArtifactInfo("p", "empty", "model")]),
    }
    daemon.on(ListArtifacts, lambda request, say: pages[request.after])  # type: ignore[attr-defined]
    assert run("ls") == 0
    head, first, second = printed()
    assert head.split() == ["ARTIFACT", "TYPE", "LATEST", "VERSIONS", "SIZE", "AGE"]
    assert first.split() == ["p/data", "dataset", "v3", "4", "2.0", "KiB", "-"]
    assert second.split() == ["p/empty", "model", "-", "0", "0", "B", "-"]


def test_ls_of_a_project_asks_for_that_project(daemon: AnsweringSocket, run: Run) -> None:
    daemon.on(ListArtifacts, ArtifactPage([]))
    assert run("ls", "q/") == 0
    assert daemon.of(ListArtifacts) == [ListArtifacts("q")]


def test_ls_of_a_name_lists_its_versions(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    daemon.on(ListVersions, VersionPage([VERSION]))
    assert run("ls", "p/data", "--deleted") == 0
    assert daemon.of(ListVersions) == [ListVersions("data", "p", deleted=True)]
    assert printed()[1].split()[:4] == ["v3", "2", "1.5", "KiB"]
    assert run("ls", "p/data", "--json") == 0
    assert json.loads(printed()[0])["versions"][0]["digest"] == "ab" * 32


def test_show_tells_everything_in_lines(run: Run, printed: Printed) -> None:
    assert run("show", "p/data:best") == 0
    lines = printed()
    assert "name:          p/data:v3" in lines
    assert "aliases:       latest, best" in lines
    assert "metadata loss: 0.5" in lines
    assert r"description:   two\nlines" in lines


def files(daemon: AnsweringSocket) -> None:
    pages = {
        b"": FilePage([FileInfo(b"a\xff\x1b[2J", "file", 3, 0o640)], next=b"a\xff"),
        b"a\xff": FilePage([FileInfo(b"l", "symlink", 0, 0, "", b"a")]),
    }
    daemon.on(ListFiles, lambda request, say: pages[request.after])  # type: ignore[attr-defined]


def test_files_shows_odd_names_as_escapes(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    files(daemon)
    assert run("files", "data:best") == 0
    assert printed() == [r"-rw-r-----       3 B  a\xff\x1b[2J", "l---------       0 B  l -> a"]
    assert daemon.of(ListFiles)[0] == ListFiles("data", "v3", "p")  # one version, although an alias was named


def test_files_in_json_is_one_object_a_line_and_gives_odd_names_exactly(
    daemon: AnsweringSocket, run: Run, printed: Printed
) -> None:
    files(daemon)
    assert run("files", "data", "--json") == 0
    first, second = map(json.loads, printed())
    assert os.fsencode(first["path"]) == bytes.fromhex(first["path_hex"]) == b"a\xff\x1b[2J"
    assert (second["path"], second["target"], "path_hex" in second) == ("l", "a", False)


def test_verify_is_sound_or_damaged(daemon: AnsweringSocket, run: Run, printed: Printed, tmp_path: Path) -> None:
    daemon.on(Verify, VerifyReport(VERSION, 2, 1536))
    assert run("verify", "data", "--root", str(tmp_path)) == 0
    assert daemon.of(Verify) == [Verify("data", "latest", "", os.fsencode(tmp_path))]
    assert printed() == ["data:v3 is sound: 2 files, 1.5 KiB verified"]
    daemon.on(Verify, VerifyReport(VERSION, 2, 1536, ["x: bytes differ"]))
    assert run("verify", "data", "--json") == 9
    assert json.loads(printed()[0])["problems"] == ["x: bytes differ"]


def test_rm_and_restore_want_a_version_named(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    daemon.on(Remove, VERSION)
    daemon.on(Restore, VERSION)
    assert run("rm", "data") == 2
    assert run("restore", "data") == 2
    assert daemon.heard == []
    assert run("rm", "data:v3") == 0
    assert run("restore", "p/data:v3") == 0
    assert (daemon.of(Remove), daemon.of(Restore)) == ([Remove("data", "v3")], [Restore("data", "v3", "p")])
    deleted = "deleted p/data:v3; `syncctl restore p/data:v3` takes it back, without its aliases"
    assert printed() == [deleted, "restored p/data:v3"]
    assert run("rm", "data:best", "--force") == 0
    assert daemon.of(Remove)[1] == Remove("data", "best", delete_aliases=True)


def test_jobs_are_listed_up_to_a_number(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    error = ErrorInfo("remote_refused", "no right to write")
    one = JobInfo("j1", "upload", "failed", "p", "data", bytes_total=200, bytes_done=50, error=error)
    daemon.on(ListJobs, JobPage([one] * 3, next="j1"))
    assert run("jobs", "--open", "-n", "5") == 0
    assert daemon.of(ListJobs) == [ListJobs(True, "", 5), ListJobs(True, "j1", 5)]
    lines = printed()
    assert len(lines) == 6
    assert "25%" in lines[1]
    assert lines[1].endswith("no right to write")


def test_status_shows_the_daemon_at_a_glance(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    daemon.on(Status, STATUS)
    assert run("status") == 0
    lines = printed()
    assert "jobs:    2 sending" in lines
    assert "pins:    3 lease; spool 0 B" in lines


def test_watches_are_added_listed_and_removed(
    daemon: AnsweringSocket, run: Run, printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    daemon.on(AddWatch, WATCH)
    daemon.on(ListWatches, WatchPage([WATCH]))
    daemon.on(RemoveWatch, Done())
    assert run("watch", "add", "d", "--name", "ck", "--type", "model", "--settle", "2", "--done-marker", "DONE") == 0
    directory = os.fsencode(tmp_path) + b"/d"
    assert daemon.of(AddWatch) == [AddWatch(directory, "ck", "model", "", 2.0, "DONE")]
    assert run("watch", "ls", "-q") == 0
    assert run("watch", "rm", "d") == 0
    assert daemon.of(RemoveWatch) == [RemoveWatch(directory)]
    assert printed() == [
        r"/w/\xff -> p/ck (model), after 5 s of quiet, leases, 1 pending",
        r"/w/\xff -> p/ck (model), after 5 s of quiet, leases, 1 pending",
        "  s1 ck:v0, leases",
        f"no longer watched: {tmp_path}/d",
    ]


def test_ping_and_shutdown_speak_of_the_daemon(daemon: AnsweringSocket, run: Run, printed: Printed) -> None:
    daemon.on(Ping, WELCOME)
    daemon.on(Shutdown, Done())
    assert run("ping") == 0
    assert run("shutdown") == 0
    assert printed() == [
        "syncd 9.9 is alive: pid 4711, node node-7, file:///remote",
        "the daemon stops; open jobs go on at its next start",
    ]


@pytest.mark.parametrize(("verb", "code"), [("ping", 5), ("shutdown", 0)])
def test_ping_and_shutdown_start_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str, code: int
) -> None:
    def start(*_: object) -> None:
        raise AssertionError("a daemon was started")

    monkeypatch.setenv("SYNCD_AUTOSTART", "1")
    monkeypatch.setattr("syncd_client.autostart.start_and_connect", start)
    assert main([verb, "--socket", str(tmp_path / "none")]) == code
    out, err = capsys.readouterr()
    if verb == "shutdown":
        assert (out, err) == (f"nothing to stop: no syncd daemon answers at {tmp_path}/none\n", "")


@pytest.mark.parametrize("ended", [True, False])
def test_a_shutdown_whose_answer_is_lost_is_done_when_the_daemon_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ended: bool
) -> None:
    monkeypatch.setattr("syncd_client.cli.daemon.PATIENCE", 30.0 if ended else 0.1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        fake = FakeDaemon(str(tmp_path / "s"), pid=process.pid)
        fake.die_on["shutdown"] = 1
        if ended:
            process.kill()
            process.wait(30)
        try:
            assert main(["shutdown", "--socket", fake.path]) == (0 if ended else 5)
        finally:
            fake.stop()
            process.kill()
    out, err = capsys.readouterr()
    assert ("the daemon stops" in out, "went away in the middle" in err) == (ended, not ended)


def test_jobs_that_are_named_are_shown(daemon: AnsweringSocket, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.on(ShowJob, JobInfo("abcd", "upload", "done", "p", "data", version=1))
    assert run("jobs", "ab", "c") == 0
    assert daemon.of(ShowJob) == [ShowJob("ab"), ShowJob("c")]
    assert capsys.readouterr().out.count("abcd") == 2


def test_failed_jobs_are_counted_in_status(
    daemon: AnsweringSocket, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.on(Status, replace(STATUS, failed=2))
    assert run("status") == 0
    assert "failed:  2: `syncctl jobs` says why, `syncctl cancel JOB` ends it" in capsys.readouterr().out


QUESTIONS: list[tuple[list[str], type[Request], Message]] = [
    (["ls"], ListArtifacts, ArtifactPage([])),
    (["ls", "data"], ListVersions, VersionPage([])),
    (["show", "data"], Show, VERSION),
    (["abort", "data", "--group", "g"], AbortGroup, GroupPage([GroupInfo("g", 2, "aborted", reason="why")])),
    (["verify", "data"], Verify, VerifyReport(VERSION, 0, 0)),
    (["rm", "data:v3"], Remove, VERSION),
    (["restore", "data:v3"], Restore, VERSION),
    (["jobs"], ListJobs, JobPage([])),
    (["watch", "ls"], ListWatches, WatchPage([WATCH])),
    (["watch", "rm", "d"], RemoveWatch, Done()),
    (["ping"], Ping, WELCOME),
    (["shutdown"], Shutdown, Done()),
]


@pytest.mark.parametrize(("argv", "verb", "reply"), QUESTIONS, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("place", ["before", "after"])
def test_json_is_exactly_one_object_wherever_the_flag_stands(
    daemon: AnsweringSocket,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    verb: type[Request],
    reply: Message,
    place: str,
) -> None:
    daemon.on(verb, reply)
    flags = ["--json", "--socket", daemon.path]
    assert main([*flags, *argv] if place == "before" else [*argv, *flags]) == 0
    out, err = capsys.readouterr()
    assert isinstance(json.loads(out), dict)
    assert (out.count("\n"), err, out.isascii()) == (1, "", True)
