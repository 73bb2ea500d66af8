"""Requests that meet: a client that leaves while its log is carried out, a drop of the draft that is being logged."""

from __future__ import annotations

import os
import random
import socket
import time
import uuid
from pathlib import Path

from syncd_client.wire import messages as m
from syncd_client.wire.codec import decode_server_frame, encode_request
from syncd_client.wire.frames import FrameReader
from tests.kit.daemon import SMALL, Daemon, running_daemon

TRIES = 40
LONGEST_PAUSE = 0.006


class Line:
    """One socket on which a request can be sent without waiting for the answer."""

    def __init__(self, daemon: Daemon) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20.0)
        self._socket.connect(str(daemon.socket))
        self._frames = FrameReader()
        self._last_id = 0
        self.send(m.Hello(client="test/1"))
        self.answer()

    def send(self, request: m.Request) -> None:
        self._last_id += 1
        self._socket.sendall(encode_request(self._last_id, request))

    def answer(self) -> tuple[str, dict[str, object]]:
        """Return ("ok" or "error", body) of the one request that is open."""
        while True:
            for payload in self._frames.feed(self._socket.recv(1 << 16)):
                _, kind, body = decode_server_frame(payload)
                return kind, body

    def close(self) -> None:
        self._socket.close()


def add(line: Line, draft: str, path: Path) -> None:
    facts = path.stat()
    name = os.fsencode(path.name)
    line.send(m.AddFile(draft, os.fsencode(path), name, facts.st_dev, facts.st_ino, facts.st_size))
    assert line.answer()[0] == "ok"


def test_a_job_in_the_journal_runs_though_its_client_left_before_the_answer(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(bytes(range(256)) * 400)
    chance = random.Random(1)
    with running_daemon(tmp_path / "home", settings=SMALL) as daemon:
        for number in range(TRIES):
            line = Line(daemon)
            draft = uuid.uuid4().hex
            add(line, draft, source)
            line.send(m.Log(draft, name=f"n{number}", type="dataset"))
            time.sleep(chance.random() * LONGEST_PAUSE)  # every moment of the request is met by some
            line.close()
        accepted = [job.job for job in daemon.call(m.ListJobs()).jobs]
        assert all(job.state == "done" for job in daemon.wait(*accepted, timeout=30.0))


def test_a_draft_dropped_while_it_is_logged_is_either_gone_or_whole(tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(bytes(range(256)) * 400)
    chance = random.Random(1)
    with running_daemon(tmp_path / "home", settings=SMALL) as daemon:
        one, other = Line(daemon), Line(daemon)
        for number in range(TRIES):
            draft = uuid.uuid4().hex
            add(one, draft, source)
            one.send(m.Log(draft, name=f"n{number}", type="dataset"))
            time.sleep(chance.random() * LONGEST_PAUSE)
            other.send(m.DropDraft(draft))
            kind, body = one.answer()
            assert other.answer()[0] == "ok"
            if kind == "ok":
                (job,) = daemon.wait(str(body["job"]))
                assert job.state == "done", job
                assert daemon.call(m.Show(f"n{number}")).files == 1
        one.close()
        other.close()
