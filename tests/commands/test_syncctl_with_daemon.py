"""`syncctl` and the daemon itself, end to end: what is put is got, and every refusal is a code and a sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd_client.cli.main import main
from tests.kit.daemon import running_daemon, until

ODD = b"odd \xff\n\xc3\xa9"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon of its own; gives the path of its socket, and is ended by `syncctl shutdown`."""
    with running_daemon(tmp_path_factory.mktemp("daemon")) as daemon:
        yield str(daemon.socket)
        assert main(["shutdown", "-q", "--socket", str(daemon.socket)]) == 0
        assert daemon.wait_ended() == 0, daemon.log_text()


@pytest.fixture
def run(daemon: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("SYNCD_PROJECT", "SYNCD_ARTIFACT_DIR"):
        monkeypatch.delenv(name, raising=False)

    def command(*argv: str) -> tuple[int, str, str]:
        code = main([*argv, "--socket", daemon])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "a.bin").write_bytes(os.urandom(300_000))
    (tree / "sub" / "none").write_bytes(b"")
    (tree / "link").symlink_to("sub/none")
    with open(os.fsencode(tree) + b"/" + ODD, "wb") as file:
        file.write(b"x")
    return tree


def test_what_is_put_is_found_got_and_verified(run: Run, tree: Path, tmp_path: Path) -> None:
    code, out, err = run("put", "tree", "--name", "round", "--alias", "best", "--metadata", "loss=0.5")
    assert (code, out.splitlines()[-1]) == (0, "round:v0"), err
    assert out.startswith("pinned 3 files, ")
    code, out, err = run("get", "round:best")
    assert (code, out) == (0, f"{tmp_path}/artifacts/round:v0\n"), err
    assert err.startswith("uncategorized/round:v0: 3 files, ")
    assert json.loads(run("get", "round", "--root", "again", "--json")[1])["job"]["bytes_stored"] > 0, "it was fetched"
    same = subprocess.run(["diff", "-r", "--no-dereference", tree, "artifacts/round:v0"], capture_output=True)
    assert (same.returncode, same.stdout) == (0, b"")
    assert run("verify", "round", "--root", "artifacts/round:v0")[0] == 0
    assert run("verify", "round")[0] == 0
    listed = [json.loads(line) for line in run("files", "round", "--json")[1].splitlines()]
    assert ODD in [bytes.fromhex(one.get("path_hex", "")) for one in listed]
    version = json.loads(run("show", "round:v0", "--json")[1])
    assert (version["metadata"], version["aliases"]) == ({"loss": 0.5}, ["latest", "best"])


def test_a_changed_directory_is_not_verified(run: Run, tree: Path) -> None:
    assert run("put", "tree", "--name", "bent", "-q")[0] == 0
    assert run("get", "bent", "--root", "here", "-q")[0] == 0
    Path("here/a.bin").write_bytes(b"other")
    code, out, _ = run("verify", "bent", "--root", "here")
    assert code == 9
    assert "a.bin" in out


def test_identical_content_is_said_and_makes_no_version(run: Run, tree: Path) -> None:
    assert run("put", "tree", "--name", "twice", "-q")[1] == "twice:v0\n"
    code, out, err = run("put", "tree", "--name", "twice")
    assert (code, out.splitlines()[-1]) == (0, "twice:v0")
    assert "no new version" in out + err
    assert len(json.loads(run("ls", "twice", "--json")[1])["versions"]) == 1


def test_a_deleted_version_is_gone_until_it_is_restored(run: Run, tree: Path) -> None:
    assert run("put", "tree", "--name", "gone", "-q")[0] == 0
    assert run("rm", "gone:v0")[0] == 0
    assert run("get", "gone")[0] == 4
    assert json.loads(run("ls", "gone", "--json")[1])["versions"] == []
    assert run("restore", "gone:v0")[0] == 0
    assert run("get", "gone:v0", "-q")[0] == 0


def test_a_job_is_waited_for_and_listed(run: Run, tree: Path) -> None:
    code, out, _ = run("put", "tree", "--name", "later", "--no-wait", "-q")
    job = out.strip()
    assert code == 0
    assert run("wait", job, "--timeout", "60")[0] == 0
    assert run("wait")[0] == 0
    shown = {one["job"]: one for one in json.loads(run("jobs", "--json")[1])["jobs"]}
    assert (shown[job]["state"], shown[job]["version"]) == ("done", 0)
    assert run("cancel", job)[0] == 6


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (["get", "unknown"], 4, "unknown"),
        (["show", "known:v7"], 4, "v7"),
        (["show", "known:nobody"], 4, "nobody"),
        (["rm", "known:v7"], 4, "v7"),
        (["verify", "known", "--root", "nowhere"], 4, "nowhere"),
        (["cancel", "nojob"], 4, "nojob"),
        (["wait", "nojob"], 4, "nojob"),
        (["watch", "rm", "nowhere"], 4, "nowhere"),
        (["watch", "add", "nowhere", "--name", "w", "--type", "t"], 4, "nowhere"),
        (["put", "tree", "--name", "known", "--type", "model"], 6, "dataset"),
        (["put", "tree", "other/a.bin", "--name", "clash"], 6, "a.bin"),
    ],
)
def test_a_refusal_is_a_code_and_a_sentence(run: Run, tree: Path, argv: list[str], code: int, word: str) -> None:
    os.mkdir("other")
    Path("other/a.bin").write_bytes(b"another a.bin")
    assert run("put", "tree/a.bin", "--name", "known", "-q")[0] == 0
    ended, _, err = run(*argv, "-q")
    assert (ended, word in err) == (code, True), err
    assert 1 <= len(err.splitlines()) <= 3


def test_a_file_that_may_not_be_read_is_refused(run: Run, tree: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("apt-get install util-linux")
    (tree / "a.bin").chmod(0)
    code, _, err = run("put", "tree/a.bin", "--name", "secret")
    assert code in (1, 2)
    assert "a.bin" in err
    assert run("show", "secret")[0] == 4


def test_a_watched_directory_turns_into_versions(run: Run, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    assert run("watch", "add", "w", "--name", "seen", "--type", "model", "--done-marker", "DONE")[0] == 0
    (tmp_path / "w" / "s1").mkdir()
    (tmp_path / "w" / "s1" / "f").write_bytes(b"1")
    (tmp_path / "w" / "s1" / "DONE").touch()
    until(lambda: run("get", "seen:v0", "-q")[0] == 0, what="seen:v0")
    out = run("watch", "ls")[1]
    assert "s1 seen:v0, marker" in out
    assert run("watch", "rm", "w")[0] == 0
    assert json.loads(run("watch", "ls", "--json")[1])["watches"] == []


def test_who_looks_elsewhere_for_the_daemon_of_a_state_directory_is_told_where_it_is(
    daemon: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state, elsewhere = Path(daemon).parent / "state", daemon + "2"
    monkeypatch.setenv("SYNCD_STATE_DIR", str(state))
    monkeypatch.setenv("SYNCD_AUTOSTART", "1")
    assert main(["status", "--socket", elsewhere]) == 5
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"syncctl: no syncd daemon answers at {elsewhere}",
        f"that of the state directory {state} listens at {daemon}",
    ]
    assert main(["status", "--socket", daemon, "-q"]) == 0
