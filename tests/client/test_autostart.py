"""Where no daemon answers, one is started: found, detached, waited for; any number of clients get the same one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import syncd_client
from syncd_client import autostart, errors
from syncd_client.connection import Connection
from syncd_client.wire import messages as m
from tests.kit.fake_daemon import FakeDaemon

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLIENT = os.path.dirname(os.path.dirname(syncd_client.__file__))

DAEMON = f"""#!{sys.executable}
import fcntl, os, sys
sys.path[:0] = [{ROOT!r}, {CLIENT!r}]
assert sys.argv[1:] == ["serve", "--autostarted"] and os.getcwd() == "/" and os.getsid(0) == os.getpid()
state = os.environ["SYNCD_STATE_DIR"]
open(os.path.join(state, "started-%d" % os.getpid()), "w").close()
lock = open(os.path.join(state, "lock"), "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(6)
from tests.kit.fake_daemon import FakeDaemon
print("serving", flush=True)
daemon = FakeDaemon(os.environ["SYNCD_SOCKET"])
daemon.shut_down.wait(60)
daemon.stop()
"""

FAILING = f"""#!{sys.executable}
print("first line")
print("the state directory is full")
raise SystemExit(3)
"""


@pytest.fixture
def install(home, tmp_path, monkeypatch):
    """Put a program called syncd beside the interpreter; end what it left running."""

    def put(text: str) -> str:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "syncd").write_text(text)
        (folder / "syncd").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(folder / "python"))
        return str(folder)

    yield put
    with suppress(errors.DaemonUnavailable), Connection(autostart=False) as connection:
        connection.call(m.Shutdown())


def test_a_daemon_is_started_and_detached(install, tmp_path):
    install(DAEMON)
    with Connection(autostart=True) as connection:
        pid = connection.welcome.pid
    assert pid != os.getpid()
    assert os.getsid(pid) == pid
    log = tmp_path / "state/daemon.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text() == "serving\n"


def test_a_daemon_that_was_killed_is_started_again(install):
    install(DAEMON)
    with Connection(autostart=True) as connection:
        first = connection.welcome.pid
        connection.call(m.Shutdown())
        os.waitpid(first, 0)
        assert connection.call(m.Ping()).pid != first


def test_eight_clients_at_once_get_one_daemon(install, tmp_path):
    folder = install(DAEMON)
    script = (
        f"import sys; sys.path.insert(0, {CLIENT!r}); sys.executable = {folder + '/python'!r}; sys.stdin.read()\n"
        "from syncd_client.connection import Connection; print(Connection(autostart=True).welcome.pid)"
    )
    interpreter = os.path.join(sys.exec_prefix, "bin", "python")
    clients = [
        subprocess.Popen([interpreter, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for client in clients:
        client.stdin.close()  # all at once, now that all are up
        client.stdin = None
    answers = {client.communicate(timeout=60)[0] for client in clients}
    assert [client.returncode for client in clients] == [0] * 8
    assert len(answers) == 1


def test_threads_of_one_process_start_one_daemon(install, tmp_path):
    install(DAEMON)
    with Connection(autostart=True) as connection, ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(lambda _: connection.call(m.Ping()).pid, range(8)))
    assert len(pids) == 1
    assert len(list((tmp_path / "state").glob("started-*"))) == 1


def test_a_daemon_that_fails_is_quoted_at_once(install):
    install(FAILING)
    with pytest.raises(errors.DaemonUnavailable, match="ended at once with exit code 3") as caught:
        Connection(autostart=True).call(m.Ping())
    assert caught.value.why == "the state directory is full"
    assert "daemon.log" in caught.value.hint


ELSEWHERE = f"""#!{sys.executable}
raise SystemExit(6)
"""


def test_a_daemon_of_our_state_directory_at_another_socket_is_found_out_at_once(install, tmp_path, home, monkeypatch):
    install(ELSEWHERE)
    monkeypatch.setattr(autostart, "START_AGAIN", 0.0)  # where nobody lives elsewhere it gives up, soon for this test
    monkeypatch.setattr(autostart, "PATIENCE", 0.2)
    state = tmp_path / "state"
    state.mkdir()
    other = os.path.join(home, "other")
    (state / "daemon.lock").write_text(f"1\n{other}\n")
    with pytest.raises(errors.DaemonUnavailable, match="did not answer"):  # nobody is there any more: not its fault
        Connection(autostart=True).call(m.Ping())
    daemon = FakeDaemon(other)
    try:
        with pytest.raises(errors.DaemonUnavailable, match=f"no syncd daemon answers at {home}/s") as caught:
            Connection(autostart=True).call(m.Ping())
    finally:
        daemon.stop()
    assert caught.value.why == f"that of the state directory {state} listens at {other}"
    assert f"SYNCD_SOCKET={other}" in caught.value.hint


def test_it_can_be_turned_off(install, tmp_path, monkeypatch):
    install(DAEMON)
    monkeypatch.setenv("SYNCD_AUTOSTART", "0")
    with pytest.raises(errors.DaemonUnavailable, match="no syncd daemon answers"):
        Connection().call(m.Ping())
    assert not (tmp_path / "state").exists()


def test_a_state_directory_that_cannot_be_made_is_a_typed_error(install, tmp_path, monkeypatch):
    install(DAEMON)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SYNCD_STATE_DIR", str(tmp_path / "file/state"))
    with pytest.raises(errors.LocalDisk, match="no state directory"):
        Connection(autostart=True).call(m.Ping())
