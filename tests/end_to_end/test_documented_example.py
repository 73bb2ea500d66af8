"""The example of W&B's documentation, both halves in one file, nothing but the import changed, no daemon running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from syncd_client import errors
from syncd_client.connection import Connection
from syncd_client.wire import messages as m
from tests.kit.daemon import ROOT, until

EXAMPLE = """
import syncd_client as wandb

wandb.init(project="my-ml-project")
artifact = wandb.Artifact(name="training-data", type="dataset")
artifact.add_file("data/train.csv")
wandb.log_artifact(artifact)

run = wandb.init(project="my-ml-project")
artifact = run.use_artifact("training-data:latest")
artifact_dir = artifact.download()
print(artifact_dir)
"""


def test_the_example_runs_as_it_stands_and_starts_its_own_daemon(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("a,b\n1,2\n")
    (tmp_path / "example.py").write_text(EXAMPLE)
    (tmp_path / "run").mkdir(0o700)
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    done = subprocess.run(
        [sys.executable, "example.py"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    sockets = list((tmp_path / "run").rglob("*.sock"))
    try:
        assert done.returncode == 0, done.stderr
        place = tmp_path / "artifacts" / "training-data:v0"
        assert (place / "train.csv").read_text() == "a,b\n1,2\n"
        assert (tmp_path / done.stdout.strip()).samefile(place)
        (socket,) = sockets
        with Connection(str(socket), autostart=False) as connection:
            pid = connection.welcome.pid
            version = connection.call(m.Show("training-data", project="my-ml-project"))
            assert (version.version, version.type, version.state) == (0, "dataset", "COMMITTED")
        again = subprocess.run(
            [sys.executable, "example.py"], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert again.returncode == 0, again.stderr
        assert (tmp_path / again.stdout.strip()).samefile(place), "the same content is the same version"
        assert os.getsid(pid) == pid
    finally:
        for socket in sockets:
            end(socket)


def end(socket: Path) -> None:
    """End the daemon behind a socket, politely first."""
    with suppress(errors.Error):
        with Connection(str(socket), autostart=False) as connection:
            pid = connection.welcome.pid
            connection.call(m.Shutdown())
        try:
            until(lambda: not Path(f"/proc/{pid}/exe").exists() or not socket.exists(), 20.0, "the daemon's end")
        except AssertionError:
            os.kill(pid, signal.SIGKILL)
            raise
