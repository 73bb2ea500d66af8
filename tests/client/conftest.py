"""Each test has its own socket, state directory and working directory, and no run that another test began."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator

import pytest

from syncd_client import runs, session
from tests.kit.fake_daemon import FakeDaemon


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[str]:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "WANDB_", "XDG_"))]:
        monkeypatch.delenv(name)
    with tempfile.TemporaryDirectory(prefix="sy-") as short:  # a socket's address is short, tmp_path is not
        monkeypatch.setenv("SYNCD_SOCKET", os.path.join(short, "s"))
        monkeypatch.setenv("SYNCD_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.setenv("SYNCD_AUTOSTART", "0")
        monkeypatch.chdir(tmp_path)
        yield short
        for run in runs._active.all():
            run.finish()
        for connection in session._connections.values():
            connection.close()
        session._connections.clear()
        session._abandoned.clear()


@pytest.fixture
def daemon(home, tmp_path) -> Iterator[FakeDaemon]:
    staging = tmp_path / "staging"
    staging.mkdir()
    fake = FakeDaemon(os.path.join(home, "s"), str(staging))
    yield fake
    fake.stop()


@pytest.fixture
def wandb(home):
    return importlib.import_module("syncd_client")
