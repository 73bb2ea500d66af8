"""`syncd serve`: which settings the daemon gets, and that a daemon started by a client is nobody's service."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from syncd.commands.main import run
from syncd.commands.serve import SYSTEMDS
from syncd.errors import Conflict
from syncd.settings import Settings


class FakeDaemon(ModuleType):
    """Stands in for syncd.daemon.serve: remembers how it was started."""

    def __init__(self) -> None:
        super().__init__("syncd.daemon.serve")
        self.settings: Settings | None = None
        self.autostarted = False
        self.environ: dict[str, str] = {}
        self.error: Conflict | None = None

    def serve(self, settings: Settings, *, autostarted: bool) -> int:
        self.settings, self.autostarted, self.environ = settings, autostarted, dict(os.environ)
        if self.error:
            raise self.error
        return 0


@pytest.fixture(autouse=True)
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    for name in [name for name in os.environ if name.startswith(("SYNCD_", "XDG_")) or name in SYSTEMDS]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNCD_SOCKET", str(tmp_path / "sock"))
    fake = FakeDaemon()
    monkeypatch.setitem(sys.modules, "syncd.daemon.serve", fake)
    return fake


def test_flags_reach_the_daemon_as_settings(daemon: FakeDaemon) -> None:
    flags = ["--state-dir", "/s", "--remote", "file:///r", "--web", "127.0.0.1:1", "--socket", "/k"]
    assert run(["serve", *flags, "--set", "upload.concurrency=9"]) == 0
    assert daemon.settings is not None
    assert (daemon.settings.state_dir, daemon.settings.socket, daemon.settings.web) == (b"/s", b"/k", "127.0.0.1:1")
    assert daemon.settings.primary.url == "file:///r"
    assert daemon.settings.upload.concurrency == 9
    assert not daemon.autostarted


def test_a_daemon_started_by_a_service_keeps_what_systemd_told_it(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/syncd")
    monkeypatch.setenv("NOTIFY_SOCKET", "/n")
    monkeypatch.setenv("SYSTEMD_EXEC_PID", str(os.getpid()))
    assert run(["serve"]) == 0
    assert daemon.settings is not None
    assert daemon.settings.state_dir == b"/var/lib/syncd"
    assert daemon.environ["NOTIFY_SOCKET"] == "/n"


def test_a_daemon_started_by_a_client_ignores_what_systemd_told_the_client(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SYSTEMDS:
        monkeypatch.setenv(name, "/var/lib/trainer")
    monkeypatch.delenv("SYSTEMD_EXEC_PID", raising=False)
    assert run(["serve", "--autostarted"]) == 0
    assert daemon.settings is not None
    assert daemon.settings.state_dir == os.fsencode(tmp_path / ".local/state/syncd")
    assert daemon.autostarted
    assert not set(SYSTEMDS) & set(daemon.environ)


def test_a_second_daemon_ends_with_6(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.error = Conflict("another daemon uses the state directory", "it is process 1", "talk to that one")
    assert run(["serve"]) == 6
    assert len(capsys.readouterr().err.splitlines()) == 3
