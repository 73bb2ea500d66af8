"""One daemon a state directory and a socket, a socket nobody else may open, and systemd's socket when there is one."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.daemon.listen import PATH_LIMIT, bind, inherited, open_door
from syncd.daemon.lock import lock_state
from syncd.errors import Conflict, InvalidInput, LocalDisk, Refused


def at(path: Path) -> bytes:
    return os.fsencode(path)


def test_a_state_directory_has_one_daemon_and_the_second_is_told_which(tmp_path: Path) -> None:
    first = lock_state(at(tmp_path / "a" / "state"))
    assert stat.S_IMODE((tmp_path / "a" / "state").stat().st_mode) == 0o700
    with pytest.raises(Conflict) as caught:
        lock_state(at(tmp_path / "a" / "state"))
    assert f"process {os.getpid()}" in caught.value.why
    first.note_socket(at(tmp_path / "a much longer name than the next"))
    first.note_socket(at(tmp_path / "socket"))
    with pytest.raises(Conflict) as caught:
        lock_state(at(tmp_path / "a" / "state"))
    assert caught.value.why == f"it is process {os.getpid()}, listening at {tmp_path}/socket"
    first.close()
    first.close()
    first.note_socket(b"/nowhere")
    lock_state(at(tmp_path / "a" / "state")).close()


def test_the_lock_goes_with_its_process_however_it_ends(tmp_path: Path) -> None:
    script = (
        "import os, sys; from syncd.daemon.lock import lock_state; "
        "lock_state(os.fsencode(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment(), timeout=30)
    assert ended.returncode == -9
    lock_state(at(tmp_path)).close()


def test_a_state_directory_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalDisk, match="state directory"):
        lock_state(at(tmp_path / "file" / "state"))


def test_a_socket_is_the_owners_alone_from_its_first_moment(tmp_path: Path) -> None:
    path = at(tmp_path / "run" / "sock")
    before = os.umask(0)
    try:
        door = bind(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    door.close()
    assert not os.path.exists(path)


def test_the_umask_is_left_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        bind(at(tmp_path / "sock")).close()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = at(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    door = bind(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    door.close()


def test_a_living_socket_is_never_replaced(tmp_path: Path) -> None:
    path = at(tmp_path / "sock")
    door = bind(path)
    with pytest.raises(Conflict, match="another daemon"):
        bind(path)
    door.close()
    with socket.socket(socket.AF_UNIX) as stranger:  # one that knows nothing of our lock
        stranger.bind(path)
        stranger.listen()
        with pytest.raises(Conflict, match="listens on"):
            bind(path)
        assert os.path.exists(path)


def test_a_living_socket_with_a_full_queue_is_never_replaced(tmp_path: Path) -> None:
    path = at(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as stranger, socket.socket(socket.AF_UNIX) as client:
        stranger.bind(path)
        stranger.listen(0)
        client.connect(path)
        with pytest.raises(Conflict, match="listens on"):
            bind(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sock").write_text("precious")
    with pytest.raises(Conflict, match="not a socket"):
        bind(at(tmp_path / "sock"))
    assert (tmp_path / "sock").read_text() == "precious"


def test_a_socket_that_was_replaced_by_another_is_not_unlinked(tmp_path: Path) -> None:
    path = at(tmp_path / "sock")
    door = bind(path)
    os.unlink(path)
    (tmp_path / "sock").write_text("not ours")
    door.close()
    assert (tmp_path / "sock").read_text() == "not ours"


def test_a_path_too_long_for_a_socket_is_a_typed_error(tmp_path: Path) -> None:
    room = PATH_LIMIT - len(at(tmp_path)) - 1
    fits = bind(at(tmp_path / ("s" * room)))
    fits.close()
    with pytest.raises(InvalidInput, match="108 bytes long"):
        bind(at(tmp_path / ("s" * (room + 1))))


def test_a_directory_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(Refused, match="not safe"):
        bind(at(tmp_path / "open" / "sock"))
    (tmp_path / "open").chmod(0o1777)
    bind(at(tmp_path / "open" / "sock")).close()


def test_without_systemd_the_door_is_our_own(tmp_path: Path) -> None:
    for environ in ({}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}):
        door = open_door(at(tmp_path / "sock"), environ, os.getpid())
        assert not door.inherited
        door.close()


def test_a_socket_from_systemd_is_used_and_its_name_outlives_us(tmp_path: Path) -> None:
    path = at(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
        made.listen()
        door = inherited({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7, first_fd=os.dup(made.fileno()))
    assert door is not None
    assert door.inherited
    assert door.path == path
    assert not door.socket.get_inheritable()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    door.close()
    assert os.path.exists(path)


def test_what_systemd_hands_over_must_be_a_listening_unix_socket(tmp_path: Path) -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "7"}
    with socket.socket(socket.AF_UNIX) as idle, pytest.raises(InvalidInput, match="another kind"):
        inherited(environ, 7, first_fd=idle.fileno())
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(InvalidInput, match="another kind"):
        inherited(environ, 7, first_fd=other.fileno())
    with open(tmp_path / "file", "w") as file, pytest.raises(InvalidInput, match="no socket"):
        inherited(environ, 7, first_fd=file.fileno())
    with pytest.raises(InvalidInput, match="2 sockets"):
        inherited({"LISTEN_FDS": "2", "LISTEN_PID": "7"}, 7)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(os.path.isdir, sys.path))}
