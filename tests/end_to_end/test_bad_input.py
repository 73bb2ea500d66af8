"""Bad input through syncctl and the Python client: what, why and hint, an exit code from one table, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd_client.wire import messages as m
from tests.kit.daemon import SMALL, Daemon, converged, running_daemon, until
from tests.kit.refusals import check_refusal, hinted, refused
from tests.kit.trainer import come_back, ended, go_away, held_back

SETTINGS = {**SMALL, "SYNCD_RETRY_TRIES": "1"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with one artifact `data` of type dataset."""
    top = tmp_path_factory.mktemp("node")
    (top / "known").write_bytes(b"known")
    with running_daemon(top / "home", settings=SETTINGS) as daemon:
        daemon.put_done(top / "known", name="data")
        yield daemon
        assert converged(daemon) == []


# --- paths ------------------------------------------------------------------------------------------------


def test_a_missing_path(node: Daemon, tmp_path: Path) -> None:
    refused(node, 4, "put", str(tmp_path / "nowhere"), "--name", "x", naming=str(tmp_path / "nowhere"))


def test_an_unreadable_file(node: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 100_000)
    (tmp_path / "secret").chmod(0)
    error = refused(node, 1, "put", str(tmp_path / "secret"), "--name", "x", naming=str(tmp_path / "secret"))
    assert error["code"] == "local_disk"
    hinted(error)


def test_one_unreadable_file_in_a_directory_is_named(node: Daemon, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    refused(node, 1, "put", str(tmp_path), "--name", "x", naming=str(tmp_path / "secret"))


def test_what_is_neither_file_nor_directory(node: Daemon, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(node, 2, "put", str(tmp_path / "pipe"), "--name", "x", naming="pipe")


def test_a_directory_where_a_file_is_meant_and_the_other_way_round(node: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    seen = in_python(
        node,
        f"""
artifact = syncd_client.Artifact("x", "dataset")
for add, path in ((artifact.add_file, {str(tmp_path)!r}), (artifact.add_dir, {str(tmp_path / "file")!r}),
                  (artifact.add_file, {str(tmp_path / "nowhere")!r})):
    try:
        add(path)
    except ValueError as error:
        print(path in str(error))
""",
    )
    assert seen == ["True", "True", "True"]


def in_python(node: Daemon, code: str) -> list[str]:
    """Run a script that has imported syncd_client; return its lines."""
    argv = [sys.executable, "-c", "import syncd_client\n" + code]
    done = subprocess.run(argv, env=node.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--name", "a/b"),
        ("--name", ""),
        ("--name", "é"),
        ("--name", "x" * 129),
        ("--name", "x", "--type", "a:b"),
        ("--name", "x", "--project", "a#b"),
        ("--name", "x", "--alias", "a/b"),
        ("--name", "x", "--metadata", "novalue"),
    ],
)
def test_bad_words_are_refused_before_anything_is_pinned(node: Daemon, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_bytes(b"1")
    refused(node, 2, "put", str(tmp_path / "file"), *words)


def test_bad_names_are_refused_by_the_daemon_itself(node: Daemon) -> None:
    """A client in another language may check nothing."""
    from syncd_client.errors import InvalidInput

    facts = os.stat("/proc/version")
    bad = (
        m.Log("d1", "a/b", "dataset", empty=True),
        m.Log("d1", "..", "a/b", empty=True),
        m.Log("d1", "x", "dataset", aliases=["v3"], empty=True),
        m.Log("d1", "x", "dataset", project="a/b", empty=True),
        m.Log("d!", "x", "dataset", empty=True),
        m.AddFile("d1", b"relative", b"x", facts.st_dev, facts.st_ino, 0),
        m.AddFile("d1", b"/proc/version", b"../x", facts.st_dev, facts.st_ino, 0),
        m.AddFile("d1", b"/proc/version", b"/x", facts.st_dev, facts.st_ino, 0),
        m.AddFile("d1", b"/proc/version", b"a\0b", facts.st_dev, facts.st_ino, 0),
        m.AddFile("d1", b"/proc/ver\0sion", b"x", facts.st_dev, facts.st_ino, 0),
        m.Get("data", b"relative"),
    )
    for request in bad:
        with pytest.raises(InvalidInput) as caught:
            node.call(request)
        assert caught.value.exit_code == 2, request


@pytest.mark.parametrize(
    "words",
    [
        ("get", "nothing:latest"),
        ("get", "data:v9"),
        ("get", "data:best"),
        ("show", "other/data:v0"),
        ("files", "nothing"),
        ("verify", "nothing"),
        ("ls", "nothing"),
        ("rm", "data:v9"),
        ("restore", "data:v9"),
        ("wait", "0" * 32),
        ("cancel", "0" * 32),
    ],
)
def test_what_does_not_exist_is_named(node: Daemon, words: tuple[str, ...]) -> None:
    refused(node, 4, *words, naming=words[1].split(":")[0])


# --- types ------------------------------------------------------------------------------------------------


def test_a_name_has_one_type(node: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    error = refused(node, 6, "put", str(tmp_path / "file"), "--name", "data", "--type", "model", naming="dataset")
    assert error["code"] == "conflict"
    assert [job for job in node.call(m.ListJobs()).jobs if job.state == "failed"] == [], "known here: refused at once"
    assert node.call(m.Status()).pins == {}
    assert converged(node) == []


def test_two_nodes_that_create_a_name_with_two_types_at_once(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    (tmp_path / "file").write_bytes(b"x" * 1000)
    names = [f"n{number}" for number in range(8)]
    with (
        running_daemon(tmp_path / "a", remote=remote, settings=SETTINGS) as a,
        running_daemon(tmp_path / "b", remote=remote, settings=SETTINGS) as b,
    ):
        jobs = {
            name: [node.put(tmp_path / "file", name=name, type=type_).job for node, type_ in ((a, "ta"), (b, "tb"))]
            for name in names
        }
        for name, (of_a, of_b) in jobs.items():
            ends = [ended(a, of_a), ended(b, of_b)]
            assert sorted(end.state for end in ends) == ["done", "failed"], (name, ends)
            winner = next(end for end in ends if end.state == "done")
            for node in (a, b):
                assert node.call(m.Show(name)).type == winner.type
            loser = b if ends[0].state == "done" else a
            lost = next(end for end in ends if end.state == "failed")
            assert lost.error is not None
            assert lost.error.code == "conflict"
            waited = loser.syncctl("wait", lost.job)
            assert waited.returncode == 6
            assert name in waited.stderr
            status = loser.call(m.Status())
            assert status.failed >= 1
            assert status.pins, "the bytes of a failed job are held until somebody cancels it"
            assert loser.syncctl("cancel", lost.job[:8]).returncode == 0
            assert loser.call(m.Status()).failed == status.failed - 1


# --- damage -----------------------------------------------------------------------------------------------


def files_of(remote: Path) -> set[Path]:
    return {path for path in remote.rglob("*") if path.is_file()}


def put_and_see(node: Daemon, file: Path, name: str) -> dict[str, Path]:
    """Log a file; return the objects that its version is made of."""
    before = files_of(node.remote)
    node.put_done(file, name=name)
    fresh = sorted(files_of(node.remote) - before)
    packs = [path for path in fresh if "packs" in path.parts]
    return {
        "log": max(path for path in fresh if path.parent.name == "log" and name in path.parts),
        "manifest": next(path for path in fresh if "manifests" in path.parts),
        "pack": max(packs, key=lambda path: path.stat().st_size),
    }


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def test_damaged_objects_are_named_and_nothing_else_is_harmed(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    file = tmp_path / "file"
    damaged = {}
    with running_daemon(tmp_path / "writer", remote=remote, settings=SETTINGS) as writer:
        for kind in ("repo.json", "log", "manifest", "pack"):  # one artifact each: what was read once is remembered
            file.write_bytes(os.urandom(50_000))
            made = {**put_and_see(writer, file, f"of-{kind}"), "repo.json": remote / "repo.json"}
            damaged[kind] = made[kind], file.read_bytes()
    with running_daemon(tmp_path / "reader", remote=remote, settings=SETTINGS) as reader:
        for kind, (path, content) in damaged.items():
            good = path.read_bytes()
            naming = kind if kind == "repo.json" else str(path.relative_to(remote))
            for bad in (flipped(good, len(good) // 2), good[: len(good) // 2], b""):
                replace(path, bad)
                out = tmp_path / f"out-{kind}-{len(bad)}"
                error = refused(reader, 9, "get", f"of-{kind}", "--root", str(out), naming=naming)
                assert error["code"] == "corrupt"
                assert not [found for found in out.rglob("*") if found.is_file() and "syncd" not in str(found)]
            replace(path, good)
            assert reader.syncctl("get", f"of-{kind}", "--root", str(tmp_path / f"good-{kind}")).returncode == 0
            assert (tmp_path / f"good-{kind}" / "file").read_bytes() == content
        path, _ = damaged["pack"]
        good = path.read_bytes()
        replace(path, flipped(good, 5000))
        checked = reader.syncctl("verify", "of-pack")
        assert checked.returncode == 9
        assert path.name in checked.stdout
        path.unlink()
        refused(reader, 9, "get", "of-pack", "--root", str(tmp_path / "gone"), naming=path.name)


def test_damage_stops_an_upload_loudly_and_costs_it_nothing(tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    file = tmp_path / "file"
    file.write_bytes(b"1" * 1000)
    with running_daemon(tmp_path / "home", remote=remote, settings=SETTINGS) as node:
        slot = put_and_see(node, file, "model")["log"]
        good = slot.read_bytes()
        replace(slot, flipped(good, 20))
        file.write_bytes(b"2" * 1000)
        refused(node, 9, "put", str(file), "--name", "model", naming=slot.name)
        file.unlink()
        replace(slot, good)
        (job,) = node.call(m.ListJobs(open_only=True)).jobs
        assert ended(node, job.job).version == 1
        node.get_done("model", tmp_path / "out")
        assert (tmp_path / "out" / "file").read_bytes() == b"2" * 1000


# --- remotes and daemons ----------------------------------------------------------------------------------


def test_a_remote_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with held_back(tmp_path / "home") as node:
        put = node.syncctl("--json", "put", str(tmp_path / "file"), "--name", "model", "--no-wait")
        job = json.loads(put.stdout)["job"]["job"]
        error = refused(node, 7, "wait", job, "--timeout", "0.1")
        hinted(error)
        until(lambda: node.call(m.ShowJob(job)).attempt >= 3, 60, "three tries")
        error = refused(node, 7, "wait", job, "--timeout", "0.1")
        assert str(node.remote) in error["why"]
        assert "goes on trying" in error["why"] and "nothing is lost" in error["why"]
        refused(node, 8, "show", "model", naming=str(node.remote))
        refused(node, 8, "ls", naming=str(node.remote))
        (tmp_path / "file").unlink()
        status = json.loads(node.syncctl("--json", "status").stdout)
        assert str(node.remote) in status["remote_state"]
        come_back(node)
        assert ended(node, job).state == "done"
        assert node.syncctl("wait", job).returncode == 0
        node.get_done("model", tmp_path / "out")
        assert (tmp_path / "out" / "file").read_bytes() == b"x" * 100_000
        go_away(node)
        refused(node, 8, "get", "model", "--root", str(tmp_path / "again"), naming=str(node.remote))
        come_back(node)
        assert converged(node) == []


def test_a_slow_remote_takes_its_time_and_patience_may_end_before(tmp_path: Path) -> None:
    data = os.urandom(8_000_000)  # what small requests may be ahead of the rate, and then a second
    (tmp_path / "file").write_bytes(data)
    settings = {**SETTINGS, "SYNCD_BANDWIDTH": "4000000"}
    with running_daemon(tmp_path / "home", remote=tmp_path / "remote", settings=settings) as node:
        job = node.put(tmp_path / "file", name="model").job
        refused(node, 7, "wait", job, "--timeout", "0.1")
        assert ended(node, job).state == "done"
    with running_daemon(tmp_path / "fast", remote=tmp_path / "remote", settings=SETTINGS) as other:
        other.get_done("model", tmp_path / "out")
        assert (tmp_path / "out" / "file").read_bytes() == data


def test_a_full_spool_is_refused_with_its_budget(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 200_000)
    (tmp_path / "small").write_bytes(b"x" * 50_000)
    settings = {**SETTINGS, "SYNCD_PIN_SPOOL_BUDGET": "100000"}
    with running_daemon(tmp_path / "home", settings=settings) as node:
        error = refused(node, 1, "put", str(tmp_path / "large"), "--name", "model")
        assert error["code"] == "refused"
        hinted(error)
        assert node.syncctl("put", str(tmp_path / "small"), "--name", "model").returncode == 0
        assert converged(node) == []


def test_a_second_daemon_on_the_same_state_or_socket(node: Daemon, tmp_path: Path) -> None:
    def serve(**environ: str) -> subprocess.CompletedProcess[str]:
        env = {**node.environ, **environ}
        argv = [sys.executable, *node.entry]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30)

    same_state = serve(SYNCD_SOCKET=str(tmp_path / "s"))
    same_socket = serve(SYNCD_STATE_DIR=str(tmp_path / "state"))
    for done, naming in ((same_state, node.state), (same_socket, node.socket)):
        assert done.returncode == 6, done.stderr
        assert str(naming) in done.stderr
        assert "Traceback" not in done.stderr
    node.call(m.Ping())


def test_no_daemon(node: Daemon, tmp_path: Path) -> None:
    error = refused(node, 5, "status", "--socket", str(tmp_path / "nobody"), naming=str(tmp_path / "nobody"))
    assert error["code"] == "unreachable"
    hinted(error)
    long = subprocess.run(
        [sys.executable, "-m", "syncd_client.cli.main", "--json", "ping", "--socket", "/tmp/" + "x" * 120],
        env=node.environ, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    check_refusal(long, long.returncode, "107")
    assert long.returncode in (2, 5)
