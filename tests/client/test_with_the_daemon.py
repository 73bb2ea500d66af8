"""The client with the real daemon, started by itself: what the fake cannot promise."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

import syncd
import syncd_client
from syncd_client import aio, autostart, errors, session
from syncd_client.wire import messages as m

PLACES = [os.path.dirname(os.path.dirname(package.__file__)) for package in (syncd, syncd_client)]


@pytest.fixture
def daemon_by_itself(home, monkeypatch, tmp_path) -> Iterator[None]:
    """Let a daemon be started when one is needed; end it, and what it left, with the test."""
    monkeypatch.setenv("SYNCD_AUTOSTART", "1")
    monkeypatch.setenv("SYNCD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(PLACES))
    yield
    with suppress(errors.DaemonUnavailable):
        connection = syncd_client.Connection(autostart=False)
        pid = connection.welcome.pid
        with suppress(errors.DaemonUnavailable):
            connection.call(m.Shutdown())
        connection.close()
        _gone(pid)
    _end_the_rest()


def _gone(pid: int) -> None:
    """Wait until a process has ended, whoever's child it is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    ended, _, _ = select.select([handle], [], [], 30)
    os.close(handle)
    assert ended, f"the daemon {pid} does not end"
    for child in autostart._children:
        child.poll()


def _end_the_rest() -> None:
    """End what autostart began and nobody connected to: a process that was still loading when the winner left."""
    for child in autostart._children:
        if child.poll() is None:
            child.kill()
            child.wait(30)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _gone(pid)


def _script(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def train_csv(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("a,b\n1,2\n")


def test_the_documented_example_needs_no_daemon_started_by_hand(daemon_by_itself, train_csv, tmp_path):
    first = (
        'import syncd_client as wandb; wandb.init(project="my-ml-project"); '
        'artifact = wandb.Artifact(name="training-data", type="dataset"); '
        'artifact.add_file("data/train.csv"); wandb.log_artifact(artifact)\n'
    )
    second = (
        'import syncd_client as wandb; run = wandb.init(project="my-ml-project"); '
        'artifact = run.use_artifact("training-data:latest"); artifact_dir = artifact.download(); print(artifact_dir)'
    )
    assert _script(first + second) == str(tmp_path / "artifacts/training-data:v0")
    assert (tmp_path / "artifacts/training-data:v0/train.csv").read_text() == "a,b\n1,2\n"


def test_nothing_is_lost_when_the_process_ends_right_after_logging(daemon_by_itself, train_csv, tmp_path):
    _script(
        'import os, syncd_client as wandb; wandb.init(project="p"); a = wandb.Artifact("data", "dataset")\n'
        'a.add_file("data/train.csv"); wandb.log_artifact(a); os.unlink("data/train.csv"); os._exit(0)'
    )
    used = syncd_client.init(project="p").use_artifact("data:latest", timeout=30)
    assert used.download("out") == "out"
    assert (tmp_path / "out/train.csv").read_text() == "a,b\n1,2\n"
    used.verify("out")


def test_a_draft_outlives_the_daemon_that_began_it(daemon_by_itself, train_csv):
    artifact = syncd_client.Artifact("data", "dataset", metadata={"rows": 1})
    artifact.add_file("data/train.csv")
    _kill(session.connection().welcome.pid)
    artifact.add_file("data/train.csv", name="again.csv")
    run = syncd_client.init(project="p")
    run.log_artifact(artifact, aliases=["best"])
    _kill(session.connection().welcome.pid)
    assert artifact.wait(timeout=60).qualified_name == "p/data:v0"
    assert (artifact.file_count, artifact.metadata, sorted(artifact.aliases)) == (2, {"rows": 1}, ["best", "latest"])


def test_errors_of_the_daemon_are_typed(daemon_by_itself, train_csv, tmp_path):
    run = syncd_client.init(project="p")
    with pytest.raises(errors.NotFound):
        run.use_artifact("nothing:latest")
    artifact = syncd_client.Artifact("data", "dataset")
    artifact.add_file("data/train.csv", name="x")
    (tmp_path / "other").write_text("other")
    with pytest.raises(ValueError, match="x") as caught:
        artifact.add_file("other", name="x")
    assert caught.value.code == "conflict"
    assert artifact.add_file("other", name="x", overwrite=True).size == 5
    run.log_artifact(artifact).wait(30)
    with pytest.raises(ValueError, match="type"):
        run.use_artifact("data:latest", type="model")
    with pytest.raises(ValueError, match="already exists with type 'dataset'"):
        run.log_artifact(syncd_client.Artifact("data", "model")).wait(30)


def test_the_same_content_again_is_the_same_version(daemon_by_itself, train_csv, capsys):
    run = syncd_client.init(project="p")
    first = run.log_artifact("data", name="data").wait(30)
    again = run.log_artifact("data", name="data", aliases=["again"]).wait(30)
    assert (first.version, again.version, again.digest) == ("v0", "v0", first.digest)
    assert "again" in again.aliases
    assert "same content" in capsys.readouterr().err


def test_new_files_and_directories_arrive_as_they_were(daemon_by_itself, tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"in")
    os.makedirs(os.path.join(folder, b"empty"))
    for name in (b"a b", b"\xff\n", "é".encode()):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(name)
    os.symlink(b"a b", os.path.join(folder, b"link"))
    artifact = syncd_client.Artifact("data", "dataset")
    artifact.add_dir(folder, name="d")
    with artifact.new_file("notes.txt") as file:
        file.write("hello")
    syncd_client.init().log_artifact(artifact).wait(30).download("out")
    there = os.path.join(os.fsencode(tmp_path), b"out/d")
    assert sorted(os.listdir(there)) == sorted(os.listdir(folder))
    assert os.readlink(os.path.join(there, b"link")) == b"a b"
    assert (tmp_path / "out/notes.txt").read_text() == "hello"
    artifact.verify("out")


async def test_the_asyncio_flavour_does_the_same(daemon_by_itself, train_csv, tmp_path):
    async with aio.init(project="p") as run:
        logged = await asyncio.gather(*(run.log_artifact("data/train.csv", name=f"data{n}") for n in range(4)))
        await asyncio.gather(*(artifact.wait(30) for artifact in logged))
        used = await run.use_artifact("data3:v0")
        assert await used.download("out") == "out"
    assert (tmp_path / "out/train.csv").exists()
    await aio.connection().close()
