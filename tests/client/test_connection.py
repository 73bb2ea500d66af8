"""One question, one answer: from any thread, across forks and restarts of the daemon."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

import pytest

from syncd_client import errors
from syncd_client.connection import Connection
from syncd_client.wire import codec, frames
from syncd_client.wire import messages as m
from tests.kit.fake_daemon import FakeDaemon


@pytest.fixture
def connection(daemon):
    with Connection(autostart=False) as connection:
        yield connection


def test_the_welcome_is_known(connection, daemon):
    assert connection.welcome.pid == os.getpid()
    assert connection.call(m.Ping()) == connection.welcome
    assert daemon.accepted == 1


def test_no_daemon_is_an_error_with_the_next_step(home):
    with pytest.raises(errors.DaemonUnavailable, match="no syncd daemon answers at") as caught:
        Connection(autostart=False).call(m.Ping())
    assert "syncd serve" in caught.value.hint
    assert caught.value.exit_code == errors.NO_DAEMON
    assert isinstance(caught.value, ConnectionError)


def test_a_file_that_is_no_socket_and_a_stale_socket_count_as_no_daemon(home):
    path = os.path.join(home, "s")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    with pytest.raises(errors.DaemonUnavailable, match="refused"):
        Connection(autostart=False).call(m.Ping())


def test_errors_keep_the_words_of_the_daemon_and_the_channel_goes_on(connection, daemon):
    with pytest.raises(errors.NotFound, match="no x:latest") as caught:
        connection.call(m.Show("x"))
    assert (caught.value.code, caught.value.exit_code) == ("not_found", errors.NOT_FOUND)
    connection.call(m.Ping())
    assert daemon.accepted == 1


def test_a_request_that_fits_no_frame_is_refused_here(connection):
    with pytest.raises(ValueError, match="does not fit"):
        connection.call(m.ShowJob("x" * (1 << 20)))
    connection.call(m.Ping())


def test_another_protocol_is_refused_by_name(home):
    daemon = FakeDaemon(os.path.join(home, "s"), protocol=2)
    try:
        with pytest.raises(errors.ProtocolError, match="the daemon speaks protocol 2, this client 1"):
            Connection(autostart=False).call(m.Ping())
    finally:
        daemon.stop()


def test_something_else_at_the_socket_is_refused(home):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(home, "s"))
    listener.listen()

    def chat() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=chat)
    thread.start()
    with pytest.raises(errors.ProtocolError, match="cannot be understood"):
        Connection(autostart=False).call(m.Ping())
    thread.join()
    listener.close()


def test_idle_channels_of_a_daemon_that_restarted_are_noticed_before_use(connection, daemon):
    connection.call(m.Ping())
    daemon.stop()
    daemon.start()
    connection.call(m.Shutdown())
    assert daemon.ops() == ["ping", "shutdown"]


@pytest.mark.parametrize("request_", [m.Show("x"), m.DropDraft("d")])
def test_a_repeatable_verb_is_asked_again_when_the_daemon_went_away(connection, daemon, request_):
    daemon.die_on[request_.op] = 1
    with suppress(errors.NotFound):
        connection.call(request_)
    assert daemon.ops() == [request_.op, request_.op]


@pytest.mark.parametrize("request_", [m.Cancel("j"), m.Remove("x", "v0"), m.Shutdown()])
def test_other_verbs_are_not(connection, daemon, request_):
    daemon.die_on[request_.op] = 1
    with pytest.raises(errors.DaemonUnavailable, match="went away in the middle"):
        connection.call(request_)
    assert daemon.ops() == [request_.op]


def test_a_daemon_that_always_dies_is_given_up(connection, daemon):
    daemon.die_on["show"] = 100
    with pytest.raises(errors.DaemonUnavailable):
        connection.call(m.Show("x"))
    assert daemon.ops() == ["show", "show"]


def test_a_daemon_that_comes_back_later_is_waited_for(connection, daemon, tmp_path):
    daemon.hold()
    (tmp_path / "f").write_text("1")
    seen = os.stat(tmp_path / "f")
    draft = m.AddFile("d", os.fsencode(tmp_path / "f"), b"f", seen.st_dev, seen.st_ino, seen.st_size)
    connection.call(draft)
    job = connection.call(m.Log("d", "x", "t"))
    asked = threading.Event()
    result = []

    def wait() -> None:
        result.append(connection.call(m.Wait([job.job], 30), lambda event: asked.set()))

    thread = threading.Thread(target=wait)
    thread.start()
    assert asked.wait(10)
    daemon.stop()
    daemon.start()
    thread.join(10)
    assert result[0].jobs[0].state == "done"
    assert daemon.ops().count("wait") == 2
    waits = [request for request in daemon.asked if request.op == "wait"]
    assert waits[1].timeout < waits[0].timeout


def test_a_thread_that_waits_holds_up_no_other(connection, daemon):
    daemon.hold()
    job = connection.call(m.Log("d", "x", "t"))
    waiting = threading.Event()
    thread = threading.Thread(target=connection.call, args=(m.Wait([job.job]), lambda event: waiting.set()))
    thread.start()
    assert waiting.wait(10)
    connection.call(m.Ping())
    daemon.release()
    thread.join(10)
    assert daemon.accepted == 2


def test_many_threads_each_get_their_own_answer(connection):
    wrong = []

    def ask(mine: int) -> None:
        for n in range(20):
            try:
                connection.call(m.Show(f"x{mine}", f"v{n}"))
            except errors.NotFound as error:
                if error.what != f"no x{mine}:v{n}":
                    wrong.append(error.what)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_exception_in_a_callback_abandons_the_request(connection, daemon):
    daemon.hold()
    job = connection.call(m.Log("d", "x", "t"))

    def interrupt(_: m.JobInfo) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connection.call(m.Wait([job.job]), interrupt)
    connection.call(m.Ping())
    assert daemon.accepted == 2


def test_a_forked_child_speaks_on_a_channel_of_its_own(connection, daemon):
    connection.call(m.Ping())
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            connection.call(m.Ping())
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    connection.call(m.Ping())
    assert daemon.accepted == 2


def test_events_of_a_kind_it_does_not_know_and_answers_to_others_are_ignored(home):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(home, "s"))
    listener.listen()
    welcome = m.Welcome(1, "0", [], 1, "n", "p", "r")

    def chat() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(codec.encode_reply(1, welcome))
            peer.recv(1000)
            peer.sendall(
                frames.encode_frame({"id": 2, "event": "weather", "body": {}})
                + codec.encode_reply(77, m.Done())
                + codec.encode_reply(2, welcome)
            )
            peer.recv(1000)

    thread = threading.Thread(target=chat)
    thread.start()
    with Connection(autostart=False) as connection:
        assert connection.call(m.Ping(), lambda event: pytest.fail("not a job")) == welcome
    thread.join()
    listener.close()


def test_a_path_over_107_bytes_is_a_typed_error(home):
    with pytest.raises(errors.InvalidInput, match="the socket path is 108 bytes"):
        Connection("/" + "x" * 107)
    Connection("/" + "x" * 106)
