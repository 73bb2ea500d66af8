"""Abuse of the socket: the daemon serves the others on, within its memory, on the threads it is known to have."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from syncd_client.connection import Connection
from syncd_client.wire import messages as m
from syncd_client.wire.codec import encode_request
from tests.kit.daemon import ROOT, SMALL, Daemon, converged, running_daemon, until

RSS_LIMIT = 400 << 20
CLIENTS = 500
PATIENCE = 20.0
HELLO = encode_request(1, m.Hello("abuse"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(tmp_path_factory.mktemp("abuse"), settings=SMALL) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def others_are_served(node: Daemon, tmp_path: Path) -> Iterator[None]:
    """During each test a client stays connected; after it the daemon still does its work, small as before."""
    friend = node.connect()
    friend.call(m.Ping())
    yield
    friend.call(m.Ping())
    (tmp_path / "file").write_bytes(os.urandom(1000))
    node.put_done(tmp_path / "file", name="after")
    assert node.call(m.Status()).memory_bytes < RSS_LIMIT
    assert unknown_threads(node) == set()
    assert converged(node) == []


def unknown_threads(node: Daemon) -> set[str]:
    """Return the names of threads that docs/DESIGN.md does not list."""
    assert node.process is not None
    page = (ROOT / "docs" / "DESIGN.md").read_text()
    listed = set(re.findall(r"`(syncd(?:-[a-z]+)?)`", page))
    names = {path.read_text().strip() for path in Path(f"/proc/{node.process.pid}/task").glob("*/comm")}
    return {name for name in names if re.sub(r"_\d*$", "", name) not in listed}


@contextmanager
def plain(node: Daemon, *, hello: bool = True) -> Iterator[socket.socket]:
    """A bare connection that may say anything."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fsencode(node.socket))
        if hello:
            connection.sendall(HELLO)
            assert connection.recv(1 << 16)
        yield connection


def is_sent_away(connection: socket.socket) -> bool:
    """Whether the daemon closes the connection, answering at most a little before."""
    with suppress(ConnectionError):
        return any(not connection.recv(1 << 16) for _ in range(100))
    return True


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def nested(depth: int) -> bytes:
    return b"\x81\xa4body" + b"\x91" * depth + b"\x90"


ABUSE: dict[str, bytes] = {
    "all bytes": bytes(reversed(range(256))) * 64,
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a frame said to be of four gigabytes": b"\xff\xff\xff\xff" + b"x" * 1000,
    "a frame just over the cap": struct.pack(">I", (1 << 20) + 1) + b"x" * 1000,
    "empty frames": frame(b"") * 1000,
    "a list for a map": frame(b"\x93\x01\x02\x03"),
    "many empty maps": frame(b"\x81\xa4body\xdd\x00\x0f\x00\x00" + b"\x80" * 0xF0000),
    "many empty maps in arrays": frame(b"\x81\xa4body\xdc\x00\x0f" + (b"\xdc\xff\xff" + b"\x80" * 65_535) * 15),
    "arrays within arrays": frame(nested(100_000)),
    "arrays that claim what is not there": frame(b"\x81\xa4body" + b"\xdd\xff\xff\xff\xff" * 1000),
    "an ext type": frame(b"\x81\xa4body\xc7\x08\x01" + b"x" * 8),
    "a key twice": frame(b"\x83\xa2id\x01\xa2id\x02\xa2op\xa4ping"),
    "not a number": frame(b"\x83\xa2id\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa2op\xa4ping\xa4body\x80"),
}


@pytest.mark.parametrize("hello", [False, True])
@pytest.mark.parametrize("what", ABUSE)
def test_bytes_that_break_the_protocol_end_their_connection(node: Daemon, what: str, hello: bool) -> None:
    with plain(node, hello=hello) as connection:
        with suppress(ConnectionError):
            connection.sendall(ABUSE[what])
        assert is_sent_away(connection)


def test_frame_bombs_from_many_at_once_stay_within_the_budget(node: Daemon) -> None:
    bombs = [ABUSE["many empty maps"], ABUSE["many empty maps in arrays"], ABUSE["arrays within arrays"]]
    most = peak(node)
    with ExitStack() as stack:
        connections = [stack.enter_context(plain(node)) for _ in range(30)]
        for number, connection in enumerate(connections):
            with suppress(ConnectionError):
                connection.sendall(bombs[number % len(bombs)])
        for connection in connections:
            assert is_sent_away(connection)
    assert most() < RSS_LIMIT


def peak(node: Daemon) -> Callable[[], int]:
    """Begin to measure the largest resident size; the result gives it in bytes."""
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status")

    def read() -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found
        return int(found[1]) << 10

    with suppress(PermissionError):  # then the largest since the daemon's start is told, which is harder to keep
        Path(f"/proc/{node.process.pid}/clear_refs").write_text("5")
    return read


def test_half_a_frame_waits_for_the_other_half_and_nobody_waits_with_it(node: Daemon) -> None:
    ping = encode_request(2, m.Ping())
    with plain(node) as connection:
        connection.sendall(ping[:7])
        node.call(m.Ping())
        connection.sendall(ping[7:])
        assert connection.recv(1 << 16)


def test_what_is_sound_but_unknown_is_answered_and_the_connection_lives(node: Daemon) -> None:
    with plain(node) as connection:
        connection.sendall(frame(b"\x83\xa2id\x02\xa2op\xa7nothing\xa4body\x80"))
        assert b"unknown_verb" in connection.recv(1 << 16)
        connection.sendall(frame(b"\x83\xa2id\x03\xa2op\xa8show_job\xa4body\x81\xa3job\x05"))
        assert b"invalid" in connection.recv(1 << 16)
        connection.sendall(encode_request(4, m.Ping()))
        assert connection.recv(1 << 16)


def test_a_peer_that_never_reads_costs_only_itself(node: Daemon, tmp_path: Path) -> None:
    most = peak(node)
    with plain(node) as connection:
        connection.sendall(encode_request(2, m.Subscribe()))
        connection.settimeout(0.2)
        with suppress(TimeoutError, ConnectionError):
            for number in range(3, 50_000):
                connection.sendall(encode_request(number, m.Ping()))
        for number in range(5):
            (tmp_path / "one").write_bytes(os.urandom(20_000))
            node.put_done(tmp_path / "one", name=f"unread{number}")
    assert most() < RSS_LIMIT


def test_five_hundred_clients_at_once_are_served(node: Daemon) -> None:
    most = peak(node)
    with ExitStack() as stack:
        clients = [stack.enter_context(plain(node, hello=False)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(HELLO + encode_request(2, m.Ping()))
        for client in clients:
            answer = b""
            while answer.count(b"protocol") < 2:
                more = client.recv(1 << 16)
                assert more
                answer += more
        assert node.call(m.Ping()).protocol == m.PROTOCOL
    assert most() < RSS_LIMIT


def test_clients_that_vanish_in_the_middle_of_requests(node: Daemon, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(50):
        (folder / str(number)).write_bytes(b"x" * 1000)
    facts = folder.stat()
    job = node.put(folder, name="vanish").job
    requests = [
        m.Wait([job]), m.Wait([]), m.Status(), m.ListArtifacts(), m.Verify("after"), m.ListFiles("vanish"),
        m.AddDir("d" * 8, os.fsencode(folder), b"", facts.st_dev, facts.st_ino, merge=True),
    ]  # fmt: skip
    for cut in (0, 3):
        for request in requests:
            with plain(node) as connection:
                data = encode_request(2, request)
                connection.sendall(data[: len(data) - cut])
    for _ in range(20):
        with plain(node, hello=False) as connection:
            connection.sendall(HELLO[:3])
    node.wait(job)
    until(lambda: nothing_is_left(node, "d" * 8), PATIENCE, "the end of the draft whose client vanished")


def nothing_is_left(node: Daemon, draft: str) -> bool:
    """Drop a draft that may still be in the making; whether it is gone."""
    node.call(m.DropDraft(draft))
    status = node.call(m.Status())
    return not status.drafts and not status.pins


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")
def test_another_user_is_sent_away(tmp_path: Path) -> None:
    """The socket's mode keeps others out; whoever gets at it nevertheless is known by the kernel's word."""
    other = 12345
    with running_daemon(tmp_path / "home", settings=SMALL) as daemon:
        assert daemon.socket.stat().st_mode & 0o777 == 0o600
        for place in (tmp_path, tmp_path / "home", *tmp_path.parents[:-2]):
            if place.stat().st_uid == os.getuid() and not place.stat().st_mode & 0o001:
                place.chmod(place.stat().st_mode | 0o011)
        assert said_to(daemon, other) == b"PermissionError"
        daemon.socket.chmod(0o666)
        assert b"refused" in said_to(daemon, other)
        daemon.call(m.Ping())


def said_to(daemon: Daemon, uid: int) -> bytes:
    """Return what a process of that uid hears at the socket."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        heard = b"nothing"
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(os.fsencode(daemon.socket))
                heard = connection.recv(1 << 16)
        except OSError as error:
            heard = type(error).__name__.encode()
        finally:
            os.write(write, heard)
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        heard = pipe.read()
    os.waitpid(child, 0)
    return heard


def test_eight_clients_that_start_a_daemon_at_once_get_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "client")]),
        "HOME": str(home),
        "SYNCD_STATE_DIR": str(home / "state"),
        "SYNCD_CACHE_DIR": str(home / "cache"),
        "SYNCD_SOCKET": str(home / "s"),
        "SYNCD_AUTOSTART": "1",
    }
    code = "from syncd_client.connection import Connection; c = Connection(); print(c.welcome.pid); c.close()"
    children = [subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) for _ in range(8)]
    try:
        pids = {int(child.communicate(timeout=60)[0]) for child in children}
        assert [child.returncode for child in children] == [0] * 8
        assert len(pids) == 1
        (pid,) = pids
        assert os.getsid(pid) == pid
        # Those that came too late must be gone before the one ends, else one of them takes its place.
        until(lambda: daemons_of(home) == pids, PATIENCE, "one daemon alone")
        log = (home / "state" / "daemon.log").read_text()
        assert log.count("serving on") == 1
        with Connection(str(home / "s"), autostart=False) as connection:
            connection.call(m.Shutdown())
        until(lambda: not daemons_of(home), PATIENCE, "the daemon's end")
        assert not (home / "s").exists()
    finally:
        for pid in daemons_of(home):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def daemons_of(home: Path) -> set[int]:
    """Return the processes that serve, or try to, with their state below `home`."""
    wanted = f"SYNCD_STATE_DIR={home / 'state'}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"--autostarted" in words and wanted in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found
